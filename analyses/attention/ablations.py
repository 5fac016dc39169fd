"""Do the ways to say which head a latent belongs to agree? Weights, attribution and three ablations in one table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata

from analyses.attention.attributions import attention_layer, on_device, strongest_events
from analyses.attention.decoder_share import head_share
from analyses.attention.reading import attention_batches
from analyses.attention.sae_fit import require_fit
from analyses.attention.token_rows import TokenRows, token_rows
from interp.attribution import encoder_of
from interp.errors import InvalidInput
from interp.provenance import provenance
from interp.result import Result
from interp.store import make_key

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

CODE_VERSION = "1"
MEASURES = ("share", "dfa", "zero", "mean", "resample")
NOTES = (
    "share is of the decoder and dfa of the pre-activation; zero, mean and resample are falls of the activation.",
    "A head that is near its mean everywhere is large under zero ablation and small under the other two.",
)
_BATCH = 4096


def attribution_agreement(
    model: Model,
    sae: SAE,
    rows: Sequence[Any] | TokenRows,
    *,
    seed: int,
    latents: Sequence[int] | None = None,
    n_latents: int = 100,
    per_latent: int = 10,
    n_resample: int = 4,
    n_boot: int = 500,
    n_perm: int = 199,
    bos: str | None = None,
    allow_unfit: bool = False,
    allow_mismatch: bool = False,
) -> Result:
    """Return for each latent and head the decoder share, the attribution and the fall of activation under ablation.

    At the `per_latent` largest activations of a latent, z of one head is set to 0, to its mean over all text tokens,
    or to that of random other tokens (mean over `n_resample`), and the SAE encodes again.

    Args:
        latents: default `n_latents` drawn at random of those that are on at `per_latent` tokens at least.

    Returns:
        Result "attention.agreement": `.table` latent, head, share, dfa, zero, mean, resample, n (activations), seed,
        status; `.tables["correlations"]` one row a pair of measures: a, b, spearman (over latents and heads), ci_low,
        ci_high (95 %, latents resampled), null_mean and p (heads permuted within latents), same_top (share of latents
        with the same largest head), n (latents), n_perm, seed, status.

    Raises:
        InvalidInput: no latent is on often enough. SaeMismatch: the SAE is not on z of this model, or does not fit.
    """
    layer = attention_layer(model, sae, allow_mismatch=allow_mismatch)
    given = token_rows(model, rows, bos=bos)
    if not allow_unfit:
        require_fit(model, sae, given, allow_mismatch=allow_mismatch)
    sae = on_device(sae, model)
    found = [(at, part, a[layer].z) for at, part, a in attention_batches(model, given, [layer])]
    z_all = torch.cat([z[torch.from_numpy(part.content).to(z.device)] for _, part, z in found])
    rng = np.random.default_rng(seed)
    chosen = _often_on(sae, z_all, n_latents, per_latent, rng) if latents is None else [int(i) for i in latents]
    events = np.array(strongest_events(model, sae, given, layer, chosen, per_latent), dtype=np.int64).reshape(-1, 3)
    if len(events) == 0:
        raise InvalidInput("none of these latents is on in these rows; give others, or more text.")
    z = _at_events(found, events)
    table = _measured(sae, z, z_all, events[:, 2], rng, n_resample, model.n_heads).assign(seed=seed, status="ok")
    tables = {"correlations": correlations(table, seed=seed, n_boot=n_boot, n_perm=n_perm)}
    choices = {"seed": seed, "latents": chosen, "per_latent": per_latent, "n_resample": n_resample, "layer": layer}
    key = make_key(choices, {"model": model.fingerprint}, code_version=CODE_VERSION)
    about = provenance(key, seed=seed, model=model.name, layer=layer)
    return Result("attention.agreement", table, tables, about, None, NOTES)


def _often_on(sae: SAE, z: torch.Tensor, n: int, least: int, rng: np.random.Generator) -> list[int]:
    count = sum(
        (sae.encode(z[i : i + _BATCH].flatten(1)) > 0).sum(dim=0).cpu().numpy() for i in range(0, len(z), _BATCH)
    )
    often = np.flatnonzero(np.asarray(count) >= least)
    if len(often) == 0:
        raise InvalidInput(f"no latent is on at {least} tokens; give more text, or a smaller per_latent.")
    return np.sort(rng.choice(often, size=min(n, len(often)), replace=False)).tolist()


def _at_events(found: list[Any], events: np.ndarray) -> torch.Tensor:
    out = torch.zeros(len(events), *found[0][2].shape[2:], device=found[0][2].device)
    for at, _, z in found:
        here = np.flatnonzero((events[:, 0] >= at.start) & (events[:, 0] < at.stop))
        out[torch.from_numpy(here)] = z[events[here, 0] - at.start, events[here, 1]].float()
    return out


def _measured(
    sae: SAE, z: torch.Tensor, z_all: torch.Tensor, latent: np.ndarray, rng: np.random.Generator, n_resample: int,
    n_heads: int,
) -> pd.DataFrame:  # fmt: skip
    column = torch.from_numpy(latent).to(z.device)
    encoder = encoder_of(sae, n_heads)
    dfa = torch.einsum("ehd,hde->eh", z, encoder.W[:, :, column]) * encoder.scale(z)[:, None]
    whole = _activation(sae, z, column)
    mean = z_all.float().mean(dim=0)
    falls = {"zero": [], "mean": [], "resample": []}
    for head in range(n_heads):
        others = [z_all[torch.from_numpy(rng.integers(len(z_all), size=len(z)))][:, head] for _ in range(n_resample)]
        fills = {"zero": [torch.zeros_like(z[:, head])], "mean": [mean[head].expand_as(z[:, head])], "resample": others}
        for name, listed in fills.items():
            fall = [whole - _activation(sae, _with_head(z, head, fill), column) for fill in listed]
            falls[name].append(torch.stack(fall).mean(dim=0))
    values = {"dfa": dfa, **{name: torch.stack(f, dim=1) for name, f in falls.items()}}
    share = head_share(sae.W_dec.detach().double().cpu().numpy(), n_heads)
    units, code, n = np.unique(latent, return_inverse=True, return_counts=True)
    table = pd.DataFrame({"latent": np.repeat(units, n_heads), "head": np.tile(np.arange(n_heads), len(units))})
    table["share"] = share[units].ravel()
    for name, value in values.items():
        sums = np.zeros((len(units), n_heads))
        np.add.at(sums, code, value.detach().double().cpu().numpy())
        table[name] = (sums / n[:, None]).ravel()
    return table.assign(n=np.repeat(n, n_heads))


def _with_head(z: torch.Tensor, head: int, fill: torch.Tensor) -> torch.Tensor:
    out = z.clone()
    out[:, head] = fill
    return out


def _activation(sae: SAE, z: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    parts = [sae.encode(z[i : i + _BATCH].flatten(1)) for i in range(0, len(z), _BATCH)]
    return torch.cat(parts).gather(1, column[:, None])[:, 0].detach()


def correlations(table: pd.DataFrame, *, seed: int, n_boot: int, n_perm: int) -> pd.DataFrame:
    """Return the rank correlations of `attribution_agreement` from its table."""
    n_heads = len(table["head"].unique())
    values = {name: table[name].to_numpy().reshape(-1, n_heads) for name in MEASURES}
    n = len(table) // n_heads
    rng = np.random.default_rng(seed)
    drawn = rng.integers(n, size=(n_boot, n))
    orders = rng.permuted(np.tile(np.arange(n_heads), (n_perm, n, 1)), axis=2)
    rows = []
    for a, b in combinations(MEASURES, 2):
        x, y = values[a], values[b]
        found = _spearman(x, y)
        boot = [_spearman(x[i], y[i]) for i in drawn]
        null = np.array([_spearman(x, np.take_along_axis(y, order, axis=1)) for order in orders])
        low, high = np.nanpercentile(boot, [2.5, 97.5]) if n_boot and n > 1 else (np.nan, np.nan)
        ok = bool(np.isfinite(found))
        rows.append(
            {
                "a": a, "b": b, "spearman": found, "ci_low": low, "ci_high": high,
                "null_mean": null.mean() if ok and n_perm else np.nan,
                "p": (1 + (null >= found - 1e-12).sum()) / (n_perm + 1) if ok and n_perm else np.nan,
                "same_top": float((x.argmax(axis=1) == y.argmax(axis=1)).mean()), "n": n, "n_perm": n_perm,
                "seed": seed, "status": "ok" if ok else "one of the two never varies",
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    a, b = (rankdata(v.ravel()) for v in (x, y))
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else float("nan")
