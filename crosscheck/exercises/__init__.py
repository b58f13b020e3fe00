"""Exercises: what a teacher asks for, written down once, and what a submission comes to.

exercise.py   what is asked, as data
reading.py    … out of one TOML file
judging.py    a submission in a worker, item by item
marking.py    partial credit per quantity
feedback.py   what a student is told
mutate.py     automatically broken solutions: what an exercise would not notice
"""

from crosscheck.exercises.exercise import Exercise, Item, Limits
from crosscheck.exercises.judging import judge
from crosscheck.exercises.marking import ItemResult, Mark, Result, Status
from crosscheck.exercises.reading import find, load, shipped

__all__ = [
    "Exercise",
    "Item",
    "ItemResult",
    "Limits",
    "Mark",
    "Result",
    "Status",
    "find",
    "judge",
    "load",
    "shipped",
]
