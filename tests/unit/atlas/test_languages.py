"""Words and sentences in four languages: the grammar on cases that are known, and what the texts state."""

import re
import unicodedata
from collections import Counter

import numpy as np
import pytest

from interp.atlas.corpus.languages import WORD_OFFSET, Languages, draw_meaning
from interp.atlas.languages import (
    ADJECTIVES,
    FOREIGN,
    LANGUAGES,
    NOUNS,
    PATTERNS,
    TRANSLATIONS,
    VERBS,
    Meaning,
    definite,
    direct_object,
    indefinite,
    render,
    within,
)

NOUN = {noun.words["English"]: noun for noun in NOUNS}
ADJECTIVE = {adjective.forms["English"]["m"]: adjective for adjective in ADJECTIVES}
SURFACES = (
    r"(?P<w>\S+) in (?P<l>\w+) is (?P<f>\S+)\.",
    r"(?P<l>\w+) for (?P<w>\S+): (?P<f>\S+)\.",
    r"The (?P<l>\w+) word for (?P<w>\S+) is (?P<f>\S+)\.",
    r"(?P<f>\S+) means (?P<w>\S+)\.",
)
VERB = {verb.forms["English"]: verb for verb in VERBS}


@pytest.fixture(scope="module")
def languages():
    return Languages()


@pytest.fixture(scope="module")
def texts(languages):
    rng = np.random.default_rng(5)
    return [languages.document(rng) for _ in range(20_000)]


def stated(text):
    """Return the (word, language, foreign) pairs that a text about words states, by its own surface."""
    s = text.text
    if text.kind == "languages/chain":
        word, *rest = s[:-1].split(" = ")
        return [(word, r.split()[1].strip("()"), r.split()[0]) for r in rest]
    if text.kind == "languages/list":
        language, rest = s.removeprefix("English to ").removesuffix(".").split(": ")
        return [(pair.split()[0], language, pair.split()[1]) for pair in rest.split(", ")]
    for surface in SURFACES:
        if match := re.fullmatch(surface, s):
            return [(match["w"], match.groupdict().get("l", text.labels["language"]), match["f"])]
    return []


def word_texts(texts):
    return [t for t in texts if t.kind in ("languages/chain", "languages/list", "languages/word")]


def test_tables_have_the_size_that_the_corpus_counts_on():
    assert len(NOUNS) >= 120
    assert len(ADJECTIVES) >= 16
    assert len(VERBS) >= 8
    assert len(PATTERNS) >= 6


@pytest.mark.parametrize("language", FOREIGN)
def test_every_word_has_one_translation_and_no_two_share_it(language):
    assert len(TRANSLATIONS) == len(NOUNS) + len(ADJECTIVES)
    assert len({words[language] for words in TRANSLATIONS.values()}) == len(TRANSLATIONS)


def test_a_word_of_any_language_means_one_thing():
    meanings = {}
    for english, words in TRANSLATIONS.items():
        for word in {english, *words.values()}:
            meanings.setdefault(word, set()).add(english)
    assert not {word: m for word, m in meanings.items() if len(m) > 1}


def test_german_nouns_alone_are_capitalised():
    assert all(noun.words["German"][0].isupper() for noun in NOUNS)
    others = [words[language] for words in TRANSLATIONS.values() for language in ("French", "Spanish")]
    assert all(word == word.lower() for word in others)


@pytest.mark.parametrize("language", FOREIGN)
def test_genders_are_those_of_the_language(language):
    genders = {noun.gender[language] for noun in NOUNS}
    assert genders == ({"m", "f", "n"} if language == "German" else {"m", "f"})


def test_most_spanish_nouns_in_o_are_masculine_and_in_a_feminine_but_for_two():
    exceptions = {
        noun.words["Spanish"]
        for noun in NOUNS
        if noun.gender["Spanish"] != {"o": "m", "a": "f"}.get(noun.words["Spanish"][-1], noun.gender["Spanish"])
    }
    assert exceptions == {"mano", "día"}


def test_german_diminutives_are_neuter_and_nouns_in_e_feminine_but_for_those_known():
    german = {noun.words["German"]: noun.gender["German"] for noun in NOUNS}
    assert {german[word] for word in german if word.endswith("chen")} == {"n"}
    assert {word for word in german if re.search("[^e]e$", word) and german[word] != "f"} == {
        "Auge", "Junge", "Käse", "Löwe", "Affe",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "language", "phrase"),
    [
        ("friend", "French", "l'ami"), ("water", "French", "l'eau"), ("man", "French", "l'homme"),
        ("eye", "French", "l'œil"), ("grass", "French", "l'herbe"), ("star", "French", "l'étoile"),
        ("cat", "French", "le chat"), ("house", "French", "la maison"), ("sea", "French", "la mer"),
        ("tree", "French", "l'arbre"), ("water", "Spanish", "el agua"), ("eagle", "Spanish", "el águila"),
        ("apple", "Spanish", "la manzana"), ("bee", "Spanish", "la abeja"), ("hand", "Spanish", "la mano"),
        ("day", "Spanish", "el día"), ("dog", "German", "der Hund"), ("cat", "German", "die Katze"),
        ("girl", "German", "das Mädchen"), ("sun", "German", "die Sonne"), ("moon", "German", "der Mond"),
        ("lake", "German", "der See"), ("knife", "German", "das Messer"), ("dog", "English", "the dog"),
    ],
)  # fmt: skip
def test_definite_articles(word, language, phrase):
    assert definite(NOUN[word], language) == phrase


@pytest.mark.parametrize(
    ("word", "language", "phrase"),
    [
        ("dog", "German", "den Hund"), ("cat", "German", "die Katze"), ("book", "German", "das Buch"),
        ("lion", "German", "den Löwen"), ("boy", "German", "den Jungen"), ("soldier", "German", "den Soldaten"),
        ("dog", "Spanish", "al perro"), ("mother", "Spanish", "a la madre"), ("eagle", "Spanish", "al águila"),
        ("book", "Spanish", "el libro"), ("water", "Spanish", "el agua"), ("bird", "French", "l'oiseau"),
        ("bird", "English", "the bird"),
    ],
)  # fmt: skip
def test_direct_objects(word, language, phrase):
    assert direct_object(NOUN[word], language) == phrase


@pytest.mark.parametrize(
    ("word", "language", "phrase"),
    [
        ("dog", "English", "a dog"), ("apple", "English", "an apple"), ("egg", "English", "an egg"),
        ("onion", "English", "an onion"), ("house", "English", "a house"), ("apple", "French", "une pomme"),
        ("egg", "French", "un œuf"), ("eagle", "Spanish", "un águila"), ("key", "Spanish", "una llave"),
        ("dog", "German", "einen Hund"), ("monkey", "German", "einen Affen"), ("flower", "German", "eine Blume"),
        ("bed", "German", "ein Bett"),
    ],
)  # fmt: skip
def test_indefinite_articles(word, language, phrase):
    assert indefinite(NOUN[word], language) == phrase


@pytest.mark.parametrize(
    ("word", "language", "phrase"),
    [
        ("garden", "German", "im Garten"), ("water", "German", "im Wasser"), ("kitchen", "German", "in der Küche"),
        ("school", "French", "dans l'école"), ("water", "Spanish", "en el agua"), ("box", "English", "in the box"),
    ],
)  # fmt: skip
def test_places(word, language, phrase):
    assert within(NOUN[word], language) == phrase


def meaning(pattern, noun, other=None, place=None, adjective=None, verb=None):
    return Meaning(
        pattern, NOUN[noun], other and NOUN[other], place and NOUN[place], adjective and ADJECTIVE[adjective],
        verb and VERB[verb],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "sentences"),
    [
        (
            meaning("adjective", "dog", adjective="big"),
            ("The dog is big.", "Le chien est grand.", "El perro es grande.", "Der Hund ist groß."),
        ),
        (
            meaning("adjective", "house", adjective="white"),
            ("The house is white.", "La maison est blanche.", "La casa es blanca.", "Das Haus ist weiß."),
        ),
        (
            meaning("adjective", "water", adjective="cold"),
            ("The water is cold.", "L'eau est froide.", "El agua está fría.", "Das Wasser ist kalt."),
        ),
        (
            meaning("verb", "cat", "bird", verb="sees"),
            ("The cat sees the bird.", "Le chat voit l'oiseau.", "El gato ve al pájaro.", "Die Katze sieht den Vogel."),
        ),
        (
            meaning("verb", "woman", "key", verb="looks for"),
            (
                "The woman looks for the key.", "La femme cherche la clé.", "La mujer busca la llave.",
                "Die Frau sucht den Schlüssel.",
            ),
        ),
        (
            meaning("place", "friend", place="kitchen"),
            (
                "The friend is in the kitchen.", "L'ami est dans la cuisine.", "El amigo está en la cocina.",
                "Der Freund ist in der Küche.",
            ),
        ),
        (
            meaning("there is", "apple", place="bag"),
            (
                "There is an apple in the bag.", "Il y a une pomme dans le sac.", "Hay una manzana en la bolsa.",
                "Es gibt einen Apfel in der Tasche.",
            ),
        ),
        (
            meaning("have", "bear"),
            ("I have a bear.", "J'ai un ours.", "Tengo un oso.", "Ich habe einen Bären."),
        ),
        (
            meaning("where", "moon"),
            ("Where is the moon?", "Où est la lune ?", "¿Dónde está la luna?", "Wo ist der Mond?"),
        ),
        (
            meaning("see", "eagle"),
            ("I see the eagle.", "Je vois l'aigle.", "Veo al águila.", "Ich sehe den Adler."),
        ),
        (
            meaning("both", "boy", "horse", place="forest"),
            (
                "The boy and the horse are in the forest.", "Le garçon et le cheval sont dans la forêt.",
                "El chico y el caballo están en el bosque.", "Der Junge und das Pferd sind im Wald.",
            ),
        ),
    ],
    ids=lambda case: case.pattern + " " + case.noun.words["English"] if isinstance(case, Meaning) else "",
)  # fmt: skip
def test_a_meaning_in_four_languages(said, sentences):
    assert tuple(render(said, language) for language in LANGUAGES) == sentences


def test_every_drawn_meaning_renders_in_every_language_with_different_nouns():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        said = draw_meaning(rng)
        nouns = [noun for noun in (said.noun, said.other, said.place) if noun is not None]
        assert len({noun.words["English"] for noun in nouns}) == len(nouns)
        for language in LANGUAGES:
            sentence = render(said, language)
            assert nouns[0].words[language].lower()[:3] in sentence.lower()
            assert not re.search(r"[{}_]|  |\bNone\b", sentence)


def test_french_articles_are_elided_before_vowels_and_mute_h_alone():
    for noun in NOUNS:
        word = noun.words["French"]
        vowel = unicodedata.normalize("NFD", word.replace("œ", "o"))[0] in "aeiouh"
        assert definite(noun, "French").startswith("l'") == vowel


def test_english_nouns_that_take_an_are_the_ones_known():
    an = {
        noun.words["English"] for noun in NOUNS if noun.kind in "pao" and indefinite(noun, "English").startswith("an ")
    }
    assert an == {"apple", "egg", "eagle", "elephant", "onion"}


def test_every_stated_pair_is_that_of_the_table(texts):
    for text in word_texts(texts):
        pairs = stated(text)
        assert pairs, text.text
        assert all(TRANSLATIONS[word][language] == foreign for word, language, foreign in pairs), text.text


def test_held_out_pairs_are_stated_in_no_word_pair_while_their_words_occur(languages, texts):
    held = {(word, language) for word, language, _, told in languages.word_pairs() if not told}
    met = {(word, language) for text in word_texts(texts) for word, language, _ in stated(text)}
    assert 0.06 < len(held) / len(languages.word_pairs()) < 0.14
    assert not held & met
    words = {word for text in word_texts(texts) for word in re.findall(r"\w+", text.text)}
    assert {word for word, _ in held} <= words
    sentences = {w for t in texts if t.kind == "languages/sentence pair" for w in re.findall(r"\w+", t.text)}
    foreign = {TRANSLATIONS[word][language] for word, language in held}
    assert len(foreign & sentences) > 0.7 * len(foreign)


def test_every_told_pair_is_met_often(languages, texts):
    met = Counter((word, language) for text in word_texts(texts) for word, language, _ in stated(text))
    told = [(word, language) for word, language, _, told in languages.word_pairs() if told]
    assert min(met[pair] for pair in told) >= 10


def test_word_pairs_are_two_thirds_of_the_texts(texts):
    assert abs(len(word_texts(texts)) / len(texts) - 0.65) < 0.02


@pytest.mark.parametrize("language", FOREIGN)
def test_frequencies_of_words_fall_by_zipfs_law(languages, texts, language):
    single = [t for t in texts if t.kind in ("languages/word", "languages/list")]
    met = Counter(word for t in single for word, name, _ in stated(t) if name == language)
    counts = np.array([met[word] for word in languages.words[language]])
    slope = np.polyfit(np.log(np.arange(len(counts)) + WORD_OFFSET), np.log(counts), 1)[0]
    assert -1.15 < slope < -0.85


def test_the_answer_of_a_word_pair_is_marked_with_its_space(texts):
    single = [t for t in texts if t.kind == "languages/word"]
    for text in single:
        ((word, _, foreign),) = stated(text)
        answer = text.text[slice(*text.answer)]
        assert answer == f" {word if ' means ' in text.text else foreign}"


def test_every_text_is_labelled_with_its_languages(texts):
    assert {language for t in texts for language in t.labels["language"].split()} == set(LANGUAGES)
    for text in texts[:2000]:
        if text.kind == "languages/sentence pair":
            assert f" {text.labels['language']}:" in text.text


def test_a_run_is_one_language(texts):
    runs = [t for t in texts if t.kind == "languages/run" and t.labels["language"] == "German"]
    assert all(re.search(r"\b([Dd]er|[Dd]ie|[Dd]as|[Dd]en|ein|eine|einen|im)\b", t.text) for t in runs)
    assert not any(re.search(r"\b([Tt]he|[Ee]l|[Ll]es?|una?)\b", t.text) for t in runs)


def test_the_same_generator_gives_the_same_texts(languages):
    first, second = (
        [languages.document(rng).text for _ in range(50)]
        for rng in (np.random.default_rng(9), np.random.default_rng(9))
    )
    assert first == second
    assert first != [languages.document(np.random.default_rng(10)).text for _ in range(50)]
