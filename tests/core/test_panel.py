"""The panel: who is asked, and whose rounding sets the tolerance."""

import crosscheck
from crosscheck import sampling
from crosscheck.evaluation import ImplementationError
from crosscheck.implementations import reference
from crosscheck.panel import Panel


class Refuses:
    """A witness that refuses every case."""

    name = "torch"

    def bind(self, problem):
        return self

    def vjp(self, values, cotangents):
        raise ImplementationError("not here")

    forward = vjp


def test_where_every_oracle_refuses_the_rounding_of_another_is_measured():
    """Else the tolerance would be nothing, and a right layer would differ from its own derivative."""
    linear = crosscheck.catalogue["Linear"]
    panel = Panel(reference(linear), {"torch": Refuses()}, fallback=reference(linear))
    rounding = panel.hear(next(sampling.cases(linear))).rounding
    assert rounding.source == "reference_nn"
    assert rounding.tolerance("grad_weights", "float64") > 0
