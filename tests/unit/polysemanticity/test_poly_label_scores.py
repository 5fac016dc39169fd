"""Scores of units for known labels: units that hold one label each, units that hold both, and none."""

import numpy as np
import pytest

from analyses.polysemanticity.disentanglement import infomec
from analyses.polysemanticity.label_scores import scores_of_labels
from interp.errors import InvalidInput

RNG = np.random.default_rng(0)
N = 240
SOURCES = {"kind": RNG.choice(["a", "b", "c"], size=N), "place": RNG.choice(["x", "y", "z"], size=N)}


def one_hot(labels):
    return np.stack([labels == value for value in np.unique(labels)], axis=1).astype(float)


@pytest.fixture(scope="module")
def planted():
    """Six units of one label each; nine of a pair each; twelve of nothing."""
    kind, place = one_hot(SOURCES["kind"]), one_hot(SOURCES["place"])
    pairs = np.einsum("ni,nj->nij", kind, place).reshape(N, -1)
    noise = np.random.default_rng(1).random((N, 12))
    return {name: scores_of_labels(z, SOURCES, n_perm=5, seed=0).set_index(["score", "source"])
            for name, z in {"one": np.hstack([kind, place]), "pairs": pairs, "none": noise}.items()}  # fmt: skip


def test_units_of_one_label_are_modular_and_monosemantic(planted):
    one, pairs = planted["one"], planted["pairs"]
    assert one.loc[("modularity", "all"), "value"] > 0.9
    assert one.loc[("modularity", "all"), "value"] > pairs.loc[("modularity", "all"), "value"] + 0.5
    for source in SOURCES:
        # of three labels, another's unit tells half of what is not there, so that one unit too few costs a half
        assert one.loc[("FMS", source), "value"] == pytest.approx(0.75, abs=0.05)
        assert one.loc[("FMS", source), "value"] > pairs.loc[("FMS", source), "value"] + 0.1
        assert one.loc[("FMS", source), "z"] > 5
    assert (one["n"] == N).all()
    assert (one["n_units"] == 6).all()


def test_units_of_nothing_are_as_under_permutation(planted):
    assert (planted["none"]["z"].abs() < 4).all()


def test_values_are_those_of_the_scores_and_unlabelled_texts_are_left_out():
    z = np.hstack([one_hot(SOURCES["kind"]), np.random.default_rng(2).random((N, 4))])
    kept = np.arange(N) % 5 > 0
    part = {name: np.where(kept, labels, "") for name, labels in SOURCES.items()}
    table = scores_of_labels(z, part, n_perm=2, seed=0).set_index(["score", "source"])
    known = infomec(z[kept], {name: labels[kept] for name, labels in SOURCES.items()}, folds=0, seed=0)
    assert table.loc[("modularity", "all"), "value"] == pytest.approx(known.modularity)
    assert (table["n"] == kept.sum()).all()


def test_too_few_texts_give_a_status_and_one_source_is_refused():
    z = np.random.default_rng(0).random((20, 8))
    few = scores_of_labels(z, {name: labels[:20] for name, labels in SOURCES.items()}, seed=0)
    assert few["status"].tolist() == ["too few labelled texts or active units"]
    with pytest.raises(InvalidInput, match="two sources"):
        scores_of_labels(np.random.default_rng(0).random((N, 8)), {"kind": SOURCES["kind"]}, seed=0)
