import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.errors import InvalidInput
from interp.plot.numbers import explain_status, format_number, format_p, p_phrase


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.894321, "0.894"),
        (20343, "20,343"),
        (np.int64(-7), "−7"),
        (20343.2, "20,343"),
        (-0.05, "−0.0500"),
        (9.996, "10.0"),
        (0, "0"),
        (0.0, "0"),
        (-1.2e-7, "−1.20 × 10⁻⁷"),
        (3.2e9, "3.20 × 10⁹"),
        (np.inf, "∞"),
        (float("nan"), "–"),
        (None, "–"),
        (pd.NA, "–"),
        (True, "yes"),
        (np.bool_(False), "no"),
    ],
)
def test_number_text(value, text):
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0, "<.001"),
        (0.000999, "<.001"),
        (0.001, ".001"),
        (0.0234, ".023"),
        (0.05, ".050"),
        (0.04996, ".04996"),
        (0.0099999, ".0099999"),
        (0.5, ".500"),
        (0.9995, ">.999"),
        (1.0, "1.000"),
        (np.nan, "–"),
    ],
)
def test_p_text(p, text):
    assert format_p(p) == text


@given(st.floats(0, 1))
def test_written_p_is_on_the_same_side_of_each_threshold(p):
    text = format_p(p)
    shown = 0.0005 if text == "<.001" else 0.9995 if text == ">.999" else float(text)
    assert all((p < t) == (shown < t) for t in (0.05, 0.01, 0.001))


@pytest.mark.parametrize("p", [-0.01, 1.01, np.inf])
def test_what_is_no_probability_is_refused(p):
    with pytest.raises(InvalidInput, match="no p-value"):
        format_p(p)


def test_phrase_has_one_relation_sign():
    assert [p_phrase("q", v) for v in (1e-5, 0.2, np.nan)] == ["q <.001", "q = .200", "q missing"]


def test_known_status_is_explained_and_an_unknown_one_shown_as_it_is():
    assert "same everywhere" in explain_status("constant")
    assert explain_status("too_many_zeros") == "too many zeros"
    assert explain_status(np.nan) == "no reason was recorded"
