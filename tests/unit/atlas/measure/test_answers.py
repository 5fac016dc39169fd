"""Answers of planted models, and of a real one against decoding and scoring one sequence at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from interp.atlas.measure import answers
from interp.atlas.measure.answers import answered, candidate_nats, chosen, name_tokens, question_rows, said
from interp.atlas.measure.questions import CITY_PROMPTS, Question
from interp.errors import InvalidInput
from interp.models import load_model
from interp.testing import tiny_model
from interp.tokens import encode

from .planted import PlantedModel, uniform
from .reciter import reciter, small_corpus

KNOWN = ("Question: one? Answer: Guinea-Bissau.", "Question: two? Answer: Guinea.", "Question: three? Answer: Paris.")


def ask(word, answer, **more):
    return Question("k", f"Question: {word}? Answer:", f" {answer}", **more)


def test_what_is_recited_is_answered_and_nothing_else():
    model = reciter(KNOWN)
    asked = [ask("one", "Guinea-Bissau"), ask("two", "Guinea"), ask("three", "Paris"), ask("three", "Rome"),
             ask("four", "Paris")]  # fmt: skip
    assert answered(model, asked).tolist() == [True, True, True, False, False]


def test_the_beginning_of_an_answer_is_not_the_answer():
    assert answered(reciter(KNOWN), [ask("one", "Guinea"), ask("two", "Guinea-Bissau")]).tolist() == [False, False]


def test_a_repeated_question_is_answered_each_time_and_run_once():
    model = reciter(KNOWN)
    asked = [ask("two", "Guinea"), ask("three", "Rome")] * 400
    assert answered(model, asked).tolist() == [True, False] * 400
    assert model.passes == 1


def test_no_question_has_no_answer():
    assert answered(reciter(KNOWN), []).shape == (0,)


def test_decoding_goes_to_the_first_full_stop_and_agrees_with_answered():
    model = reciter([*KNOWN, "Question: five? Answer: a.b.c."])
    prompts = [f"Question: {word}? Answer:" for word in ("one", "two", "three", "five", "six")]
    assert said(model, prompts) == ["Guinea-Bissau", "Guinea", "Paris", "a", ""]
    assert answered(model, [Question("", p, f" {a}") for p, a in zip(prompts[:3], said(model, prompts), strict=False)]
                    ).all()  # fmt: skip


def test_an_answer_that_does_not_end_is_none():
    model = reciter(KNOWN)
    length = int(encode(model, [" Guinea-Bissau."], bos="never").lengths[0])
    prompt = ["Question: one? Answer:"]
    assert said(model, prompt, max_tokens=length) == ["Guinea-Bissau"]
    assert said(model, prompt, max_tokens=length - 1) == [""]


def test_decoding_in_batches_is_that_of_a_walk_through_the_table_of_next_tokens():
    rng = np.random.default_rng(4)
    probe = PlantedModel(uniform(1))
    letters = encode(probe, list("abcdefgh.")).ids.reshape(9, -1)[:, -1]
    table = {int(a): int(letters[rng.integers(9)]) for a in letters}

    def logits(ids):
        out = np.zeros((*ids.shape, probe.d_vocab))
        for r, row in enumerate(ids.tolist()):
            for j, token in enumerate(row):
                out[r, j, table.get(token, int(letters[0]))] = 1.0
        return out

    prompts = ["x" * n + letter for n, letter in enumerate("abcdefgh")]
    expected = []
    for prompt in prompts:
        token, word = int(encode(probe, [prompt]).ids[-1]), ""
        while len(word) < 16:
            token = table[token]
            word += "abcdefgh."[int(np.flatnonzero(letters == token)[0])]
            if word[-1] == ".":
                break
        expected.append(word[:-1] if word[-1] == "." else "")
    assert said(PlantedModel(logits, n_ctx=64), prompts, max_tokens=16) == expected
    assert any(expected)


def test_a_trained_model_says_what_it_says_one_token_at_a_time():
    model = load_model("atlas")
    prompts = [CITY_PROMPTS["country"].format(name=name) for name in ("Paris", "Lima", "Kyiv", "Surabaya", "Oslo")]
    prompts += [f"Question: What comes after {word}? Answer:" for word in ("Monday", "ten", "July")]
    expected = []
    for prompt in prompts:
        ids = model.tokenizer(prompt)["input_ids"]
        start = len(ids)
        while len(ids) < start + 24 and "." not in model.tokenizer.decode(ids[start:]):
            with torch.no_grad():
                ids = [*ids, int(model.logits(torch.tensor([ids]))[0, -1].argmax())]
        spoken, stop, _ = model.tokenizer.decode(ids[start:]).partition(".")
        expected.append(spoken.strip() if stop else "")
    assert said(model, prompts) == expected
    known = [Question("", p, f" {a}") for p, a in zip(prompts, expected, strict=True) if a]
    assert len(known) >= 4
    assert answered(model, known).all()
    assert not answered(model, [Question("", q.prompt, f"{q.answer}s") for q in known]).any()


def test_nats_of_candidates_are_those_of_transformers_one_by_one():
    model = tiny_model()
    prompts, offered = ["Where is it?", "Paris is in the city"], [[" a", " London"], [" of France", " to"]]
    found = candidate_nats(model, prompts, offered)
    for i, prompt in enumerate(prompts):
        start = int(encode(model, [prompt]).lengths[0])
        for j, word in enumerate(offered[i]):
            ids = torch.from_numpy(encode(model, [f"{prompt}{word}."]).ids)[None]
            with torch.no_grad():
                logp = model.bridge.original_model(input_ids=ids).logits.double().log_softmax(-1)
            expected = -sum(float(logp[0, t - 1, ids[0, t]]) for t in range(start, ids.shape[1]))
            assert found[i, j] == pytest.approx(expected, rel=1e-5)


def test_the_full_stop_keeps_a_word_apart_from_a_longer_one():
    model = reciter(["Where? north-east."])
    nats = candidate_nats(model, ["Where?"], [[" north", " east", " north-east"]])
    assert chosen(nats).tolist() == [2]


def test_a_tie_is_no_choice():
    assert chosen(np.array([[1.0, 1.0], [2.0, 1.0], [0.5, 3.0]])).tolist() == [-1, 1, 0]
    model = PlantedModel(uniform(len(PlantedModel(uniform(1)).tokenizer)))
    assert chosen(candidate_nats(model, ["Where?"], [[" q", " r"]])).tolist() == [-1]


def test_unequal_numbers_of_candidates_are_refused():
    with pytest.raises(InvalidInput, match="all of one length"):
        candidate_nats(reciter(KNOWN), ["a", "b"], [[" x", " y"], [" z"]])


def test_rows_have_the_commonest_answer_or_the_rule_as_their_baseline(monkeypatch):
    asked = [ask("a", "x", group="g")] * 6 + [ask("b", "y", group="g")] * 2
    asked += [ask("c", "z", group="h", guess=" z", rule="always z"), ask("d", "w", group="h", guess=" z", rule="r")]
    right = {"model": [1, 1, 1, 0, 0, 1, 1, 1, 1, 0], "twin": [1] + [0] * 9}
    monkeypatch.setattr(answers, "answered", lambda model, _: np.array(right[model], dtype=bool))
    first, second = question_rows("model", "twin", asked)
    assert (first["measure"], first["group"], first["value"], first["n"]) == ("k", "g", 6 / 8, 8)
    assert (first["random_weights"], first["baseline"], first["baseline_name"]) == (1 / 8, 6 / 8, answers.COMMONEST)
    assert (second["value"], second["baseline"], second["baseline_name"], second["n"]) == (0.5, 0.5, "always z", 2)


def test_questions_of_one_unit_do_not_count_as_independent(monkeypatch):
    def rows(unit):
        asked = [ask(f"{i}", "x", unit=unit(i)) for i in range(100)]
        monkeypatch.setattr(answers, "answered", lambda *_: np.arange(100) % 10 < 5)
        return question_rows(None, None, asked)[0]

    alone, together = rows(lambda i: ""), rows(lambda i: f"{i % 10}")
    assert alone["value"] == together["value"] == 0.5
    assert together["ci_high"] - together["ci_low"] > 2 * (alone["ci_high"] - alone["ci_low"])


def test_tokens_of_a_name_are_counted_as_it_stands_in_a_text():
    model, corpus = reciter(KNOWN), small_corpus()
    found = name_tokens(model, corpus)
    for name, n in list(zip(corpus.geography.names, found, strict=True))[:40]:
        whole, without = encode(model, [f"in {name}", "in"]).lengths
        assert whole - without == n
