"""Attention heads by what they look at, on random repeats; and the loss before and after a repeat begins.

A row is BOS and then one random sequence of different tokens over and over, so that the last occurrence of a token is
exactly one period back. Each score is the mean attention weight of a head from a token t to one place:

    previous token  t - 1               over the first period, where nothing can be copied
    duplicate token t - period          after it
    induction       t - period + 1      after it: the token that came next the last time

Reference: Elhage et al. (2021), Olsson et al. (2022), in which the scores are defined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp.atlas.measure.forward import token_nats
from interp.atlas.measure.ngrams import BOS_ID
from interp.atlas.measure.rows import bootstrap_interval, mean_row
from interp.errors import InvalidInput

if TYPE_CHECKING:
    import torch

    from interp.models import Model

SCORES = ("previous token", "duplicate token", "induction")
N_SPECIAL = 2
SHORTEST_PERIOD = 4
"""Training draws periods from this one to below half the context."""
_BATCH = 16


def repeat_rows(period: int, n: int, *, length: int, d_vocab: int, seed: int) -> np.ndarray:
    """Return int64 [n, length]: BOS and then `period` different random tokens over and over.

    Raises:
        InvalidInput: fewer than `period` tokens that are not special, or a `length` that no repeat fits into.
    """
    if not 0 < period <= d_vocab - N_SPECIAL or length < period + 3:
        raise InvalidInput(
            f"a row of {length} tokens out of {d_vocab} has no repeats of period {period}; the period is at least 1 "
            f"and at most {min(d_vocab - N_SPECIAL, length - 3)}."
        )
    rng = np.random.default_rng(np.random.SeedSequence([seed, period]))
    cycles = np.stack([rng.choice(d_vocab - N_SPECIAL, size=period, replace=False) for _ in range(n)]) + N_SPECIAL
    body = np.tile(cycles, (1, -(-length // period)))[:, : length - 1]
    return np.column_stack([np.full(n, BOS_ID), body])


def pattern_scores(pattern: np.ndarray, period: int) -> np.ndarray:
    """Return the scores of `SCORES`, float64 [3, row, head], of attention [row, head, query_pos, key_pos]."""
    pos = pattern.shape[-1]
    first, after = np.arange(2, period + 1), np.arange(period + 1, pos)
    places = ((first, first - 1), (after, after - period), (after, after - period + 1))
    return np.stack([pattern[:, :, t, key].astype(np.float64).mean(axis=-1) for t, key in places])


def head_scores(model: Model, *, period: int, n: int, seed: int) -> np.ndarray:
    """Return the scores of every head on `n` rows of random repeats, float64 [3, row, layer, head].

    Rows hold three periods, or as much as the context of the model takes.

    Raises:
        InvalidInput: the context is too short for a second period.
    """
    import torch

    from interp.hooks import attached
    from interp.models import hook_point

    length = min(model.n_ctx, 3 * period + 1)
    rows = repeat_rows(period, n, length=length, d_vocab=model.d_vocab, seed=seed)
    out = np.full((len(SCORES), n, model.n_layers, model.n_heads), np.nan)
    for at in range(0, n, _BATCH):
        part = slice(at, at + _BATCH)

        def keep(layer: int, part: slice = part) -> Callable[[torch.Tensor], None]:
            def hook(pattern: torch.Tensor) -> None:
                out[:, part, layer] = pattern_scores(pattern.double().cpu().numpy(), period)

            return hook

        ids = torch.from_numpy(rows[part]).to(model.device)
        hooks = [(hook_point(model, f"pattern.{layer}"), keep(layer)) for layer in range(model.n_layers)]
        with torch.inference_mode(), attached(hooks):
            model.run(ids, torch.ones_like(ids))
    return out


def head_table(scores: np.ndarray, twin: np.ndarray, *, seed: int) -> pd.DataFrame:
    """Return one row a score and head from float [3, row, layer, head] of the model and of its twin.

    Columns: score, layer, head, value, ci_low, ci_high (percentile bootstrap over rows), n, random_weights (the
    same head of the twin) and largest_random (the largest of any head of the twin).
    """
    out = []
    for (s, name), layer, head in _each(scores):
        values = scores[s, :, layer, head]
        low, high = bootstrap_interval(
            values, np.ones(len(values)), seed=seed, name=f"{name} {layer}.{head}", n_boot=1000
        )
        controls = twin[s].mean(axis=0)
        out.append(
            {
                "score": name, "layer": layer, "head": head, "value": values.mean(), "ci_low": low, "ci_high": high,
                "n": len(values), "random_weights": controls[layer, head], "largest_random": controls.max(),
            }
        )  # fmt: skip
    return pd.DataFrame(out)


def head_rows(scores: np.ndarray, twin: np.ndarray, *, period: int, seed: int, top: int = 3) -> list[dict[str, Any]]:
    """Return the rows of the card: the `top` heads of each score beside the largest score of any head of the twin.

    The heads are chosen by the first half of the rows and measured on the other half, so that being the largest of
    many adds nothing to the figure.
    """
    half = scores.shape[1] // 2
    out = []
    for s, name in enumerate(SCORES):
        chosen, measured = scores[s, :half].mean(axis=0), scores[s, half:]
        control = float(twin[s].mean(axis=0).max())
        best = sorted(np.ndindex(*chosen.shape), key=lambda at, chosen=chosen: (-chosen[at], at))[:top]
        for layer, head in best:
            out.append(
                mean_row(
                    f"{name} score", measured[:, layer, head], seed=seed, group=f"head {layer}.{head}",
                    unit=f"attention; random repeats of period {period}", random=control, baseline=control,
                    baseline_name="largest of any head of random weights",
                )
            )  # fmt: skip
    return out


def repeat_loss_rows(model: Model, twin: Model, periods: Sequence[int], *, n: int, seed: int) -> list[dict[str, Any]]:
    """Return the loss on `n` rows of random repeats of each period: in the first period, and after it.

    After it: tokens whose predecessor has occurred before. The first repeated token is in neither, because nothing
    says that the repeat begins there. In the first period nothing can do better than log of the tokens not yet used.
    """
    out = []
    for period in periods:
        rows = repeat_rows(period, n, length=model.n_ctx, d_vocab=model.d_vocab, seed=seed)
        real, control = token_nats(model, rows), token_nats(twin, rows)
        drawn = "in training" if SHORTEST_PERIOD <= period < model.n_ctx // 2 else "never in training"
        for name, part in (("first period", slice(0, period)), ("after it", slice(period + 1, None))):
            out.append(
                mean_row(
                    f"loss on random repeats, {name}", real[:, part].mean(axis=1), seed=seed,
                    group=f"period {period}, drawn {drawn}", unit="nats a token; mean over rows",
                    random=control[:, part].mean(axis=1), baseline=float(np.log(model.d_vocab)),
                    baseline_name="uniform",
                )
            )  # fmt: skip
    return out


def _each(scores: np.ndarray) -> list[tuple[tuple[int, str], int, int]]:
    _, _, n_layers, n_heads = scores.shape
    return [((s, name), *at) for s, name in enumerate(SCORES) for at in np.ndindex(n_layers, n_heads)]
