"""The notebook's exercise in many hands, each judged in every quantity."""

import pytest
from handwriting import RIGHT, WRONG
from standin import judged, statuses

from crosscheck.exercises import load


@pytest.fixture(scope="module")
def exercise():
    return load("backpropagation")


def all_right(exercise):
    return {item.title: dict.fromkeys(item.points, "right") for item in exercise.items}


def test_there_are_enough():
    assert len(RIGHT) >= 15 and len(RIGHT) + len(WRONG) >= 40


@pytest.mark.parametrize("hand", RIGHT)
def test_right_in_every_hand(exercise, hand):
    result = judged(exercise, RIGHT[hand])
    assert statuses(result) == all_right(exercise)
    assert result.earned == result.points == 11


@pytest.mark.parametrize("mistake", WRONG)
def test_wrong_in_the_right_quantity(exercise, mistake, capsys):
    hand, old, new, changes = WRONG[mistake]
    text = RIGHT[hand]
    assert old in text
    wanted = all_right(exercise)
    for (item, quantity), status in changes.items():
        wanted[item][quantity] = status
    result = judged(exercise, text.replace(old, new, 1))
    assert statuses(result) == wanted
    lost = sum(s not in ("right", "follows") for s in changes.values())
    half = sum(s == "convention-mismatch" for s in changes.values())
    assert result.earned == 11 - lost + 0.5 * half
