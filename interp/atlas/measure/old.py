"""What the bundled model can answer and where its geography is read, each figure beside its control.

Answers are judged by greedy decoding: every token of the true answer must be the most likely one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp.atlas.facts import Facts
from interp.tokens import tokenize

if TYPE_CHECKING:
    from interp.models import Model


@dataclass(frozen=True)
class Question:
    """A prompt, its true answer (with the leading space) and the kind it counts under."""

    kind: str
    prompt: str
    answer: str


def questions(facts: Facts) -> list[Question]:
    """Return every question of the card: countries of cities by group, successors by class, word pairs."""
    out = []
    cities: Any = facts.cities
    for row in cities.itertuples():
        group = "never mentioned" if not row.seen else "one token" if row.n_tokens == 1 else "several tokens"
        country = facts.countries[row.country]["name"] if row.country in facts.countries else None
        if country is not None:
            out.append(
                Question(
                    f"country of a city, {group}", f"Question: Which country is {row.name} in? Answer:", f" {country}"
                )
            )
    out += successor_questions(facts)
    asked = {"plural": "plural of", "past tense": "past tense of", "opposite": "opposite of"}
    for skill, table in facts.pairs.items():
        for word, answer in table.items():
            if skill in asked:
                out.append(Question(skill, f"Question: What is the {asked[skill]} {word}? Answer:", f" {answer}"))
            else:
                language = skill.split()[-1]
                out.append(Question(skill, f"Question: What is {word} in {language}? Answer:", f" {answer}"))
    return out


def successor_questions(facts: Facts) -> list[Question]:
    """Return one question a member of an ordinal class that has a successor.

    A word of two classes (I is a letter and a numeral) has two right answers and is left out.
    """
    following: dict[str, dict[str, str]] = {}
    for name, (members, cyclic) in facts.ordinals.items():
        for word, answer in zip(members, members[1:] + members[:1] if cyclic else members[1:], strict=False):
            following.setdefault(word, {})[name] = answer
    return [
        Question(f"successor, {name}", f"Question: What comes after {word}? Answer:", f" {answer}")
        for name in facts.ordinals
        for word, answers in following.items()
        for where, answer in answers.items()
        if where == name and len(answers) == 1
    ]


def answered(model: Model, asked: list[Question], batch: int = 256) -> np.ndarray:
    """Return bool [n]: whether greedy decoding gives the answer to each question."""
    import torch

    out = []
    for at in range(0, len(asked), batch):
        part = asked[at : at + batch]
        spans = [(len(q.prompt), len(q.prompt) + len(q.answer)) for q in part]
        tokens = tokenize(model, [q.prompt + q.answer for q in part], spans=spans)
        assert tokens.span_mask is not None
        with torch.inference_mode():
            logits = model.logits(torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask.astype(np.int64)))
            best = logits[:, :-1].argmax(-1).numpy()
        wrong = tokens.span_mask[:, 1:] & (best != tokens.ids[:, 1:])
        out.append(~wrong.any(axis=1))
    return np.concatenate(out)


def accuracies(model: Model, facts: Facts, random_model: Model) -> pd.DataFrame:
    """Return one row a kind: accuracy, Wilson 95 % interval, n, and the same of random weights and of the
    most frequent answer of the kind."""
    from statsmodels.stats.proportion import proportion_confint

    asked = questions(facts)
    table = pd.DataFrame({"kind": [q.kind for q in asked], "answer": [q.answer for q in asked]})
    table["right"], table["random"] = answered(model, asked), answered(random_model, asked)
    rows = []
    for kind, part in table.groupby("kind", sort=False):
        n, k = len(part), int(part["right"].to_numpy().sum())
        low, high = proportion_confint(k, n, method="wilson")
        rows.append(
            {
                "measure": kind, "value": k / n, "ci_low": low, "ci_high": high, "n": n, "unit": "share right",
                "majority_answer": part["answer"].value_counts(normalize=True).iloc[0],
                "random_weights": part["random"].mean(), "chance": np.nan,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def probe_rows(
    model: Model, random_model: Model, facts: Facts, templates: Iterable[str], *, seed: int = 0
) -> pd.DataFrame:
    """Return R² of ridge probes for latitude and longitude of seen cities by layer and prompt.

    Ten random folds of cities, ridge strength by generalised cross-validation inside the training folds, last
    token of the prompt; the control is the same probe on the random-weights twin.
    """
    from interp.capturing import capture

    cities: Any = facts.cities[facts.cities["seen"]]
    target = cities[["lat", "lon"]].to_numpy()
    sites = [f"resid_post.{layer}" for layer in range(model.n_layers)]
    rows = []
    for template in templates:
        texts = [template.format(name=name) for name in cities["name"]]
        pool = "mean" if template == "{name}" else "last"
        real, control = (capture(m, texts, sites, pool=pool) for m in (model, random_model))
        for site in sites:
            for axis, r2, null in zip(
                ("latitude", "longitude"), _r2(real[site], target, seed), _r2(control[site], target, seed), strict=True
            ):
                rows.append(
                    {
                        "measure": f"R² of {axis} at {site}, {pool} token of '{template}'", "value": r2,
                        "n": len(texts), "unit": "R², 10 random folds", "random_weights": null, "chance": 0.0,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def _r2(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-1, 5, 13)))
    guess = cross_val_predict(probe, x, y, cv=KFold(10, shuffle=True, random_state=seed))
    return 1 - ((y - guess) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)
