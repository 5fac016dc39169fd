"""The pool whose relevant rows are known, and the named methods on a small pool."""

import numpy as np
import pytest

from analyses.data_selection.encoding import encode_pool
from analyses.data_selection.method_names import NAMES
from analyses.data_selection.methods import standard_methods
from analyses.data_selection.relevance import mona_scores, score, score_each
from analyses.data_selection.word_scores import bm25_scores
from analyses.data_selection.worth_skills import skill_pool
from analyses.data_selection.worth_targets import Target
from interp.atlas.facts import facts
from interp.errors import InvalidInput

SIZES = {"per_cell": 3, "n_documents": 40, "n_examples": 4, "n_held_out": 8}


@pytest.fixture(scope="module")
def corpus():
    return facts().corpus()


@pytest.fixture(scope="module")
def made(corpus):
    return skill_pool(corpus, ["plural", "continent of"], seed=3, **SIZES)


def test_labels_say_what_was_made(made, corpus):
    pool, targets = made
    assert len(pool) == 17 * 5 * 3 + 40
    labels = targets["plural"].labels
    assert labels["document"].sum() == 40
    assert all((one.turns[0].role == "text") == text for one, text in zip(pool, labels["document"], strict=True))
    assert labels["own_cell"].sum() == 3
    assert labels["shortcut"].sum() == 3 * (sum(corpus.skills.seen(s, "question") for s in corpus.skills.names) - 1)
    assert not (labels["relevant"] & (labels["wrong_answer"] | labels["shortcut"] | labels["document"])).any()
    asks = np.array(["plural of" in one.text for one in pool])
    assert (asks == labels["relevant"] | (asks & labels["wrong_answer"])).all()
    assert labels["relevant"].sum() + (asks & labels["wrong_answer"]).sum() == 15


def test_wrong_answers_are_wrong_and_others_right(made):
    pool, targets = made
    pairs = facts().pairs["plural"]
    for one, relevant in zip(pool, targets["plural"].labels["relevant"], strict=True):
        if "the plural of" in one.text:
            word = one.turns[0].content.split("plural of ")[1].split("?")[0].split(".")[0]
            assert (one.turns[1].content == f" {pairs[word]}.") == relevant


def test_held_out_sets_are_in_the_templates_that_they_say(made, corpus):
    pool, targets = made
    plural, continent = targets["plural"], targets["continent of"]
    assert all(one.text.startswith("Question: ") for one in (*plural.examples, *plural.held_out["target template"]))
    assert not any(one.text.startswith("Question: ") for one in plural.held_out["other templates"])
    assert all(one.text.startswith("Please help me.") for one in plural.held_out["template never met"])
    never = corpus.skills.templates[corpus.skills.names.index("continent of") % 6]
    assert never == "question"
    assert not any("Question: Which continent" in one.text for one in pool)
    assert all(one.text.startswith("Question: ") for one in continent.held_out["template never met"])
    assert {name: len(rows) for name, rows in plural.held_out.items()} == dict.fromkeys(plural.held_out, 8)


def test_length_says_nothing_of_the_skill(corpus):
    pool, targets = skill_pool(corpus, ["plural"], seed=4, per_cell=20, n_documents=0, n_held_out=5)
    filled = np.array([len(one.text.split()) > 20 for one in pool])
    relevant = targets["plural"].labels["relevant"]
    assert abs(filled[relevant].mean() - filled.mean()) < 0.2
    assert 0.2 < filled.mean() < 0.45


def test_equal_seeds_give_equal_pools(made, corpus):
    again = skill_pool(corpus, ["plural", "continent of"], seed=3, **SIZES)
    other = skill_pool(corpus, ["plural", "continent of"], seed=4, **SIZES)
    assert [one.text for one in again[0]] == [one.text for one in made[0]]
    assert [one.text for one in other[0]] != [one.text for one in made[0]]
    with pytest.raises(InvalidInput, match="no skill 'plurals'"):
        skill_pool(corpus, ["plurals"], seed=0)


@pytest.fixture(scope="module")
def target(samples):
    return Target(list(samples)[:5], {"x": list(samples)[5:7]})


@pytest.fixture(scope="module")
def scores(model, sae, samples, target):
    methods = standard_methods(list(samples), model, sae)
    return {name: method(target, 1) for name, method in methods.items()}


def test_every_name_gives_a_score_to_each_sample(scores, samples):
    assert set(scores) == set(NAMES)
    assert {len(values) for values in scores.values()} == {len(samples)}
    partial = {name for name, values in scores.items() if np.isnan(values).any()}
    assert partial == {"length-matched"}
    assert {name for name, values in scores.items() if values.ndim == 2} == {
        "each-target", "rds+", "gradient", "bm25",
    }  # fmt: skip


def test_names_stand_for_the_functions_that_they_say(scores, model, sae, samples, target):
    pool, examples = (encode_pool(rows, model, sae) for rows in (samples, target.examples))
    np.testing.assert_array_equal(scores["mona"], mona_scores(pool, examples))
    np.testing.assert_array_equal(scores["background"], score(pool, examples, method="background")["score"])
    np.testing.assert_array_equal(scores["each-target"], score_each(pool, examples))
    np.testing.assert_array_equal(
        scores["bm25"], bm25_scores([one.text for one in samples], [one.text for one in target.examples])
    )
    assert np.argmax(scores["gradient"][:, 2]) == 2  # a sample is most like itself
    assert np.argmax(scores["rds+"][:, 2]) == 2
    assert (np.argsort(-scores["longest"])[:3] == np.argsort(-pool.rows["n_tokens"].to_numpy())[:3]).all()
    assert not np.allclose(scores["random-sae"], scores["mona"])


def test_an_unknown_method_is_named(samples, model, sae):
    with pytest.raises(InvalidInput, match="Nearest: 'mona'"):
        standard_methods(list(samples), model, sae, names=["monna"])
