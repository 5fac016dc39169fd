"""The questions of the card: worded as the texts word them, grouped by what the texts tell."""

from __future__ import annotations

import numpy as np
import pytest

from interp.atlas import lexicon
from interp.atlas.measure.questions import (
    CITY_PROMPTS,
    DIRECTION_PROMPT,
    NEAR_PROMPT,
    Question,
    ambiguous_steps,
    questions,
    successor_questions,
    translation_questions,
    word_questions,
)
from interp.errors import InvalidInput

from .reciter import small_corpus


@pytest.fixture(scope="module")
def asked():
    return questions(small_corpus(), [1, 2] * 125)


def samples(skill, n=200):
    corpus, rng = small_corpus(), np.random.default_rng(0)
    return [corpus.skills.document(rng, skill, "question") for _ in range(n)]


@pytest.mark.parametrize(
    "skill",
    ["country of", "language of", "continent of", "capital of", "plural", "past tense", "opposite", "translate"],
)
def test_a_sample_of_the_texts_is_one_of_the_questions_with_its_answer_and_its_end(asked, skill):
    known = {f"{q.prompt}{q.answer}." for q in asked}
    assert {text.text for text in samples(skill)} <= known


def test_successors_are_worded_as_in_the_texts_and_words_of_two_classes_are_not_asked(asked):
    known = {f"{q.prompt}{q.answer}." for q in asked}
    after, before = ambiguous_steps()
    assert before == {"V", "X"}  # I is the first of the numerals: only H comes before it
    assert after == {"I", "V", "X"}
    texts = samples("next", 600)
    ambiguous = {t.text for t in texts if any(f" after {word}?" in t.text for word in after)}
    assert {t.text for t in texts} - ambiguous <= known
    assert ambiguous
    assert not ambiguous & known


def test_near_and_direction_are_worded_as_in_the_texts():
    names = small_corpus().geography.names
    for text in samples("near to", 20):
        assert text.text.startswith(NEAR_PROMPT.format(name=names[text.told[0].a]) + " ")
    for text in samples("direction", 20):
        told = text.told[0]
        assert text.text.startswith(DIRECTION_PROMPT.format(name=names[told.b], hub=names[told.a]) + " ")


def test_the_currency_is_worded_as_geography_states_it():
    geo, rng = small_corpus().geography, np.random.default_rng(0)
    texts = [geo.facts(rng) for _ in range(300)]
    stated = [(t.told[i].a, t.text) for t in texts for i in range(len(t.told)) if t.told[i].relation == "currency"]
    assert len(stated) > 30
    for row, text in stated:
        prompt = CITY_PROMPTS["currency"].format(name=geo.names[row])
        assert f"{prompt} {geo.country_of(row)['currency']}." in text


def test_every_city_with_a_known_country_is_asked_once_in_its_group(asked):
    geo = small_corpus().geography
    found = {q.prompt: q for q in asked if q.kind == "country of a city"}
    seen = set(geo.world.seen.tolist())
    expected = 0
    for row, name in enumerate(geo.names):
        if geo.iso[row] not in geo.world.countries:
            continue
        expected += 1
        question = found[CITY_PROMPTS["country"].format(name=name)]
        assert question.answer == f" {geo.country_of(row)['name']}"
        assert question.unit == geo.iso[row]
        if row not in seen:
            assert question.group == "never mentioned"
        elif geo.held_out("country", row):
            assert question.group == "held out"
        else:
            assert question.group == ("told, one token" if row % 2 == 0 else "told, several tokens")
    assert expected == len(found)
    groups = {"never mentioned", "held out", "told, one token", "told, several tokens"}
    assert {q.group for q in found.values()} == groups


def test_held_out_facts_of_each_relation_stand_apart(asked):
    geo = small_corpus().geography
    for relation in ("language", "continent", "currency"):
        held = {q.prompt for q in asked if q.kind == f"{relation} of a city" and q.group == "held out"}
        rows = [r for r in geo.world.seen.tolist() if geo.held_out(relation, r) and geo.country_of(r)[relation]]
        assert held == {CITY_PROMPTS[relation].format(name=geo.names[r]) for r in rows}
        assert held


def test_the_capital_is_asked_beside_the_largest_city(asked):
    geo = small_corpus().geography
    capitals = [q for q in asked if q.kind == "capital of a country"]
    assert len(capitals) == sum(row >= 0 for row in geo.capitals.values())
    by_country = {q.unit: q for q in capitals}
    assert (by_country["TR"].answer, by_country["TR"].guess) == (" Ankara", " Istanbul")
    assert {q.group for q in capitals} == {"told", "held out"}


@pytest.mark.parametrize(("name", "n"), [("days", 7), ("months", 12), ("letters", 22), ("years", 130), ("digits", 98)])
def test_successors_wrap_in_cyclic_classes_alone(name, n):
    members, cyclic = lexicon.ORDINALS[name]
    found = [q for q in successor_questions() if q.group == name]
    assert len(found) == n
    last = f"Question: What comes after {members[-1]}? Answer:"
    assert [q.answer for q in found if q.prompt == last] == ([f" {members[0]}"] if cyclic else [])


def test_rules_of_spelling_are_right_where_the_word_is_regular():
    by_prompt = {q.prompt: q for q in word_questions()}
    dog = by_prompt["Question: What is the plural of dog? Answer:"]
    assert (dog.answer, dog.guess, dog.rule) == (" dogs", " dogs", "add s")
    bake = by_prompt["Question: What is the past tense of make? Answer:"]
    assert (bake.answer, bake.guess) == (" made", " maked")
    walk = by_prompt["Question: What is the past tense of walk? Answer:"]
    assert walk.answer == walk.guess == " walked"


def test_every_translation_is_asked_once_told_and_held_out_apart():
    corpus = small_corpus()
    found = translation_questions(corpus)
    assert len({q.prompt for q in found}) == len(found) == len(corpus.languages.word_pairs())
    told = {text.text for text in samples("translate", 500)}
    held = {f"{q.prompt}{q.answer}." for q in found if q.group.endswith("held out")}
    assert held
    assert not held & told


@pytest.mark.parametrize(("prompt", "answer"), [("A:", "x"), ("A: ", " x"), ("A:", " "), ("", " x")])
def test_a_question_without_the_space_before_its_answer_is_refused(prompt, answer):
    with pytest.raises(InvalidInput, match="space"):
        Question("k", prompt, answer)
