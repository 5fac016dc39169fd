"""What the bundled model can do, each figure beside its control.

`python -m interp.atlas.write_card` measures and writes interp/assets/atlas/card.json and README.md.

Answers are judged by greedy decoding: every token of the true answer must be the most likely one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp.atlas.data import N_SPECIAL
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


def token_losses(model: Model, rows: np.ndarray, batch: int = 64) -> np.ndarray:
    """Return next-token losses in nats, float64 [rows, pos - 1], of packed ids [rows, pos]."""
    import torch

    out = []
    for at in range(0, len(rows), batch):
        ids = torch.from_numpy(rows[at : at + batch].astype(np.int64))
        with torch.inference_mode():
            logp = model.logits(ids)[:, :-1].double().log_softmax(-1)
        out.append(-logp.gather(-1, ids[:, 1:, None])[..., 0].numpy())
    return np.concatenate(out)


def repeat_rows(period: int, n: int, n_ctx: int, vocab: int, seed: int) -> np.ndarray:
    """Return int64 [n, n_ctx]: BOS and then a random sequence of `period` tokens over and over."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, period]))
    cycles = rng.integers(N_SPECIAL, vocab, size=(n, period))
    body = np.tile(cycles, (1, -(-n_ctx // period)))[:, : n_ctx - 1]
    return np.column_stack([np.zeros(n, dtype=np.int64), body])


def mean_row(
    measure: str, values: np.ndarray, random: np.ndarray, *, unit: str, chance: float = np.nan
) -> dict[str, Any]:
    """Return a row of the card for a mean over independent rows, with its normal 95 % interval."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return {
        "measure": measure, "value": values.mean(), "ci_low": values.mean() - half, "ci_high": values.mean() + half,
        "n": len(values), "unit": unit, "majority_answer": np.nan, "random_weights": random.mean(), "chance": chance,
    }  # fmt: skip


def losses(model: Model, texts: Mapping[str, np.ndarray], random_model: Model, *, seed: int = 0) -> pd.DataFrame:
    """Return the loss on packed texts (name -> ids [rows, pos]) and on random repeats, in nats a token."""
    log_vocab = float(np.log(model.d_vocab))
    rows = [
        mean_row(
            f"loss on {name}", token_losses(model, ids).mean(1), token_losses(random_model, ids).mean(1),
            unit="nats a token; mean over rows", chance=log_vocab,
        )
        for name, ids in texts.items()
    ]  # fmt: skip
    for period in (7, 20, 33, 50):
        ids = repeat_rows(period, 64, model.n_ctx, model.d_vocab, seed)
        for name, part in (("first period", slice(0, period)), ("after it", slice(period, None))):
            rows.append(
                mean_row(
                    f"loss on random repeats, period {period}, {name}", token_losses(model, ids)[:, part].mean(1),
                    token_losses(random_model, ids)[:, part].mean(1), unit="nats a token; mean over rows",
                    chance=log_vocab,
                )
            )  # fmt: skip
    return pd.DataFrame(rows)


def induction_scores(model: Model, *, period: int = 20, n: int = 32, seed: int = 0) -> np.ndarray:
    """Return float64 [layer, head]: mean attention from a token to the one after its last occurrence."""
    import torch

    from interp.hooks import attached
    from interp.models import hook_point

    ids = torch.from_numpy(repeat_rows(period, n, 3 * period + 1, model.d_vocab, seed))
    seen: dict[int, np.ndarray] = {}

    def keep(layer: int) -> Callable[[Any], None]:
        def hook(pattern: Any) -> None:
            at = torch.arange(period + 1, ids.shape[1])
            seen[layer] = pattern[:, :, at, at - period + 1].double().mean(dim=(0, 2)).numpy()

        return hook

    hooks = [(hook_point(model, f"pattern.{layer}"), keep(layer)) for layer in range(model.n_layers)]
    with torch.inference_mode(), attached(hooks):
        model.run(ids, torch.ones_like(ids))
    return np.stack([seen[layer] for layer in range(model.n_layers)])


def head_rows(model: Model, random_model: Model) -> pd.DataFrame:
    """Return the three heads with the highest induction score, beside the highest of random weights."""
    scores, control = induction_scores(model), induction_scores(random_model).max()
    best = sorted(np.ndindex(*scores.shape), key=lambda at: -scores[at])[:3]
    return pd.DataFrame(
        {
            "measure": f"induction score of head {layer}.{head}", "value": scores[layer, head], "n": 32,
            "unit": "attention, period 20", "random_weights": control,
        }
        for layer, head in best
    )  # fmt: skip


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


def measure(model: Model, random_model: Model, facts: Facts, texts: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return every figure of the card, one row each, beside its controls."""
    templates = ("{name}", "{name} is a city in", "Question: Which country is {name} in? Answer:")
    return pd.concat(
        [
            losses(model, texts, random_model),
            head_rows(model, random_model),
            accuracies(model, facts, random_model),
            probe_rows(model, random_model, facts, templates),
        ],
        ignore_index=True,
    )
