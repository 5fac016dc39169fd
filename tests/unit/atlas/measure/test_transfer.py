"""Skills across templates: the same exercises everywhere, and planted models that know some of the surfaces."""

from __future__ import annotations

import numpy as np
import pytest

from interp.atlas.measure.rows import wilson
from interp.atlas.measure.transfer import (
    PAIR,
    SEEN,
    UNSEEN,
    answer_of,
    exercises,
    prompt_of,
    skill_answers,
    skill_rows,
    transfer_rows,
)

from .reciter import reciter, small_corpus


def rows_by_group(skill, right, n=12):
    texts = exercises(small_corpus(), skill, n, seed=0)
    rows = skill_rows(small_corpus(), skill, texts, right, right[:, :3])
    return texts, {(row["measure"], row["group"]): row for row in rows}


@pytest.mark.parametrize("skill", ["country of", "next", "translate", "near to", "count"])
def test_exercises_are_the_same_in_all_templates(skill):
    texts = exercises(small_corpus(), skill, 15, seed=0)
    assert len(texts) == len(small_corpus().skills.templates)
    for same in zip(*texts, strict=True):
        assert len({answer_of(text) for text in same}) == 1
        assert len({prompt_of(text) for text in same}) == len(texts)
        assert [text.labels["template"] for text in same] == small_corpus().skills.templates
        assert {text.labels["skill"] for text in same} == {skill}
    assert [t.text for t in texts[2][:5]] == [t.text for t in exercises(small_corpus(), skill, 5, seed=0)[2]]
    assert [t.text for t in texts[0]] != [t.text for t in exercises(small_corpus(), skill, 15, seed=1)[0]]


@pytest.mark.parametrize(
    ("skill", "words"),
    [("next", ("after I?", "after V?", "after X?")), ("previous", ("before V?", "before X?"))],
)
def test_words_of_two_classes_are_left_out(skill, words):
    rng = np.random.default_rng(0)
    drawn = [small_corpus().skills.document(rng, skill, "question").text for _ in range(900)]
    assert any(word in text for text in drawn for word in words)
    kept = [t.text for t in exercises(small_corpus(), skill, 900, seed=0)[0]]
    assert not any(word in text for text in kept for word in words)


def test_no_exercise_states_a_fact_that_is_held_out():
    geo = small_corpus().geography
    for skill in ("country of", "language of", "continent of", "capital of", "direction", "near to"):
        for text in exercises(small_corpus(), skill, 60, seed=0)[0]:
            told = text.told[0]
            assert not geo.held_out(told.relation, told.a, told.b)


def test_templates_met_and_never_met_are_pooled_apart():
    corpus = small_corpus()
    met = np.array([corpus.skills.seen("plural", t) for t in corpus.skills.templates])
    assert met.sum() == len(met) - 1
    right = np.zeros((len(met), 12), dtype=bool)
    right[met] = True
    _, rows = rows_by_group("plural", right)
    assert (rows[SEEN, "plural"]["value"], rows[SEEN, "plural"]["n"]) == (1.0, 12 * (len(met) - 1))
    assert (rows[UNSEEN, "plural"]["value"], rows[UNSEEN, "plural"]["n"]) == (0.0, 12)
    pairs = {group: row["value"] for (measure, group), row in rows.items() if measure == PAIR}
    assert len(pairs) == len(met)
    assert [group for group, value in pairs.items() if value == 0] == [g for g in pairs if "(never met)" in g]
    assert f"plural | {corpus.skills.templates[int(np.argmin(met))]} (never met)" in pairs


def test_the_baseline_is_the_commonest_answer_of_the_skill():
    texts, rows = rows_by_group("count", np.zeros((6, 40), dtype=bool), n=40)
    answers = [answer_of(text) for text in texts[0]]
    assert rows[SEEN, "count"]["baseline"] == max(answers.count(a) for a in answers) / 40


def test_a_repeated_exercise_counts_once_in_the_interval():
    texts = exercises(small_corpus(), "count", 300, seed=0)
    distinct = len({prompt_of(text) for text in texts[0]})
    assert distinct < 150
    right = np.ones((6, 300), dtype=bool)
    row = next(r for r in skill_rows(small_corpus(), "count", texts, right, right) if r["measure"] == SEEN)
    assert (row["n"], row["value"]) == (1500, 1.0)
    assert row["ci_low"] == pytest.approx(wilson(1.0, distinct)[0])


def test_a_model_that_knows_one_surface_is_right_there_alone():
    corpus = small_corpus()
    texts = exercises(corpus, "capital of", 10, seed=0)
    model = reciter(t.text for t in texts[3])
    right = skill_answers(model, corpus, "capital of", texts)
    assert right.sum(axis=1).tolist() == [0, 0, 0, 10, 0, 0]


def test_any_of_the_eight_nearest_is_right_where_a_near_city_is_asked_for():
    corpus = small_corpus()
    geo = corpus.geography
    texts = [exercises(corpus, "near to", 12, seed=0)[0]]
    rows = [text.told[0].a for text in texts[0]]

    def answers(which):
        said = (f"{prompt_of(t)} {geo.names[which(r)]}." for t, r in zip(texts[0], rows, strict=True))
        return skill_answers(reciter(said), corpus, "near to", texts)[0]

    for k in (0, 7):
        assert answers(lambda r, k=k: int(geo.world.neighbours[r][k])).all()
    far = answers(lambda r: int(geo.world.seen[np.argmax(geo.world.km[r, geo.world.seen])]))
    assert not far.any()


def test_every_skill_has_a_row_in_every_template():
    corpus = small_corpus()
    nothing = reciter(["x."])
    rows = transfer_rows(nothing, nothing, corpus, seed=0, n=2, n_twin=1)
    groups = [row["group"] for row in rows if row["measure"] == PAIR]
    assert len(set(groups)) == len(groups) == len(corpus.skills.names) * len(corpus.skills.templates)
    assert {row["group"] for row in rows if row["measure"] == UNSEEN} == set(corpus.skills.names)
    assert {row["value"] for row in rows} == {0.0}
