"""The audit on planted units, whose number of concepts is known, and on nulls, where it may find nothing."""

import numpy as np
import pandas as pd
import pytest

from analyses.polysemanticity.concepts import AuditConfig
from analyses.polysemanticity.example_views import context_words, word_vectors
from analyses.polysemanticity.power import audit_sensitivity
from analyses.polysemanticity.verdicts import MONO, POLY, UNDECIDED, UNTESTED, audit_units
from interp.errors import InvalidInput, NonFinite
from interp.testing import concept_units
from interp.testing.planted_units import REGIMES

BY = {"views": ["view"], "examples": ["row"]}
QUICK = AuditConfig(n_boot=3)


@pytest.fixture(scope="module")
def views():
    """Two views of the corpus of seed 0, which every planted case here has."""
    made = concept_units((1,), per_count=1, seed=0)
    words = context_words(made.ids.ravel(), made.text_index, window=15, both_sides=True)
    return {"token": made.ids.ravel(), "context": word_vectors(words, seed=0)}


def audited(made, views, **options):
    return audit_units(made.activations, views, text_index=made.text_index, config=QUICK, **options)


@pytest.mark.parametrize(("strengths", "rates"), REGIMES)
@pytest.mark.parametrize("kind", ["topic", "word"])
def test_one_concept_is_told_from_several(views, strengths, rates, kind):
    made = concept_units(strengths=strengths, rates=rates, kind=kind, seed=0)
    table = audited(made, views).table
    verdict, one = table["verdict"].to_numpy(), made.n_concepts == 1
    assert np.where(one, verdict == MONO, verdict == POLY).mean() >= 0.95
    assert (verdict[one] == POLY).mean() <= 0.05
    assert set(table["view"]) - {""} == {"context" if kind == "topic" else "token"}
    if strengths == "equal":
        assert np.abs(table["K"] - made.n_concepts).mean() < 0.1


def test_the_most_active_examples_hide_the_weaker_concepts(views):
    made = concept_units((3,), strengths="halving", per_count=20, seed=0)
    table = audited(made, views).table
    assert table["K"].mean() > 2.3
    assert table["K_top"].mean() < 2.0


@pytest.mark.parametrize(("common", "verdict"), [(0.0, POLY), (0.45, UNDECIDED), (0.8, MONO)])
def test_shades_of_one_concept_are_not_several(common, verdict):
    """Two clusters whose likeness to each other is common²: none, some above the background, or nearly all."""
    rng = np.random.default_rng(0)
    rows, own = rng.standard_normal((2000, 64)) / 8, np.arange(2000) < 80
    shade = np.eye(64)[1 + np.arange(80) % 2]
    rows[:80] = common * np.eye(64)[0] + np.sqrt(1 - common**2) * shade + 0.04 * rng.standard_normal((80, 64))
    order = rng.permutation(2000)
    result = audit_units(own[order, None] * 1.0, {"v": rows[order]}, text_index=np.arange(2000), config=QUICK)
    assert result.table["verdict"].tolist() == [verdict]
    view = result.tables["views"].iloc[0]
    assert view["says"] == {POLY: "several", UNDECIDED: "shades of one", MONO: "one"}[verdict]
    assert view["merged"] == pytest.approx(0.5 if verdict == POLY else 1.0, abs=0.15)


def test_shuffled_activations_are_called_nothing(views):
    made = concept_units((1, 3), per_count=20, seed=0)  # 80 tests, one unit and view each
    order = np.random.default_rng(5).permutation(len(made.activations))
    result = audit_units(made.activations[order], views, text_index=made.text_index, config=QUICK)
    assert (result.table["verdict"] == UNDECIDED).mean() >= 0.95
    assert not (result.table["verdict"] == POLY).any()
    assert (result.tables["views"]["p"] <= 0.01).sum() <= 4


def test_each_number_stands_in_the_table(views):
    made = concept_units((2,), per_count=2, seed=0)
    tokens = np.array([f"w{i}" for i in made.ids.ravel()], dtype=object)
    result = audited(made, views, units=["a", "b"], tokens=tokens)
    assert result.table["unit"].tolist() == ["a", "b"]
    context = result.tables["views"].query("view == 'context'").iloc[0]
    assert context["background"] < context["tau"] < context["near"]
    assert context["tau"] == pytest.approx(0.65 * context["background"] + 0.35 * context["near"])
    assert context["K_low"] <= 2 <= context["K_high"]
    assert context["clusters"].startswith(f"{round(context['n'] / 2)}"[:1])
    assert len(result.tables["examples"]) == result.table["n"].sum()


def test_units_that_are_never_or_seldom_on_are_not_judged(views):
    made = concept_units((1,), per_count=1, seed=0)
    seldom = np.zeros(len(made.activations))
    seldom[:48:8] = 1.0
    values = np.column_stack([np.zeros(len(seldom)), seldom, -made.activations[:, 0]])
    table = audit_units(values, views, text_index=made.text_index, config=QUICK).table
    assert (table["verdict"] == UNTESTED).all()
    assert table["status"].tolist() == ["never active", "fewer than 20 examples", "never active"]


def test_the_order_and_the_company_of_units_change_nothing(views):
    """A unit is known by its name: alone, or last among others, it has the same examples and the same numbers."""
    made, names = concept_units((1, 2), per_count=2, seed=0), np.array(["a", "b", "c", "d"])
    whole = audited(made, views, units=names)
    for chosen in ([3], [3, 0, 2]):
        part = audit_units(
            made.activations[:, chosen], dict(reversed(views.items())), text_index=made.text_index,
            units=names[chosen], config=QUICK,
        )  # fmt: skip
        for table in ("views", "examples"):
            new, old = (r.tables[table].sort_values(["unit", *by]) for r in (part, whole) for by in (BY[table],))
            old = old[old["unit"].isin(names[chosen])]
            pd.testing.assert_frame_equal(new.reset_index(drop=True), old.reset_index(drop=True))
        old = whole.table.set_index("unit").loc[names[chosen]].drop(columns="reason")
        pd.testing.assert_frame_equal(part.table.set_index("unit").drop(columns="reason"), old)


def test_a_view_may_depend_on_the_unit(views):
    made = concept_units((1, 2), per_count=3, seed=0)
    same = {"context": lambda unit, rows: views["context"][rows]}
    ours = audit_units(made.activations, same, text_index=made.text_index, config=QUICK)
    plain = audit_units(made.activations, {"context": views["context"]}, text_index=made.text_index, config=QUICK)
    assert ours.table["verdict"].tolist() == plain.table["verdict"].tolist()
    assert np.allclose(ours.tables["views"]["near"], plain.tables["views"]["near"])


def test_planted_mixtures_give_the_power(views):
    made = concept_units((1,), per_count=12, seed=0)
    table = audit_sensitivity(
        made.activations, views, text_index=made.text_index, units=range(12), ratios=(1.0, 0.05), n_concepts=(2,),
        n_mixtures=15,
    )  # fmt: skip
    alone, equal, unequal = table.to_dict("records")
    assert (alone["n_concepts"], alone["n"], alone["detected"]) == (1, 12, 0)
    assert equal["rate"] >= 0.9
    assert equal["ci_low"] < equal["rate"] <= equal["ci_high"]
    assert unequal["rate"] <= 0.1  # under a tenth of the maximum a concept is not seen, and the curve says so


def test_the_power_chooses_its_own_sources_on_other_texts(views):
    made = concept_units((1, 3), per_count=4, seed=0)
    table = audit_sensitivity(
        made.activations, views, text_index=made.text_index, ratios=(1.0,), n_concepts=(2, 9), n_mixtures=5
    )
    assert table["n_sources"].tolist() == [4, 4, 4]
    assert table["status"].tolist()[-1] == "too few units of one thing to mix"
    assert np.isnan(table["rate"].iloc[-1])
    assert table["rate"].iloc[1] >= 0.8


@pytest.mark.parametrize("wrong", [{"ratios": (0.0,)}, {"n_concepts": (1,)}])
def test_a_mixture_that_is_none_is_refused(views, wrong):
    with pytest.raises(InvalidInput):
        audit_sensitivity(np.ones((48000, 1)), views, text_index=np.arange(48000), units=[0], **wrong)


def test_what_cannot_be_audited_is_refused(views):
    values, text = np.ones((4, 1)), np.arange(4)
    with pytest.raises(InvalidInput, match="view 'token'"):
        audit_units(values, views, text_index=text)
    with pytest.raises(InvalidInput, match="needs one view"):
        audit_units(values, {}, text_index=text)
    with pytest.raises(NonFinite):
        audit_units(np.full((4, 1), np.inf), {"t": text}, text_index=text)
    with pytest.raises(InvalidInput, match="names"):
        audit_units(values, {"t": text}, text_index=text, units=["a", "b"])
    with pytest.raises(InvalidInput, match="ascending"):
        audit_units(values, {"t": text}, text_index=text[::-1])
