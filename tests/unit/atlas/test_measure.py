"""What the card says of the bundled model: each measurement against a slower way to the same number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from interp.atlas import card, facts
from interp.atlas.facts import folder
from interp.atlas.measure import old as measure
from interp.atlas.measure.old import (
    Question,
    accuracies,
    answered,
    probe_rows,
    questions,
)
from interp.atlas.write_card import card_text, table_text
from interp.models import load_model


@pytest.fixture(scope="module")
def atlas():
    return load_model("atlas")


@pytest.fixture(scope="module")
def asked():
    return questions(facts())


# --- questions


def test_every_city_is_asked_for_its_country_in_the_group_it_belongs_to(asked):
    cities = facts().cities
    by_prompt = {q.prompt: q for q in asked}
    groups = np.where(
        ~cities["seen"], "never mentioned", np.where(cities["n_tokens"] == 1, "one token", "several tokens")
    )
    for name, iso, group in zip(cities["name"], cities["country"], groups, strict=True):
        question = by_prompt[f"Question: Which country is {name} in? Answer:"]
        assert (question.kind, question.answer) == (
            f"country of a city, {group}",
            f" {facts().countries[iso]['name']}",
        )


def test_a_city_of_a_country_that_no_text_names_is_not_asked_for():
    told = facts()
    (first, *_), lost = told.cities["name"], told.cities["country"].iat[0]
    fewer = replace(told, countries={iso: c for iso, c in told.countries.items() if iso != lost})
    kept = [q for q in questions(fewer) if q.kind.startswith("country")]
    assert len(kept) == (told.cities["country"] != lost).sum()
    assert not any(f" {first} " in q.prompt for q in kept)


@pytest.mark.parametrize(("name", "n"), [("days", 7), ("months", 12), ("letters", 22), ("years", 130)])
def test_successors_wrap_in_cyclic_classes_alone(asked, name, n):
    members, cyclic = facts().ordinals[name]
    pairs = {(q.prompt.split(" after ")[1].split("?")[0], q.answer.strip()) for q in asked if q.kind.endswith(name)}
    assert len(pairs) == n
    assert ((members[-1], members[0]) in pairs) == cyclic
    after_two_of_them = {"J", "W", "Y"} if name == "letters" else set()  # I, V and X are numerals too
    assert {b for _, b in pairs} == set(members if cyclic else members[1:]) - after_two_of_them


def test_every_word_pair_is_asked_once(asked):
    for skill, table in facts().pairs.items():
        found = [q for q in asked if q.kind == skill]
        assert [q.answer for q in found] == [f" {answer}" for answer in table.values()]
        assert all(f" {word}" in q.prompt for q, word in zip(found, table, strict=True))


def test_questions_are_worded_as_the_corpus_words_them(asked):
    corpus = facts().corpus()
    rng = np.random.default_rng(0)
    texts = {corpus.tasks.document(rng, skill).text for skill in ("country of", "plural", "next") for _ in range(40)}
    whole = {f"{q.prompt}{q.answer}." for q in asked}
    ambiguous = {text for text in texts if any(f" after {word}?" in text for word in "IVX")}  # letter and numeral
    assert texts - ambiguous <= whole
    assert not ambiguous & whole


# --- answers


def greedy(model, question: Question) -> bool:
    """One question, one token at a time, no padding."""
    ids = model.tokenizer(question.prompt)["input_ids"]
    true = model.tokenizer(question.prompt + question.answer)["input_ids"]
    assert true[: len(ids)] == ids
    while len(ids) < len(true):
        with torch.no_grad():
            ids = [*ids, int(model.logits(torch.tensor([ids]))[0, -1].argmax())]
    return ids == true


def test_answers_agree_with_decoding_token_by_token(atlas, asked):
    def several(q):
        return len(atlas.tokenizer(q.answer)["input_ids"]) > 2  # BOS and more than one token

    some = [q for q in asked if several(q)][::6] + [q for q in asked if not several(q)][::60]
    expected = np.array([greedy(atlas, q) for q in some])
    assert 5 < expected.sum() < len(some) - 5  # both outcomes are there
    np.testing.assert_array_equal(answered(atlas, some), expected)
    np.testing.assert_array_equal(answered(atlas, some, batch=7), expected)


def test_a_right_first_token_is_not_yet_a_right_answer(atlas):
    prompt = "Question: Which country is Seoul in? Answer:"
    said = [Question("", prompt, a) for a in (" South Korea", " South Africa", " North Korea", " Korea")]
    assert answered(atlas, said).tolist() == [True, False, False, False]


def test_accuracy_has_its_wilson_interval_and_both_controls(monkeypatch):
    asked = [Question("a", "?", " x")] * 6 + [Question("a", "?", " y")] * 2 + [Question("b", "?", " z")] * 3
    right = {"model": [1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0], "twin": [1] + [0] * 9 + [1]}
    monkeypatch.setattr(measure, "questions", lambda _: asked)
    monkeypatch.setattr(measure, "answered", lambda model, _: np.array(right[model], dtype=bool))
    table = accuracies("model", None, "twin").set_index("measure")
    assert table["value"].to_dict() == {"a": 6 / 8, "b": 0.0}
    assert table["random_weights"].to_dict() == {"a": 1 / 8, "b": pytest.approx(1 / 3)}
    assert table["majority_answer"].to_dict() == {"a": 6 / 8, "b": 1.0}
    assert table["n"].to_dict() == {"a": 8, "b": 3}
    p, n, z = 6 / 8, 8, 1.959963984540054
    middle, half = (p + z**2 / (2 * n)), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    expected = [(middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)]
    np.testing.assert_allclose(table.loc["a", ["ci_low", "ci_high"]].astype(float), expected, rtol=1e-9)


# --- probes


def planted(n: int = 200, d: int = 30, noise: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((n, d))
    return x, x @ rng.standard_normal((d, 2)) + noise * rng.standard_normal((n, 2))


def test_r2_is_that_of_sklearn_over_held_out_predictions():
    x, y = planted()
    guess = np.full_like(y, np.nan)
    for fit, test in KFold(10, shuffle=True, random_state=4).split(x):
        scale = StandardScaler().fit(x[fit])
        ridge = RidgeCV(alphas=np.logspace(-1, 5, 13)).fit(scale.transform(x[fit]), y[fit])
        guess[test] = ridge.predict(scale.transform(x[test]))
    expected = r2_score(y, guess, multioutput="raw_values")
    assert (expected > 0.5).all()
    np.testing.assert_allclose(measure._r2(x, y, 4), expected, rtol=1e-10)


def test_r2_of_shuffled_coordinates_is_not_above_chance():
    x, y = planted(n=120, d=100, noise=0.1)  # nearly as many directions as places: a fit on itself would be perfect
    shuffled = y[np.random.default_rng(0).permutation(len(y))]
    assert measure._r2(x, y, 0).min() > 0.5
    r2 = measure._r2(x, shuffled, 0)
    assert r2.max() < 0.05
    assert r2.min() > -0.3


def test_probes_read_seen_cities_alone_at_every_layer(atlas):
    told = facts()
    some = replace(told, cities=told.cities.head(150))
    table = probe_rows(atlas, load_model("atlas", weights="random", seed=0), some, ["{name}"])
    n = int(some.cities["seen"].sum())
    assert n < 150
    assert table["n"].tolist() == [n] * (2 * atlas.n_layers)
    assert table["measure"].str.contains("mean token").all()
    assert (table["value"] > 0.2).all()
    assert (table["random_weights"] < 0.1).all()


# --- the text of the card


def test_the_table_shows_every_row_with_its_controls():
    table = pd.DataFrame(
        [
            {"measure": "one", "value": 0.12345, "ci_low": 0.1, "ci_high": 0.2, "n": 1234, "majority_answer": np.nan,
             "random_weights": 0.5, "chance": 8.3},
            {"measure": "two", "value": 1.0, "ci_low": np.nan, "ci_high": np.nan, "n": 3, "majority_answer": 0.25,
             "random_weights": 0.0, "chance": np.nan},
        ]
    )  # fmt: skip
    head, _, *rows = table_text(table).splitlines()
    assert head.count("|") == 7
    assert rows == ["| one | 0.123 | 0.1 to 0.2 | 1,234 | 0.5 | 8.3 |", "| two | 1 |  | 3 | 0 | 0.25 |"]


def test_the_shipped_readme_is_the_text_of_the_shipped_card(atlas):
    settings = card()
    table = pd.DataFrame(settings["measured"])
    text = card_text(settings, table, atlas.n_parameters)
    assert text == (folder() / "README.md").read_text(encoding="utf-8")
    assert all(f"| {name} |" in text for name in table["measure"])
