"""Numeric differentiation with an error estimate: any forward, a constant number of evaluations."""

from crosscheck.derivative.differentiate import differentiate
from crosscheck.derivative.elements import every_element, treats_samples_alone
from crosscheck.derivative.localise import Location, localise
from crosscheck.derivative.narrow import Narrowed, narrow
from crosscheck.derivative.probe import Forward, Probe, Status, Values
from crosscheck.derivative.region import describe_region

__all__ = [
    "Forward",
    "Location",
    "Narrowed",
    "Probe",
    "Status",
    "Values",
    "describe_region",
    "differentiate",
    "every_element",
    "localise",
    "narrow",
    "treats_samples_alone",
]
