"""Which units belong to a domain, and how exclusively; and groups of units that are on together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from analyses.polysemanticity.expert_scores import expert_scores
from analyses.polysemanticity.unit_readings import read_columns
from interp.capturing import stream
from interp.errors import InvalidInput
from interp.linear_parts import neuron_readers
from interp.stats.intervals import wilson_interval
from interp.tokens import encode

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

Units = Sequence[tuple[int, int]]
"""(layer, number) of each unit."""

N_GROUPED = 512  # units of a layer that are grouped: the assignment of more to groups of equal size is slow


def knowledge_exclusivity(
    means: np.ndarray, domains: Sequence[str], units: Units, *, ratio: float = 2.0
) -> pd.DataFrame:
    """Return which domain each unit belongs to, and how exclusively.

    Args:
        means: float [n_domains, n_units], mean |activation| of each unit over the tokens of a domain.
        ratio: a unit is exclusive where its domain has this many times the mean of the second.

    Returns:
        layer, number, domain (of the largest mean), share (of the sum over domains), lead (largest mean less the
        second), exclusive, status ("never active" where all means are 0).

    Reference: Park et al. 2024 (Monet: experts assigned to the domain that routes to them twice as much).
    """
    if means.shape != (len(domains), len(units)) or len(domains) < 2 or (means < 0).any():
        raise InvalidInput(f"means are [{len(domains)} domains, {len(units)} units] from 0; given {list(means.shape)}.")
    second, first = np.sort(means, axis=0)[-2:]
    total = means.sum(axis=0)
    share = np.divide(first, total, out=np.full_like(first, np.nan), where=total > 0)
    table = pd.DataFrame(np.asarray(units, dtype=np.int64).reshape(-1, 2), columns=["layer", "number"])
    names = np.asarray(domains, dtype=object)[means.argmax(axis=0)]
    exclusive = (first >= ratio * second) & (total > 0)
    status = np.where(total > 0, "ok", "never active")
    return table.assign(domain=names, share=share, lead=first - second, exclusive=exclusive, status=status)


def domain_means(sums: np.ndarray, counts: np.ndarray, labels: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Return mean |activation| of every unit in each domain.

    Args:
        sums, counts: from `text_sums`. labels: domain of each text.

    Returns:
        float64 [n_domains, n_units], and the domains in alphabetical order.
    """
    domains, code = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    return _means(sums, counts, code, len(domains)), domains.tolist()


def text_sums(
    model: Model, texts: Sequence[str], *, sae: SAE | None = None
) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """Return |activation| of every neuron (of every latent, given an SAE), summed over the tokens of each text.

    Returns:
        float32 [n_texts, n_units], the tokens of each text [n_texts], and (layer, number) of the units.
    """
    sites = [f"mlp_post.{layer}" for layer in range(model.n_layers)] if sae is None else [str(sae.config.site)]
    parts: list[Any] = [None] * len(sites)
    counts = np.zeros(len(texts))
    for batch in stream(model, texts, sites, pool="none", max_length=model.n_ctx):
        counts[batch.rows] = batch.n_tokens
        of_token = torch.repeat_interleave(torch.as_tensor(batch.n_tokens)).to(model.device)
        for i, site in enumerate(sites):
            values = (batch.values[site] if sae is None else sae.encode(batch.values[site])).float().abs()
            found = values.new_zeros(len(batch.rows), values.shape[1]).index_add_(0, of_token, values)
            if parts[i] is None:
                parts[i] = np.zeros((len(texts), values.shape[1]), dtype=np.float32)
            parts[i][batch.rows] = found.cpu().numpy()
    layers = range(model.n_layers) if sae is None else [int(sites[0].partition(".")[2])]
    units = [(layer, i) for layer, part in zip(layers, parts, strict=True) for i in range(part.shape[1])]
    return np.concatenate(parts, axis=1), counts, units


def _means(sums: np.ndarray, counts: np.ndarray, code: np.ndarray, n: int) -> np.ndarray:
    member = np.eye(n)[code]
    return (member.T @ sums) / (member.T @ counts)[:, None]


def exclusive_share(
    sums: np.ndarray,
    counts: np.ndarray,
    labels: Sequence[str],
    *,
    ratio: float = 2.0,
    permutations: int = 199,
    seed: int,
) -> dict[str, Any]:
    """Return the share of units that are exclusive to a domain, beside texts whose labels are shuffled.

    Args:
        sums, counts: from `text_sums`. labels: domain of each text.
        ratio: see `knowledge_exclusivity`.

    Returns:
        n (units that are on), n_exclusive, share, ci_low, ci_high (95 %, Wilson), null_mean, null_sd, p (shuffled
        labels, one-sided), n_domains, n_texts, n_perm, seed, status.
    """
    domains, code = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    if len(code) != len(sums) or len(domains) < 2:
        raise InvalidInput(f"{len(code)} labels of {len(domains)} domains for {len(sums)} texts; give two or more.")
    on = sums.sum(axis=0) > 0
    active = sums[:, on].astype(np.float64)

    def exclusive(code: np.ndarray) -> int:
        second, first = np.partition(_means(active, counts, code, len(domains)), -2, axis=0)[-2:]
        return int((first >= ratio * second).sum())

    rng, hits, n = np.random.default_rng([seed, 7]), exclusive(code), int(on.sum())
    null = np.array([exclusive(rng.permutation(code)) for _ in range(permutations)])
    low, high = wilson_interval(hits, n)
    return {
        "n": n, "n_exclusive": hits, "share": hits / n if n else np.nan, "ci_low": low, "ci_high": high,
        "null_mean": null.mean() / n if n else np.nan, "null_sd": null.std(ddof=1) / n if n else np.nan,
        "p": (1 + (null >= hits).sum()) / (permutations + 1) if n else np.nan, "n_domains": len(domains),
        "n_texts": len(sums), "n_perm": permutations, "seed": seed, "status": "ok" if n else "never active",
    }  # fmt: skip


def leading_units(table: pd.DataFrame, *, n: int) -> dict[str, list[tuple[int, int]]]:
    """Return for each domain the up to `n` units of it with the largest lead; from `knowledge_exclusivity`."""
    alive = table.loc[table["status"] == "ok"].sort_values(by="lead", ascending=False, kind="stable")
    groups = alive.groupby("domain", sort=True)
    return {str(d): list(map(tuple, part[["layer", "number"]].head(n).to_numpy().tolist())) for d, part in groups}


def experts_of(
    model: Model,
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    sae: SAE | None = None,
    n_experts: int = 16,
    n_random: int = 9,
    seed: int,
) -> pd.DataFrame:
    """Return `expert_scores` of the neurons of every layer, or of the latents of an SAE.

    Of wider layers the 512 units that carry most are grouped (mean square of the activation times what it writes). What
    a neuron reads is its row of W_in (gated: of the gate); of a latent, its column of the encoder.

    Returns:
        As `expert_scores`, with the layer first.
    """
    encoded = encode(model, texts, max_length=model.n_ctx)
    ordinary = np.add.reduceat((~encoded.special).astype(np.int64), encoded.starts[:-1])
    text_index, domains = np.repeat(np.arange(len(texts)), ordinary), [str(label) for label in labels]
    if sae is None:
        sites = {f"mlp_post.{layer}": layer for layer in range(model.n_layers)}
        read = read_columns(model, texts, {site: lambda x: x for site in sites})
    else:
        sites = {str(sae.config.site): int(str(sae.config.site).partition(".")[2])}
        read = read_columns(model, texts, dict.fromkeys(sites, sae.encode))
    parts = []
    for site, layer in sites.items():
        if sae is None:
            keys = neuron_readers(model, layer)[0][0].cpu().numpy()
            writes = model.bridge.blocks[layer].mlp.W_out.detach().float().cpu().numpy()
        else:
            keys, writes = sae.W_enc.detach().T.cpu().numpy(), sae.W_dec.detach().cpu().numpy()
        carried = (read[site] ** 2).mean(axis=0) * (writes**2).sum(axis=1)
        most = np.sort(np.argsort(-carried, kind="stable")[:N_GROUPED])
        most = most[carried[most] > 0]
        scores = expert_scores(
            read[site][:, most], keys[most], writes[most], text_index=text_index, domains=domains,
            n_experts=min(n_experts, len(most)), n_random=n_random, seed=seed,
        )  # fmt: skip
        parts.append(scores.assign(layer=layer).loc[:, ["layer", *scores.columns]])
    return pd.concat(parts, ignore_index=True)
