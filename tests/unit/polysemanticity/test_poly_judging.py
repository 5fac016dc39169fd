"""Judges: the offline one, and any function; what was asked is kept."""

import numpy as np
import pytest

from analyses.polysemanticity.judging import EmbeddingJudge, detection_score, intruder_test
from interp.errors import InvalidInput


@pytest.fixture
def texts():
    rng = np.random.default_rng(0)
    words = [[f"w{t}x{i}" for i in range(6)] for t in range(12)]

    def about(topic, n):
        return [" ".join([*rng.choice(words[topic], 4), *rng.choice(["the", "of", "a"], 3)]) for _ in range(n)]

    return {"one": about(0, 20), "mixed": [*about(1, 7), *about(2, 7), *about(3, 6)]}, [
        text for topic in range(4, 12) for text in about(topic, 10)
    ]


def test_the_offline_judge_finds_the_intruder_of_a_unit_of_one_concept(texts):
    result = intruder_test(*texts, n_trials=60, seed=0)
    one, mixed = result.table.to_dict("records")
    assert one["accuracy"] > 0.9
    assert one["p"] < 1e-6
    assert mixed["accuracy"] < 0.7
    assert one["null_mean"] == 0.2
    asked = result.tables["asked"]
    assert len(asked) == 120
    assert asked["prompt"].iloc[0].count("\n") == 5
    assert asked["right"].sum() == round(60 * (one["accuracy"] + mixed["accuracy"]))


def test_units_like_any_text_are_at_chance(texts):
    rng = np.random.default_rng(1)
    background = texts[1]
    units = {f"u{i}": [background[j] for j in rng.permutation(len(background))[:30]] for i in range(10)}
    table = intruder_test(units, background, n_trials=30, seed=0).table
    assert table["accuracy"].mean() == pytest.approx(0.2, abs=0.08)
    assert (table["q"] > 0.01).all()


def test_any_function_may_judge_and_bad_answers_are_counted(texts):
    result = intruder_test(*texts, judge=lambda prompts: ["I cannot say"] * len(prompts), n_trials=5, seed=0)
    assert result.table["n_unreadable"].tolist() == [5, 5]
    assert result.table["accuracy"].tolist() == [0, 0]
    with pytest.raises(InvalidInput, match="1 answers to 10"):
        intruder_test(*texts, judge=lambda prompts: ["1"], n_trials=5, seed=0)
    with pytest.raises(InvalidInput, match="numbered"):
        EmbeddingJudge(["a"])(["What is this?"])


def test_units_with_too_few_examples_have_a_status(texts):
    table = intruder_test({"few": ["a", "b"]}, texts[1], seed=0).table
    assert table["status"][0] == "fewer than 4 examples"
    assert np.isnan(table["p"][0])


def test_detection_is_balanced(texts):
    examples, background = texts
    told = {"one": "w0", "mixed": "w1"}

    def judge(prompts):
        said = []
        for prompt in prompts:
            description, text = prompt.split("Description: ")[1].split("\nText: ")
            said.append("Yes." if description + "x" in text else "no")
        return said

    one, mixed = detection_score(told, examples, background, judge=judge, seed=0).table.to_dict("records")
    assert one["balanced_accuracy"] == 1.0
    assert mixed["specificity"] == 1.0
    assert mixed["balanced_accuracy"] == pytest.approx((1 + mixed["sensitivity"]) / 2)
    assert 0.2 < mixed["sensitivity"] < 0.6
    always = detection_score(told, examples, background, judge=lambda p: ["yes"] * len(p), seed=0).table
    assert always["balanced_accuracy"].tolist() == [0.5, 0.5]
    with pytest.raises(InvalidInput):
        detection_score({"one": "a"}, examples, background, judge=judge, seed=0)
