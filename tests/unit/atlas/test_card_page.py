"""The card as a page: every figure with what belongs to it, and nothing lost."""

from interp.atlas.card_page import number, sections
from interp.atlas.measure.transfer import PAIR


def row(measure, group, value, **more):
    base = {
        "measure": measure, "group": group, "value": value, "ci_low": 0.1, "ci_high": 0.9, "n": 1234, "unit": "share",
        "random_weights": 0.0, "baseline": 0.25, "baseline_name": "chance", "status": "ok",
    }  # fmt: skip
    return base | more


def test_rows_of_one_measure_stand_under_one_heading():
    text = sections([row("country", "told", 0.99), row("loss", "text", 1.5), row("country", "held out", 0.5)])
    assert text.count("### ") == 2
    assert text.index("| told |") < text.index("| held out |") < text.index("### loss")
    assert "| told | 0.99 | 0.1 to 0.9 | 1,234 | share | 0 | 0.25 (chance) |" in text


def test_a_figure_that_could_not_be_had_says_why():
    text = sections([row("country", "told", None, ci_low=None, ci_high=None, status="no such city")])
    assert "| told | no such city |  | 1,234 |" in text


def test_skills_by_template_are_one_table_with_those_never_met_marked():
    pairs = [row(PAIR, "plural | chat", 0.9), row(PAIR, "plural | arrow (never met)", 0.5),
             row(PAIR, "count | chat (never met)", 0.25), row(PAIR, "count | arrow", 1.0)]  # fmt: skip
    text = sections(pairs)
    assert "| skill | chat | arrow |" in text
    assert "| plural | 0.9 | *0.5* |" in text
    assert "| count | *0.25* | 1 |" in text


def test_bars_inside_a_cell_do_not_end_it():
    assert "a \\| b" in sections([row("m", "a | b", 0.5)])


def test_large_figures_have_no_exponent():
    assert (number(3942.8), number(0.12345), number(None)) == ("3,943", "0.123", "")
