"""What the card says of the bundled model: each measurement against a slower way to the same number."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

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
    head_rows,
    induction_scores,
    losses,
    mean_row,
    probe_rows,
    questions,
    repeat_rows,
    token_losses,
)
from interp.atlas.write_card import card_text, table_text
from interp.models import load_model
from interp.testing import tiny_model


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


# --- losses


def test_token_losses_are_those_of_transformers():
    model = tiny_model()
    rows = np.random.default_rng(0).integers(2, model.d_vocab, size=(5, 20)).astype(np.uint16)
    ours = token_losses(model, rows, batch=2)
    assert ours.shape == (5, 19)
    for row, mine in zip(rows.astype(np.int64), ours, strict=True):
        ids = torch.from_numpy(row)[None]
        with torch.no_grad():
            theirs = model.bridge.original_model(input_ids=ids, labels=ids).loss
        assert mine.mean() == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("period", [7, 20, 63])
def test_repeated_rows_have_the_period_and_no_special_token(period):
    rows = repeat_rows(period, 9, 64, 500, seed=3)
    assert (rows.shape, rows.dtype) == ((9, 64), np.int64)
    assert (rows[:, 0] == 0).all()
    assert (rows[:, 1 + period :] == rows[:, 1:-period]).all()
    assert rows[:, 1:].min() >= 2
    assert rows.max() < 500
    assert not any((rows[:, 1 + p :] == rows[:, 1:-p]).all() for p in range(1, period))
    np.testing.assert_array_equal(rows, repeat_rows(period, 9, 64, 500, seed=3))
    assert (rows != repeat_rows(period, 9, 64, 500, seed=4)).any()


def test_the_first_period_is_told_apart_from_what_can_be_copied(monkeypatch):
    def one_where_new(model, rows):
        return np.array([[float(row[t] not in row[:t]) for t in range(1, len(row))] for row in rows])

    monkeypatch.setattr(measure, "token_losses", one_where_new)
    model = SimpleNamespace(d_vocab=10**9, n_ctx=128)  # so many tokens that none is drawn twice
    table = losses(model, {"nothing": np.zeros((4, 128), dtype=np.int64)}, model).set_index("measure")
    for period in (7, 20, 33, 50):
        assert table.loc[f"loss on random repeats, period {period}, first period", "value"] == 1.0
        assert table.loc[f"loss on random repeats, period {period}, after it", "value"] == 0.0
    assert (table["chance"] == np.log(10**9)).all()


def test_mean_has_a_normal_interval():
    values = np.array([1.0, 2.0, 4.0, 9.0])
    row = mean_row("m", values, values + 1, unit="u", chance=3.0)
    sem = np.sqrt(((values - 4) ** 2).sum() / 3) / 2
    assert (row["value"], row["random_weights"], row["n"], row["chance"]) == (4.0, 5.0, 4, 3.0)
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(4 - 1.96 * sem), pytest.approx(4 + 1.96 * sem))


# --- heads


def test_induction_scores_are_those_of_a_search_through_the_attention_of_transformers(atlas):
    from transformers import AutoModelForCausalLM

    period, n, seed = 11, 5, 1
    rows = repeat_rows(period, n, 3 * period + 1, atlas.d_vocab, seed)
    assert all(len(set(row)) == period + 1 for row in rows.tolist())  # so that the last occurrence is one period back
    plain = AutoModelForCausalLM.from_pretrained(folder(), dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        patterns = plain(input_ids=torch.from_numpy(rows), output_attentions=True).attentions
    expected = np.zeros((atlas.n_layers, atlas.n_heads))
    for layer, head in np.ndindex(expected.shape):
        looked = []
        for r, row in enumerate(rows.tolist()):
            for t in range(1, len(row)):
                earlier = [s for s in range(t) if row[s] == row[t]]
                if earlier:
                    looked.append(float(patterns[layer][r, head, t, earlier[-1] + 1]))
        expected[layer, head] = np.mean(looked)
    found = induction_scores(atlas, period=period, n=n, seed=seed)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-8)
    assert found.max() > 0.3  # the bundled model has such heads, so the search has something to find


def test_the_three_best_heads_stand_beside_the_best_of_random_weights(monkeypatch):
    scores = {"model": np.array([[0.1, 0.7], [0.5, 0.2]]), "twin": np.array([[0.01, 0.03], [0.0, 0.02]])}
    monkeypatch.setattr(measure, "induction_scores", lambda model: scores[model])
    table = head_rows("model", "twin")
    assert table["measure"].tolist() == [f"induction score of head {at}" for at in ("0.1", "1.0", "1.1")]
    assert table["value"].tolist() == [0.7, 0.5, 0.2]
    assert (table["random_weights"] == 0.03).all()


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
