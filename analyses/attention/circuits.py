"""Which heads and latents carry the indirect object? Noising and denoising, each beside random latents as active."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.attention.attributions import attention_layer, on_device
from analyses.attention.patching import Exchange, latent_activity, latent_estimates
from analyses.attention.prompt_pairs import PromptPair, encode_pairs, indirect_object_pairs
from analyses.attention.reading import read_attention
from analyses.attention.token_rows import TokenRows
from interp.errors import InvalidInput
from interp.provenance import provenance
from interp.result import Result
from interp.store import make_key

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

CODE_VERSION = "1"
COUNTS = (1, 4, 16, 32, 64, 128)
NOTES = (
    "kept = (LD - LD_corrupt) / (LD_clean - LD_corrupt); LD: logit of the answer less that of the other name.",
    "Noising puts what a part is in the corrupted run into the clean one; denoising the other way round.",
    "Latents are exchanged with the part of z that the SAE does not explain left alone.",
)


def circuit_study(
    model: Model,
    saes: Mapping[int, SAE] | None = None,
    *,
    seed: int,
    pairs: Sequence[PromptPair] | None = None,
    n_pairs: int = 48,
    counts: Sequence[int] = COUNTS,
    n_single: int = 16,
    n_random: int = 3,
    n_boot: int = 500,
    allow_mismatch: bool = False,
) -> Result:
    """Return what of a logit difference is kept when heads, or latents of SAEs on z, are exchanged between two runs.

    Args:
        saes: layer -> SAE on z of that layer; None: heads alone.
        pairs: default the indirect object of the bundled model.
        counts: numbers of latents, the largest estimates first (over all layers), that are exchanged together.
        n_single: latents that are also exchanged alone. n_random: draws of as many latents, each of about the same
            mean activation on these prompts as the one that it stands for.

    Returns:
        Result "attention.circuit": `.table` one row a head (layer, head, noised and denoised: share kept when it alone
        is exchanged, with intervals over pairs; attention from the last token to the first place that differs).
        `.tables`: `summary` (logit differences), and with SAEs `latents` (those exchanged alone, with their estimate)
        and `curve` (n_latents, which: "largest" or "random", noised and denoised).

    Raises:
        InvalidInput: too few pairs that fit, or the corruption does not lower the logit difference.
    """
    given = indirect_object_pairs(n_pairs, seed=seed) if pairs is None else list(pairs)
    encoded, left_out = encode_pairs(model, given)
    for layer, sae in (saes or {}).items():
        if attention_layer(model, sae, allow_mismatch=allow_mismatch) != layer:
            raise InvalidInput(f"the SAE given for layer {layer} reads {sae.config.site}.")
    saes = {layer: on_device(sae, model) for layer, sae in (saes or {}).items()}
    exchange = Exchange(model, encoded)
    scale = _Scale(exchange, seed, n_boot)
    tables = {"summary": scale.summary(left_out)}
    if saes:
        tables["latents"], tables["curve"] = _latent_tables(exchange, saes, scale, counts, n_single, n_random, seed)
    choices = {
        "n_pairs": len(encoded),
        "seed": seed,
        "counts": list(counts),
        "n_single": n_single,
        "n_random": n_random,
    }
    key = make_key(choices, {"model": model.fingerprint}, code_version=CODE_VERSION)
    about = provenance(key, seed=seed, model=model.name, n_pairs=len(encoded), n_left_out=left_out)
    table, view = _head_table(model, exchange, scale), "analyses.attention.view:plot"
    return Result("attention.circuit", table, tables, about, view, NOTES)


class _Scale:
    """Turns logit differences into shares kept, with intervals over pairs."""

    def __init__(self, exchange: Exchange, seed: int, n_boot: int) -> None:
        self.clean, self.corrupt = exchange.clean.difference, exchange.corrupt.difference
        self.n, self.seed = len(self.clean), seed
        if not self.clean.mean() - self.corrupt.mean() > 0.1:
            raise InvalidInput(
                f"the mean logit difference is {self.clean.mean():.3g} clean and {self.corrupt.mean():.3g} corrupted: "
                "the model does not do this task, or the corruption does not touch it."
            )
        rng = np.random.default_rng(seed)
        self.weights = rng.multinomial(self.n, np.full(self.n, 1 / self.n), size=n_boot) / self.n

    def kept(self, difference: np.ndarray, name: str) -> dict[str, float]:
        """Return the share kept of the mean difference [pair] as a value with an interval."""
        whole = self.clean.mean() - self.corrupt.mean()
        drawn = (self.weights @ (difference - self.corrupt)) / (self.weights @ (self.clean - self.corrupt))
        low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (np.nan, np.nan)
        value = float((difference.mean() - self.corrupt.mean()) / whole)
        return {name: value, f"{name}_low": low, f"{name}_high": high}

    def summary(self, left_out: int) -> pd.DataFrame:
        """Return the mean logit differences, and the share of pairs with the right answer first."""
        rows = []
        for run, values in (("clean", self.clean), ("corrupt", self.corrupt)):
            drawn = self.weights @ values
            low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (np.nan, np.nan)
            right = (values > 0).mean() if run == "clean" else (values < 0).mean()
            rows.append({"run": run, "difference": values.mean(), "ci_low": low, "ci_high": high, "right": right,
                         "n": self.n, "n_left_out": left_out, "seed": self.seed, "status": "ok"})  # fmt: skip
        return pd.DataFrame(rows)


def _both(exchange: Exchange, scale: _Scale, run: Any) -> dict[str, float]:
    """Return noised and denoised shares of `run`(into, source)."""
    noised, denoised = run(exchange.clean, exchange.corrupt), run(exchange.corrupt, exchange.clean)
    return scale.kept(noised, "noised") | scale.kept(denoised, "denoised")


def _head_table(model: Model, exchange: Exchange, scale: _Scale) -> pd.DataFrame:
    looks = _attention_to_change(model, exchange)
    rows = []
    for layer, head in np.ndindex(model.n_layers, model.n_heads):
        found = _both(exchange, scale, lambda a, b, at=(layer, head): exchange.heads(a, b, *at))
        rows.append({"layer": layer, "head": head, **found, "attention_to_change": looks[layer, head]})
    return pd.DataFrame(rows).assign(n=scale.n, seed=scale.seed, status="ok")


def _attention_to_change(model: Model, exchange: Exchange) -> np.ndarray:
    """Return the mean attention from the last token to the first that differs, [layer, head], on clean prompts."""
    pairs = exchange.pairs
    rows = TokenRows(pairs.clean, pairs.mask, ~pairs.mask, np.zeros_like(pairs.clean))
    found = read_attention(model, rows, list(range(model.n_layers)))
    at = np.arange(len(pairs))
    return np.stack([a.pattern.cpu().numpy()[at, :, pairs.last, pairs.changed].mean(axis=0) for a in found.values()])


def _latent_tables(
    exchange: Exchange, saes: Mapping[int, SAE], scale: _Scale, counts: Sequence[int], n_single: int, n_random: int,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    estimates = latent_estimates(exchange, saes)
    names = np.concatenate([np.stack([np.full(len(e), layer), np.arange(len(e))], 1) for layer, e in estimates.items()])
    value = np.concatenate(list(estimates.values()))
    order = np.argsort(-value, kind="stable")
    activity = np.concatenate(list(latent_activity(exchange, saes).values()))
    singles = []
    for i in order[:n_single]:
        chosen = _by_layer(names[[i]])
        found = _both(exchange, scale, lambda a, b, chosen=chosen: exchange.latents(a, b, saes, chosen))
        singles.append({"layer": names[i, 0], "latent": names[i, 1], "estimate": value[i], **found})
    rng = np.random.default_rng(seed)
    rows = []
    for count in [c for c in counts if c <= len(order)]:
        draws = [("largest", order[:count])]
        draws += [("random", matched(order[:count], activity, rng)) for _ in range(n_random)]
        for which, drawn in draws:
            chosen = _by_layer(names[drawn])
            found = _both(exchange, scale, lambda a, b, chosen=chosen: exchange.latents(a, b, saes, chosen))
            rows.append({"n_latents": count, "which": which, **found})
    about = {"n": scale.n, "seed": seed, "status": "ok"}
    return pd.DataFrame(singles).assign(**about), pd.DataFrame(rows).assign(**about)


def matched(chosen: np.ndarray, activity: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return as many other units, each drawn from the ten left that are nearest in activity to the one it replaces."""
    free = np.ones(len(activity), dtype=bool)
    free[chosen] = False
    out = []
    for i in chosen:
        pool = np.flatnonzero(free)
        near = pool[np.argsort(np.abs(activity[pool] - activity[i]), kind="stable")[:10]]
        if len(near) == 0:
            break
        out.append(int(rng.choice(near)))
        free[out[-1]] = False
    return np.array(out, dtype=np.int64)


def _by_layer(names: np.ndarray) -> dict[int, np.ndarray]:
    return {int(layer): names[names[:, 0] == layer, 1] for layer in np.unique(names[:, 0])}
