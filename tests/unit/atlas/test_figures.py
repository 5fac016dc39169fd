"""Comparing figures with those of a card."""

import pandas as pd
import pytest

from interp.atlas.figures import compared

ROW = {"figure": "loss", "value": 1.0, "random_weights": 8.0, "n": 32, "seed": 0, "tolerance": 0.01}


@pytest.mark.parametrize(
    ("stated", "state"),
    [
        (ROW, "ok"),
        (ROW | {"value": 1.0099}, "ok"),
        (ROW | {"value": 1.0101}, "differs"),
        (ROW | {"value": 0.98}, "differs"),
        (ROW | {"value": None}, "not in the card"),
        (ROW | {"n": 64}, "not in the card"),
        (ROW | {"seed": 1}, "not in the card"),
        (ROW | {"figure": "other"}, "not in the card"),
    ],
)
def test_a_figure_is_ok_within_its_tolerance_alone(stated, state):
    assert compared([stated], pd.DataFrame([ROW]))["state"].tolist() == [state]


def test_a_figure_that_cannot_be_found_differs():
    found = pd.DataFrame([ROW | {"value": float("nan")}])
    assert compared([ROW], found)["state"].tolist() == ["differs"]


def test_an_empty_card_states_nothing():
    assert compared([], pd.DataFrame([ROW, ROW]))["state"].tolist() == ["not in the card"] * 2
