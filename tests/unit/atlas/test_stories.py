"""Stories: people in place, three to five sentences, nobody with somebody they never meet."""

import re
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from interp.atlas import lexicon as lex
from interp.atlas.corpus import stories
from interp.atlas.corpus.fill import fill, slots
from interp.atlas.corpus.names import NEVER_PAIRED, company, never_paired
from interp.atlas.corpus.text import Text


@pytest.fixture(scope="module")
def documents():
    rng = np.random.default_rng(0)
    return [stories.document(rng) for _ in range(20_000)]


def test_never_paired_people_are_in_no_story_together(documents):
    together = {pair for t in documents for pair in combinations(sorted({name for _, _, name in t.people}), 2)}
    assert len(together) > 200
    assert not any(never_paired(a, b) for a, b in together)


def test_names_in_a_text_are_all_remembered(documents):
    people = set(lex.PEOPLE)
    for t in documents[:3000]:
        found = [(m.start(), m.end(), m[0]) for m in re.finditer(r"[A-Z][a-z]+", t.text) if m[0] in people]
        assert t.people == found


def test_stories_have_three_to_five_sentences_and_none_twice(documents):
    sentences = [re.findall(r"[^.]+\.", t.text) for t in documents]
    assert {len(s) for s in sentences} == {3, 4, 5}
    assert all(len({part.strip() for part in s}) == len(s) for s in sentences)


def test_every_sentence_pattern_is_used(documents):
    whole = "\n".join(t.text for t in documents)
    for pattern in (*stories.OPENINGS, *stories.MIDDLES, *stories.ENDINGS):
        assert re.search(re.sub(r"\\\{\w+\\\}", r"[\\w ]+", re.escape(pattern)), whole), pattern


def test_stories_use_past_tenses_and_plurals(documents):
    words = Counter(word for t in documents for word in re.findall(r"[a-z]+", t.text))
    assert sum(past in words for base, past in lex.PAST_TENSE.items() if base != past) >= 15
    assert sum(plural in words for one, plural in lex.PLURALS.items() if one != plural) >= 15


def test_articles_fit_their_nouns(documents):
    assert not any(re.search(r"\ba [aeio]|\ban [^aeiou]", t.text) for t in documents)
    assert [stories.with_article(w) for w in ("egg", "cake", "uniform", "umbrella", "hour")] == [
        "an egg", "a cake", "a uniform", "an umbrella", "an hour",
    ]  # fmt: skip


def test_a_fifth_of_the_pairs_never_meet_whatever_their_order():
    pairs = list(combinations(lex.PEOPLE, 2))
    apart = [never_paired(a, b) for a, b in pairs]
    assert apart == [never_paired(b, a) for a, b in pairs]
    assert np.mean(apart) == pytest.approx(NEVER_PAIRED, abs=4 * np.sqrt(0.16 / len(pairs)))


def test_company_keeps_apart_or_together_as_asked():
    rng = np.random.default_rng(1)
    for apart in (False, True):
        groups = [company(rng, 2, apart=apart) for _ in range(500)]
        assert all(never_paired(a, b) == apart and a != b for a, b in groups)
    assert all(not never_paired(a, b) for _ in range(200) for a, b in combinations(company(rng, 3), 2))


def test_the_order_of_company_does_not_tell_who_is_common():
    rng = np.random.default_rng(2)
    pairs = [company(rng, 2) for _ in range(4000)]
    first_is_common = np.mean([lex.PEOPLE.index(a) < lex.PEOPLE.index(b) for a, b in pairs])
    assert first_is_common == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / len(pairs)))


def test_a_pattern_is_filled_and_its_people_remembered():
    text = fill(Text("x").add("So "), "{A} saw {B} in the {spot}.", {"A": "Anna", "B": "Ben", "spot": "park"})
    assert text.text == "So Anna saw Ben in the park."
    assert text.people == [(3, 7, "Anna"), (12, 15, "Ben")]
    assert slots("{A} saw {B} in the {spot}.") == {"A", "B", "spot"}


def test_a_slot_without_a_word_is_an_error():
    with pytest.raises(KeyError, match="spot"):
        fill(Text("x"), "{A} in the {spot}", {"A": "Anna"})
