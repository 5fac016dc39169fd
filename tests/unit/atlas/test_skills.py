"""Instruction samples: right answers, and skill and template independent."""

import numpy as np
import pytest

from interp.atlas import lexicon
from interp.atlas.corpus.skills import TEMPLATES


def samples(corpus, skill, n=60, template=None, seed=0):
    rng = np.random.default_rng(seed)
    return [corpus.skills.document(rng, skill, template) for _ in range(n)]


def test_there_are_many_skills_in_six_templates(corpus):
    assert len(corpus.skills.names) >= 14
    assert len(corpus.skills.templates) == 6


def test_each_skill_leaves_out_one_template_and_the_corpus_keeps_to_it(corpus, texts):
    skills = corpus.skills
    assert all(sum(skills.seen(s, t) for t in skills.templates) == 5 for s in skills.names)
    met = {(t.labels["skill"], t.labels["template"]) for t in texts if "skill" in t.labels}
    assert met <= {(s, t) for s in skills.names for t in skills.templates if skills.seen(s, t)}
    assert len(met) > 75


def test_templates_are_left_out_evenly(corpus):
    seen = np.array([[corpus.skills.seen(s, t) for t in TEMPLATES] for s in corpus.skills.names])
    missing = (~seen).sum(0)
    assert missing.max() - missing.min() <= 1


def test_an_unseen_pair_is_made_when_it_is_asked_for(corpus):
    skill = corpus.skills.names[0]
    template = next(t for t in TEMPLATES if not corpus.skills.seen(skill, t))
    text = samples(corpus, skill, 1, template)[0]
    assert text.labels == {"skill": skill, "template": template}


def test_the_first_template_reads_as_documented(corpus):
    text = samples(corpus, "country of", 1, "question")[0]
    city = text.text[slice(*text.spans[0][:2])]
    assert text.text == f"Question: Which country is {city} in? Answer:{text.text[slice(*text.answer)]}."


@pytest.mark.parametrize(
    ("skill", "table"), [("plural", "PLURALS"), ("past tense", "PAST_TENSE"), ("opposite", "ANTONYMS")]
)
def test_answers_about_words_are_those_of_the_lexicon(corpus, skill, table):
    pairs = getattr(lexicon, table)
    for text in samples(corpus, skill, template="q and a"):
        word = text.text.split("? A:")[0].split()[-1]
        assert text.text[slice(*text.answer)] == f" {pairs[word]}"


def test_answers_about_cities_are_those_of_the_map(corpus):
    geo = corpus.geography
    for text in samples(corpus, "country of"):
        assert text.text[slice(*text.answer)].strip() == geo.country_of(text.spans[0][2])["name"]
    for text in samples(corpus, "direction"):
        (_, _, b), (_, _, a) = text.spans[:2]
        assert text.text[slice(*text.answer)].strip() == geo.world.direction(a, b)


def test_answers_that_can_be_counted_are_right(corpus):
    for text in samples(corpus, "count", template="instruction"):
        shown = text.text.split(": ", 2)[2].split(". Response")[0].split()
        assert text.text[slice(*text.answer)] == f" {len(shown)}"
    for text in samples(corpus, "larger", template="question"):
        a, b = (int(w.strip("?")) for w in text.text.split(": ")[2].split(" Answer")[0].split(" or "))
        assert text.text[slice(*text.answer)] == f" {max(a, b)}"
    for text in samples(corpus, "last", template="chat"):
        shown = text.text.split("last word: ")[1].split(". Assistant")[0].split()
        assert text.text[slice(*text.answer)] == f" {shown[-1]}"


def test_next_and_previous_are_inverse(corpus):
    following = {a: b for m, cyclic in lexicon.ORDINALS.values() for a, b in zip(m, m[1:] + m[:1], strict=True)}
    for text in samples(corpus, "previous", template="question"):
        word = text.text.split(" before ")[1].split("?")[0]
        answer = text.text[slice(*text.answer)].strip()
        members = [m for m, _ in lexicon.ORDINALS.values() if word in m]
        assert any(m[m.index(word) - 1] == answer for m in members)
        assert answer in following


def test_held_out_facts_are_asked_in_no_sample(corpus):
    geo = corpus.geography
    for skill, relation in (("country of", "country"), ("language of", "language"), ("continent of", "continent")):
        assert not any(geo.held_out(relation, t.spans[0][2]) for t in samples(corpus, skill, 400))
