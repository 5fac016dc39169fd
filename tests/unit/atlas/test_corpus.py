"""The text generator as a whole: seeded, in its shares, and true about what it says of its texts."""

import hashlib

import numpy as np
import pytest

from interp.atlas.corpus import MIXTURE, Corpus
from interp.atlas.corpus.draw import common, distinct, held_out, zipf_cdf
from interp.atlas.world import World, choose_cities


def test_a_text_depends_on_its_generator_alone(corpus):
    a, b = np.random.default_rng(5), np.random.default_rng(5)
    assert [corpus.document(a).text for _ in range(300)] == [corpus.document(b).text for _ in range(300)]
    assert corpus.document(a).text != corpus.document(np.random.default_rng(6)).text


def test_two_corpora_say_the_same():
    texts = []
    for _ in range(2):
        corpus, rng = Corpus(World(choose_cities(200))), np.random.default_rng(0)
        texts.append("\n".join(corpus.document(rng).text for _ in range(200)))
    assert hashlib.sha256(texts[0].encode()).digest() == hashlib.sha256(texts[1].encode()).digest()


def test_shares_of_kinds_follow_the_mixture(texts):
    assert sum(MIXTURE.values()) == pytest.approx(1)
    kinds = [t.kind.split("/")[0] for t in texts]
    assert set(kinds) == set(MIXTURE)
    for kind, share in MIXTURE.items():
        assert kinds.count(kind) / len(kinds) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / len(kinds)))


@pytest.mark.parametrize("kind", list(MIXTURE))
def test_every_kind_can_be_asked_for(corpus, kind):
    text = corpus.sample(kind, np.random.default_rng(0))
    assert text.kind.split("/")[0] == kind
    assert text.text == text.text.strip()
    assert len(text.text) == text.length


def test_spans_cover_the_names_of_cities_and_people(corpus, texts):
    cities = [(t.text[start:end], corpus.geography.names[row]) for t in texts for start, end, row in t.spans]
    people = [(t.text[start:end], name) for t in texts for start, end, name in t.people]
    assert len(cities) > 5000
    assert len(people) > 1000
    assert all(text == name for text, name in cities + people)


def test_answers_are_spans_with_their_space(texts):
    answers = [t.text[slice(*t.answer)] for t in texts if t.answer is not None]
    assert len(answers) > 1500
    assert all(a.startswith(" ") and a.strip() for a in answers)


def test_told_relations_end_inside_the_text_behind_the_names(texts):
    for t in texts:
        for told in t.told:
            named = {row for start, end, row in t.spans if end <= told.end}
            assert told.a in named
            assert told.b == -1 or told.b in named
            assert told.end <= t.length


def test_no_text_is_empty_and_few_are_long(texts):
    lengths = np.array([t.length for t in texts])
    assert lengths.min() > 3
    assert np.quantile(lengths, 0.99) < 450


def test_frequencies_follow_a_zipf_like_law(texts):
    words: dict[str, int] = {}
    for t in texts:
        for word in t.text.replace(".", "").replace(",", "").split():
            words[word] = words.get(word, 0) + 1
    counts = np.sort(np.array(list(words.values())))[::-1][:1000]
    slope = np.polyfit(np.log(np.arange(10, 1001)), np.log(counts[9:]), 1)[0]
    assert -1.6 < slope < -0.6


def test_zipf_draws_fall_with_rank():
    rng = np.random.default_rng(0)
    drawn = np.bincount([common(rng, range(20)) for _ in range(4000)], minlength=20) / 4000
    expected = np.diff(zipf_cdf(20), prepend=0)
    assert np.abs(drawn - expected).max() < 4 * np.sqrt(expected.max() / 4000)


def test_distinct_draws_are_distinct():
    rng = np.random.default_rng(0)
    assert all(len(set(distinct(rng, "abcdef", 6))) == 6 for _ in range(50))


def test_a_share_of_the_facts_is_held_out_whatever_else_there_is():
    share = np.mean([held_out(f"some fact {i}", 0.1) for i in range(5000)])
    assert share == pytest.approx(0.1, abs=0.015)
    assert held_out("country 1") == held_out("country 1")
