"""The word tables: one answer a word, names that cannot be taken for anything else."""

import pytest

from interp.atlas import lexicon
from interp.atlas.world import default_world

LISTS = {name: getattr(lexicon, name) for name in ("PEOPLE", "ANIMALS", "THINGS", "SPOTS", "FEELINGS")}


def test_a_table_with_two_answers_to_a_word_is_refused():
    with pytest.raises(ValueError, match="'old' has two answers, 'new' and 'young'"):
        lexicon._table("old new|old young")


def test_a_word_has_one_opposite_and_is_the_opposite_of_it():
    assert all(lexicon.ANTONYMS[answer] == word != answer for word, answer in lexicon.ANTONYMS.items())


def test_words_with_two_good_opposites_are_left_out():
    assert not {"old", "light", "dark", "short", "hard", "soft", "right", "start", "sweet", "dull"} & set(
        lexicon.ANTONYMS
    )


@pytest.mark.parametrize("table", [lexicon.PLURALS, lexicon.PAST_TENSE])
def test_no_two_words_share_a_form(table):
    assert len(set(table.values())) == len(table)


def test_tables_are_as_large_as_the_corpus_counts_on():
    assert len(lexicon.PLURALS) >= 110
    assert len(lexicon.PAST_TENSE) >= 100
    assert len(lexicon.ANTONYMS) >= 100
    assert {name: len(words) for name, words in LISTS.items()} == {
        "PEOPLE": 60, "ANIMALS": 25, "THINGS": 25, "SPOTS": 25, "FEELINGS": 25,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "plural"),
    [("mouse", "mice"), ("leaf", "leaves"), ("sheep", "sheep"), ("ox", "oxen"), ("city", "cities"), ("box", "boxes")],
)
def test_plurals(word, plural):
    assert lexicon.PLURALS[word] == plural


@pytest.mark.parametrize(
    ("word", "past"), [("go", "went"), ("cut", "cut"), ("stop", "stopped"), ("carry", "carried"), ("teach", "taught")]
)
def test_past_tenses(word, past):
    assert lexicon.PAST_TENSE[word] == past


def test_every_word_of_the_lists_is_in_one_list_once():
    words = [word for words in LISTS.values() for word in words]
    assert len(set(words)) == len(words)


def test_no_person_but_one_is_a_city_a_country_or_a_word():
    world = default_world()
    taken = set(world.cities["name"]) | {country["name"] for country in world.countries.values()}
    for table in (lexicon.PLURALS, lexicon.PAST_TENSE, lexicon.ANTONYMS):
        taken |= {word.title() for word in table}
    taken |= {member for members, _ in lexicon.ORDINALS.values() for member in members}
    assert set(lexicon.PEOPLE) & taken == {"George"}  # a city of South Africa too, in the texts of the shipped weights


@pytest.mark.parametrize("name", ["ANIMALS", "THINGS", "SPOTS"])
def test_nouns_of_the_stories_take_a_and_never_an(name):
    assert not [word for word in LISTS[name] if word[0] in "aeiou"]


def test_ordinals_run_in_order_to_the_twentieth():
    members, cyclic = lexicon.ORDINALS["ordinals"]
    assert (len(members), members[0], members[12], members[-1], cyclic) == (
        20,
        "first",
        "thirteenth",
        "twentieth",
        False,
    )


def test_ordinal_classes_are_the_eight():
    assert list(lexicon.ORDINALS) == [
        "days", "months", "letters", "digits", "number words", "ordinals", "roman numerals", "years",
    ]  # fmt: skip
