"""Words of sentences: tokens to words by three poolings, planted tags found, tags by lot not, and what fits refused."""

from __future__ import annotations

import numpy as np
import pytest

import interp
from analyses.probing import Sentence, Word, probe_words, word_labels, word_matrix
from interp.errors import InvalidInput
from interp.testing import tiny_model

NOUNS, VERBS = ("Paris", "London", "Berlin", "city"), ("is", "of", "and", "from")


def sentence(rng, tag_of):
    forms = [str(rng.choice(NOUNS if rng.random() < 0.5 else VERBS)) for _ in range(int(rng.integers(4, 8)))]
    words, at = [], 0
    for i, form in enumerate(forms):
        head = -1 if i == 0 else int(rng.integers(0, i))
        words.append(Word(form, (at, at + len(form)), tag_of(form), "", head, "dep", feats={"Case": tag_of(form)}))
        at += len(form) + 1
    return Sentence(" ".join(forms), tuple(words))


@pytest.fixture(scope="module")
def models():
    return tiny_model(0), tiny_model(1)


@pytest.fixture(scope="module")
def tagged():
    rng = np.random.default_rng(0)
    return [sentence(rng, lambda form: "NOUN" if form in NOUNS else "VERB") for _ in range(80)]


def test_words_are_their_tokens_mean_first_and_last(models):
    text = "Paris walks"
    parts = [Sentence(text, (Word("Paris", (0, 5), "", "", -1, ""), Word("walks", (6, 11), "", "", 0, "")))] * 2
    tokens = interp.capture(models[0], [text] * 2, "resid_post.1", pool="none")["resid_post.1"]
    found = {p: word_matrix(models[0], parts, pooling=p) @ tokens for p in ("mean", "first", "last")}
    spans = [interp.capture(models[0], [text], "resid_post.1", pool="span", spans=[w.span])["resid_post.1"][0]
             for w in parts[0].words]  # fmt: skip
    np.testing.assert_allclose(found["mean"], np.array([*spans, *spans]), atol=1e-5)
    assert len(tokens) // 2 > 3  # "walks" is several tokens
    np.testing.assert_allclose(found["last"][1], tokens[len(tokens) // 2 - 1], atol=1e-6)
    np.testing.assert_allclose(found["first"][0], tokens[0], atol=1e-6)
    assert abs(found["first"][1] - found["last"][1]).max() > 0.01


def test_planted_tags_are_told_and_tags_by_lot_are_not(models, tagged):
    options = {"twin": models[1], "n_perm": 19, "n_boot": 50, "sites": ["resid_post.0"]}
    found = probe_words(models[0], tagged, "upos", **options)
    own = found.table.set_index(["condition", "unit"]).loc[("trained", "embed")]
    assert own["score"] > 0.95
    assert own["p"] == 0.05
    assert own["n_groups"] <= 80  # sentences
    assert own["control_score"] > 0.9  # few word forms: they can all be known by heart, and selectivity says so
    assert own["selectivity"] < 0.1
    rng = np.random.default_rng(3)
    lot = [sentence(rng, lambda _: str(rng.choice(["NOUN", "VERB"]))) for _ in range(80)]
    none = probe_words(models[0], lot, "upos", **options).table
    assert (abs(none["score"] - 0.5) < 0.12).all()
    assert (none["q"] > 0.05).all()


def test_labels_are_tags_features_and_the_side_of_the_head(tagged):
    words = [w for s in tagged for w in s.words]
    assert word_labels(tagged, "upos").tolist() == [w.upos for w in words]
    assert word_labels(tagged, "feats.Case").tolist() == [w.upos for w in words]
    sides = word_labels(tagged, "head")
    assert set(sides) == {"left", "root"}
    assert (sides == "root").sum() == len(tagged)
    assert set(word_labels(tagged, "xpos")) == {None}


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("uposs", {}, "nearest: upos"),
        ("feats.case", {}, "nearest: Case"),
        ("xpos", {}, "fewer than two labels"),
        ("upos", {"min_count": 10_000}, "fewer than two labels"),
        ("upos", {"pooling": "middle"}, "pooling"),
        ("upos", {"kind": "rigde"}, "ridge"),
    ],
)
def test_what_does_not_fit_is_refused(models, tagged, task, options, message):
    with pytest.raises(InvalidInput, match=message):
        probe_words(models[0], tagged, task, twin=models[1], **options)
