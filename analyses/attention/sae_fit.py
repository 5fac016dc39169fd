"""Does the SAE explain the attention of this very model? Asked before anything is read off its latents.

A z-SAE runs on any model of the same width. Folding the value biases into the output bias, as many loaders do by
default, moves z by a constant and makes the same SAE useless without an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from analyses.attention.token_rows import TokenRows, token_rows
from interp.errors import SaeMismatch
from interp.reading import read_sites
from interp.sites import Site

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

MIN_EXPLAINED = 0.3
"""Explained variance below which an SAE does not fit: a mean alone explains 0."""
_QUICK_ROWS = 32


def check_sae_fit(
    model: Model,
    sae: SAE,
    rows: Sequence[Any] | TokenRows,
    *,
    seed: int,
    n_boot: int = 200,
    max_rows: int = 128,
    bos: str | None = None,
    allow_mismatch: bool = False,
) -> pd.DataFrame:
    """Return whether an SAE on z fits the model it is used on, from `evaluate_sae` and `loss_recovered`.

    Returns:
        One row a metric: metric, value, ci_low, ci_high, null (a random SAE, or the mean), n, seed, status. Metrics:
        explained_variance, l0, dead_share, slope (shrinkage), norm_ratio, loss_clean, loss_spliced, loss_zero and
        loss_mean (nats a token), recovered_vs_zero, recovered_vs_mean, and b_V_shift (length of the value biases of
        the layer against the mean length of z). `.attrs["warnings"]` says in words what is wrong; empty: nothing.

    Raises:
        SaeMismatch: widths, heads, site or fingerprint differ (see `interp.sae.check_fit`).
    """
    from interp.sae import check_fit, evaluate_sae, loss_recovered

    fit = check_fit(model, sae, allow_mismatch=allow_mismatch)
    given = token_rows(model, rows, bos=bos)
    given = given.part(np.arange(min(max_rows, len(given))))
    acts, text = _activations(model, given, fit.site)
    quality: Any = evaluate_sae(sae, acts, seed=seed, n_boot=n_boot, text_index=text)
    packed = [row[mask] for row, mask in zip(given.ids, given.mask, strict=True)]
    losses = loss_recovered(model, sae, packed, seed=seed, n_boot=n_boot, allow_mismatch=allow_mismatch)
    kept = ["explained_variance", "l0", "dead_share", "slope", "norm_ratio"]
    quality = quality[quality["metric"].isin(kept)].rename(columns={"null_random_sae": "null"})
    columns = ["metric", "value", "ci_low", "ci_high", "null", "n", "seed", "status"]
    shift = {"metric": "b_V_shift", "value": value_bias_shift(model, fit.site, acts), "n": len(acts), "seed": seed,
             "status": "ok"}  # fmt: skip
    parts = [quality.reindex(columns=columns), losses.reindex(columns=columns), pd.DataFrame([shift])]
    table = pd.concat(parts, ignore_index=True).loc[:, columns]
    table.attrs["warnings"] = _warnings(table.set_index("metric")["value"].to_dict(), sae, fit.mismatches)
    return table


def explained_variance(sae: SAE, acts: np.ndarray) -> float:
    """Return 1 - |x - x_hat|^2 / |x - mean|^2 over rows [n, d]."""
    x = torch.from_numpy(acts)
    left = (x - sae(x).cpu()).double().square().sum()
    return 1.0 - float(left / (x - x.mean(dim=0)).double().square().sum())


def require_fit(model: Model, sae: SAE, rows: TokenRows, *, allow_mismatch: bool = False) -> float:
    """Return the explained variance on a few rows. Raises SaeMismatch where it is below `MIN_EXPLAINED`."""
    from interp.sae import check_fit

    fit = check_fit(model, sae, allow_mismatch=allow_mismatch)
    acts, _ = _activations(model, rows.part(np.arange(min(_QUICK_ROWS, len(rows)))), fit.site)
    found = explained_variance(sae, acts)
    if not found >= MIN_EXPLAINED:
        shift = value_bias_shift(model, fit.site, acts)
        hint = f" {_folding(shift)}" if shift > 0.1 else ""
        raise SaeMismatch(
            f"the SAE explains {found:.3g} of the variance of {fit.site} of {model.name} on these rows, and at least "
            f"{MIN_EXPLAINED} is needed (the mean alone explains 0), so its latents say little about this model.{hint} "
            "See check_sae_fit for the whole picture, or pass allow_unfit=True."
        )
    return found


def value_bias_shift(model: Model, site: str, acts: np.ndarray) -> float:
    """Return |b_V| over the mean |z|: how far folding the value biases would move z. 0 where there are none."""
    layer = Site.parse(site).layer
    bias = getattr(model.bridge.blocks[layer].attn, "b_V", None)
    if bias is None:
        return 0.0
    groups = model.n_heads // max(1, model.n_kv_heads)
    length = float(bias.detach().float().square().sum() * groups) ** 0.5
    return length / max(float(np.linalg.norm(acts, axis=1).mean()), 1e-30)


def _folding(shift: float) -> str:
    return (
        f"This model keeps its value biases (|b_V| is {shift:.2g} of |z|); an SAE trained where they were folded into "
        "the output bias (fold_value_biases) saw z without them."
    )


def _warnings(value: dict[str, float], sae: SAE, mismatches: tuple[str, ...]) -> list[str]:
    out = list(mismatches)
    if not value["explained_variance"] >= MIN_EXPLAINED:
        out.append(f"explained variance {value['explained_variance']:.3g} is below {MIN_EXPLAINED}: it does not fit.")
        if value["b_V_shift"] > 0.1:
            out.append(_folding(value["b_V_shift"]))
        if not 0.5 <= value["norm_ratio"] <= 2:
            out.append(f"reconstructions are {value['norm_ratio']:.3g} times as long as z: is its input scale folded?")
    if value["loss_spliced"] > value["loss_mean"]:
        out.append(f"the loss with the SAE ({value['loss_spliced']:.4g} nats) is above that with the mean alone.")
    damage = value["loss_zero"] - value["loss_clean"]
    if damage < 0.05:
        out.append(f"zeroing the layer costs {damage:.3g} nats only: shares of loss recovered say little here.")
    if sae.config.k and value["l0"] > sae.config.k:
        out.append(f"{value['l0']:.3g} latents are on and k is {sae.config.k}: the wrong activation function?")
    return out


def _activations(model: Model, rows: TokenRows, site: str) -> tuple[np.ndarray, np.ndarray]:
    """Return z of the content tokens, float32 [n, d], and the row of each."""
    out, text = [], []
    for start in range(0, len(rows), 32):
        at = np.arange(start, min(start + 32, len(rows)))
        part, held = rows.part(at), []
        ids, mask = (torch.from_numpy(x).to(model.device) for x in (part.ids, part.mask))
        read_sites(model, ids, mask.long(), {Site.parse(site): held.append})
        out.append(held[0][torch.from_numpy(part.content).to(model.device)].float().cpu().numpy())
        text.append(np.repeat(at, part.content.sum(axis=1)))
    return np.concatenate(out), np.concatenate(text)
