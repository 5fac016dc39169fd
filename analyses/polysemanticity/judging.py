"""Ask a judge about the examples of a unit. A judge is any function from prompts to answers, list[str] -> list[str].

Nothing here needs a language model: the intruder test has a judge of its own, `EmbeddingJudge`, that compares words.
What was asked and what was answered stays in the result.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from interp.errors import InvalidInput
from interp.result import Result
from interp.stats.corrections import benjamini_hochberg
from interp.stats.intervals import wilson_interval

Judge = Callable[[list[str]], list[str]]
INTRUDER = "Which of these texts does not belong with the others? Answer with its number.\n"
DETECTION = "Does the text fit the description? Answer yes or no.\n"
_LINE = re.compile(r"^(\d+): (.*)$", re.MULTILINE)
_WORD = re.compile(r"\w+|[^\w\s]")


class EmbeddingJudge:
    """Answers intruder prompts by likeness: the text whose mean cosine to the others is smallest.

    Args:
        corpus: texts that say how common a word is.
        embed: texts -> vectors [n, d]; default words weighted by how rare they are in the corpus (TF-IDF).
    """

    def __init__(self, corpus: Sequence[str], *, embed: Callable[[list[str]], np.ndarray] | None = None) -> None:
        self._n = len(corpus)
        self._seen = Counter(word for text in corpus for word in set(_words(text)))
        self._embed = embed or self._tf_idf

    def __call__(self, prompts: list[str]) -> list[str]:
        """Return an answer for each prompt.

        Raises:
            InvalidInput: a prompt that is no list of numbered texts.
        """
        return [self._answer(prompt) for prompt in prompts]

    def _answer(self, prompt: str) -> str:
        lines = _LINE.findall(prompt)
        if len(lines) < 3:
            raise InvalidInput("this judge answers intruder prompts alone: three numbered texts or more, '1: ...'.")
        vectors = np.asarray(self._embed([text for _, text in lines]), dtype=np.float64)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
        alike = unit @ unit.T
        np.fill_diagonal(alike, 0.0)
        return lines[int(alike.sum(axis=1).argmin())][0]

    def _tf_idf(self, texts: list[str]) -> np.ndarray:
        words = sorted({word for text in texts for word in _words(text)})
        counts = np.array([[_words(text).count(word) for word in words] for text in texts], dtype=np.float64)
        rarity = np.log((1 + self._n) / (1 + np.array([self._seen[word] for word in words], dtype=np.float64))) + 1
        return counts * rarity


def intruder_test(
    examples: Mapping[str, Sequence[str]],
    background: Sequence[str],
    *,
    judge: Judge | None = None,
    n_trials: int = 20,
    n_shown: int = 5,
    seed: int,
) -> Result:
    """Return how often a judge finds the one text that does not belong to a unit.

    Each trial shows `n_shown` - 1 texts on which the unit is on and one from the background, in random order. Chance
    is 1 / n_shown. A unit of several concepts scores lower than one of one: two texts of it need not be alike.

    Args:
        examples: unit -> texts on which it is on.
        background: texts on which it is not, the same for all units.
        judge: prompts -> answers; default `EmbeddingJudge(background)`.

    Returns:
        Result "polysemanticity.intruder": .table unit, accuracy, ci_low, ci_high (95 %, Wilson), null_mean (chance), p
        (binomial, one-sided; trials of a unit reuse its texts), q, n (trials answered), n_unreadable (answers without
        a number that was offered, counted as wrong), seed, status. .tables: asked (unit, prompt, answer, right).

    Raises:
        InvalidInput: no background, fewer than three texts shown, or a judge that leaves prompts without an answer.
    """
    if n_shown < 3 or not background:
        raise InvalidInput("an intruder test shows three texts or more, one of them from the background.")
    rng, asked = np.random.default_rng(seed), []
    for unit, texts in examples.items():
        for _ in range(n_trials if len(texts) >= n_shown - 1 else 0):
            shown = [texts[i] for i in rng.choice(len(texts), size=n_shown - 1, replace=False)]
            place = int(rng.integers(n_shown))
            shown.insert(place, background[int(rng.integers(len(background)))])
            lines = [f"{number}: {' '.join(str(text).split())}" for number, text in enumerate(shown, 1)]
            asked.append({"unit": unit, "prompt": INTRUDER + "\n".join(lines), "expected": str(place + 1)})
    answers = _answered(judge or EmbeddingJudge(background), [one["prompt"] for one in asked])
    table = pd.DataFrame(asked, columns=["unit", "prompt", "expected"]).assign(answer=answers)
    numbers = [re.search(r"\d+", answer) for answer in answers]
    read = [int(found[0]) if found else 0 for found in numbers]
    readable = [1 <= number <= n_shown for number in read]
    right = [str(number) == expected for number, expected in zip(read, table["expected"], strict=True)]
    table = table.assign(readable=readable, right=right)
    rows = [_intruder_row(unit, table[table["unit"] == unit], n_shown, seed) for unit in examples]
    scores = pd.DataFrame(rows)
    scores.insert(5, "q", benjamini_hochberg(scores["p"].to_numpy()))
    return Result("polysemanticity.intruder", scores, {"asked": table}, {"seed": seed})


def _intruder_row(unit: str, trials: Any, n_shown: int, seed: int) -> dict[str, object]:
    n, hits = len(trials), int(trials["right"].sum())
    low, high = wilson_interval(hits, n)
    p = float(stats.binom.sf(hits - 1, n, 1 / n_shown)) if n else np.nan
    return {
        "unit": unit, "accuracy": hits / n if n else np.nan, "ci_low": low, "ci_high": high, "p": p,
        "null_mean": 1 / n_shown, "n": n, "n_unreadable": int((~trials["readable"].astype(bool)).sum()), "seed": seed,
        "status": "ok" if n else f"fewer than {n_shown - 1} examples",
    }  # fmt: skip


def detection_score(
    descriptions: Mapping[str, str],
    examples: Mapping[str, Sequence[str]],
    background: Sequence[str],
    *,
    judge: Judge,
    n_each: int = 20,
    seed: int,
) -> Result:
    """Return how well a judge tells texts of a unit from others, given a description of the unit.

    Args:
        descriptions: unit -> what it is said to be on at.
        examples: unit -> texts on which it is on. background: texts on which it is not.
        n_each: of either, up to.

    Returns:
        Result "polysemanticity.detection": .table unit, balanced_accuracy, ci_low, ci_high (95 %, normal), null_mean
        (.5), sensitivity, specificity, n, n_unreadable (neither yes nor no, counted as wrong), seed, status. .tables:
        asked.

    Raises:
        InvalidInput: a unit without examples or description, or a judge that answers more or less than it is asked.
    """
    if missing := set(descriptions) ^ set(examples):
        raise InvalidInput(f"units {sorted(missing)[:3]} have a description or examples, not both.")
    rng, asked = np.random.default_rng(seed), []
    for unit, description in descriptions.items():
        for truth, texts in (("yes", examples[unit]), ("no", background)):
            for i in rng.permutation(len(texts))[:n_each]:
                prompt = f"{DETECTION}Description: {description}\nText: {' '.join(str(texts[i]).split())}"
                asked.append({"unit": unit, "prompt": prompt, "expected": truth})
    answers = _answered(judge, [one["prompt"] for one in asked])
    said = [(re.search(r"\b(yes|no)\b", answer.casefold()) or [""])[0] for answer in answers]
    table = pd.DataFrame(asked, columns=["unit", "prompt", "expected"]).assign(answer=answers, said=said)
    table = table.assign(right=table["said"] == table["expected"])
    rows = [_detection_row(unit, table[table["unit"] == unit], seed) for unit in descriptions]
    return Result("polysemanticity.detection", pd.DataFrame(rows), {"asked": table}, {"seed": seed})


def _detection_row(unit: str, trials: Any, seed: int) -> dict[str, object]:
    sides = [trials.loc[trials["expected"] == truth, "right"].to_numpy(dtype=float) for truth in ("yes", "no")]
    if min(len(side) for side in sides) == 0:
        rates, accuracy, half, status = [np.nan, np.nan], np.nan, np.nan, "no texts of one kind"
    else:
        rates = [float(side.mean()) for side in sides]
        accuracy, status = sum(rates) / 2, "ok"
        half = 1.96 * np.sqrt(sum(r * (1 - r) / len(side) for r, side in zip(rates, sides, strict=True))) / 2
    return {
        "unit": unit, "balanced_accuracy": accuracy, "ci_low": max(accuracy - half, 0.0),
        "ci_high": min(accuracy + half, 1.0), "null_mean": 0.5, "sensitivity": rates[0], "specificity": rates[1],
        "n": len(trials), "n_unreadable": int((trials["said"] == "").sum()), "seed": seed, "status": status,
    }  # fmt: skip


def _answered(judge: Judge, prompts: list[str]) -> list[str]:
    answers = list(judge(prompts))
    if len(answers) != len(prompts) or not all(isinstance(answer, str) for answer in answers):
        raise InvalidInput(f"the judge gave {len(answers)} answers to {len(prompts)} prompts; each needs one text.")
    return answers


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
