"""The family of every latent of an SAE on z, decided by rule, with all the evidence in the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.attention.attributions import attention_layer, on_device, token_names
from analyses.attention.evidence import (
    activations_of,
    group_share,
    induction_auc,
    logit_effects,
    moved_tokens,
    persistence,
)
from analyses.attention.family_rules import FAMILIES, FamilyRule, family_of, relation_family
from analyses.attention.masses import LatentEvents, by_row, latent_events
from analyses.attention.relations import BOS, RELATIONS, effective_number, shares
from analyses.attention.retention import WINDOWS, choose_positions, resampled_activations, retention_table
from analyses.attention.sae_fit import require_fit
from analyses.attention.token_rows import TokenRows, token_rows

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

_COLUMN = {r: f"share_{name.replace(' ', '_')}" for r, name in enumerate(RELATIONS) if r != BOS}


def classify_feature_families(
    model: Model,
    sae: SAE,
    rows: Sequence[Any] | TokenRows,
    *,
    seed: int,
    rule: FamilyRule | None = None,
    n_boot: int = 100,
    n_positions: int = 256,
    bos: str | None = None,
    allow_unfit: bool = False,
    allow_mismatch: bool = False,
) -> pd.DataFrame:
    """Return the family of every latent of an SAE on z, decided by `FamilyRule`, and what it was decided from.

    Args:
        rows: texts, or arrays of token ids; a few thousand tokens. Rows without repeats can show no induction.
        n_boot: resamples of rows behind `confidence`, and behind the intervals of retention.
        n_positions: tokens at which context is resampled, see `context_retention`.

    Returns:
        One row a latent: layer, latent, family, confidence (share of resamples in which the relations say the same),
        runner_up (relation with the second largest share), reason, n (activations), n_rows, density, share_* (of
        each relation, BOS left out), bos_share, lift (of the largest share), n_eff, dfa_share (attribution over
        activation less bias), median_distance, w50, n_retention, persistence, run_length, token_variance,
        position_variance, moved (token), moved_share, induction_auc, n_induction, logit_skew, logit_kurtosis,
        moved_logit_z, seed, status.

    Raises:
        SaeMismatch: the SAE is not on z of this model, its encoder is not linear, or it does not fit.
    """
    layer = attention_layer(model, sae, allow_mismatch=allow_mismatch)
    given = token_rows(model, rows, bos=bos)
    if not allow_unfit:
        require_fit(model, sae, given, allow_mismatch=allow_mismatch)
    options = {"seed": seed, "rule": rule or FamilyRule(), "n_boot": n_boot, "n_positions": n_positions}
    return families_of_layers(model, {layer: sae}, given, **options)[layer]


def families_of_layers(
    model: Model,
    saes: Mapping[int, SAE],
    rows: TokenRows,
    *,
    seed: int,
    rule: FamilyRule,
    n_boot: int = 100,
    n_positions: int = 256,
    events: dict[int, LatentEvents] | None = None,
) -> dict[int, pd.DataFrame]:
    """Return `classify_feature_families` of SAEs on several layers, the passes through the model shared."""
    saes = {layer: on_device(sae, model) for layer, sae in saes.items()}
    events = latent_events(model, saes, rows) if events is None else events
    places = choose_positions(rows, n_positions, seed=seed)
    cut = resampled_activations(model, saes, rows, places, WINDOWS, seed=seed)
    out = {}
    for layer, sae in saes.items():
        kept = retention_table(cut[layer], WINDOWS, seed=seed, n_boot=n_boot)
        evidence = latent_evidence(model, sae, layer, events[layer], rows, kept, rule)
        out[layer] = _decided(evidence, events[layer], len(rows), rule, seed, n_boot).assign(layer=layer, seed=seed)
    return out


def latent_evidence(
    model: Model, sae: SAE, layer: int, events: LatentEvents, rows: TokenRows, retention: pd.DataFrame,
    rule: FamilyRule,
) -> pd.DataFrame:  # fmt: skip
    """Return one row a latent with every evidence column of `classify_feature_families`."""
    n_latents = sae.config.d_sae
    acts = activations_of(events, rows, n_latents)
    moved, moved_share = moved_tokens(events, n_latents)
    n = np.bincount(events.latent, minlength=n_latents)
    auc, n_true = induction_auc(acts, moved, rows, np.flatnonzero(n >= rule.min_events))
    lift, run = persistence(events, rows, n_latents)
    table = pd.DataFrame({"latent": np.arange(n_latents), "n": n, "density": n / rows.content.sum()})
    pairs = np.unique(np.stack([events.latent, events.row]), axis=1)[0]
    table["n_rows"] = np.bincount(pairs, minlength=n_latents)
    table["dfa_share"] = _dfa_share(events, n_latents)
    table["median_distance"] = _weighted_median(events, n_latents)
    ours = retention.drop_duplicates("latent").set_index("latent").reindex(table["latent"])
    table["w50"], table["n_retention"] = ours["w50"].to_numpy(), ours["n"].fillna(0).to_numpy(dtype=np.int64)
    table["persistence"], table["run_length"] = lift, run
    table["token_variance"] = group_share(acts, rows.ids[rows.content])
    table["position_variance"] = group_share(acts, np.nonzero(rows.content)[1])
    names = token_names(model, np.maximum(moved, 0))
    table["moved"], table["moved_share"] = np.where(moved >= 0, names, ""), moved_share
    table["induction_auc"], table["n_induction"] = auc, n_true
    return table.join(logit_effects(model, sae, layer, moved))


def _decided(
    evidence: pd.DataFrame, events: LatentEvents, n_rows: int, rule: FamilyRule, seed: int, n_boot: int
) -> pd.DataFrame:
    n_latents = len(evidence)
    total = events.mass.sum(axis=1, keepdims=True)
    by = by_row(events, np.concatenate([events.mass, events.available * total], axis=1), n_rows, n_latents)
    mass, even = by.sum(axis=0)[:, :8], by.sum(axis=0)[:, 8:]
    share, uniform = shares(mass, with_bos=False), shares(even, with_bos=False)
    relation, bos = relation_family(mass, even, rule), shares(mass)[:, BOS]
    found = [
        family_of({**row, "share": np.nan_to_num(share[i]), "uniform": np.nan_to_num(uniform[i]),
                   "relation": int(relation[i]), "bos_share": bos[i]}, rule)
        for i, row in enumerate(evidence.to_dict("records"))
    ]  # fmt: skip
    order = np.argsort(-np.nan_to_num(share), axis=1)
    rank = np.array(RELATIONS, dtype=object)[order]
    rows = np.arange(n_latents)
    with np.errstate(invalid="ignore", divide="ignore"):
        lift = share[rows, order[:, 0]] / uniform[rows, order[:, 0]]
    front = pd.DataFrame(
        {
            "latent": rows, "family": [f for f, _ in found],
            "confidence": _confidence(by, relation, rule, seed, n_boot), "top_relation": rank[:, 0],
            "runner_up": rank[:, 1], "reason": [why for _, why in found],
            **{name: share[:, r] for r, name in _COLUMN.items()}, "bos_share": bos, "lift": lift,
            "n_eff": effective_number(share),
        }
    )  # fmt: skip
    no_mass = ~np.isfinite(share[:, OTHER_COLUMN])
    front.loc[no_mass, ["top_relation", "runner_up"]] = ""
    front["status"] = np.where(no_mass, "nothing moved", "ok")
    front.loc[no_mass, "confidence"] = np.nan
    return front.merge(evidence, on="latent")


OTHER_COLUMN = len(RELATIONS) - 1


def _confidence(by: np.ndarray, relation: np.ndarray, rule: FamilyRule, seed: int, n_boot: int) -> np.ndarray:
    """Return the share of resamples of rows in which the relation rule decides as on all rows, [latent]."""
    n_rows = len(by)
    rng = np.random.default_rng(seed)
    agree = np.zeros(by.shape[1])
    flat = by.reshape(n_rows, -1)
    for _ in range(n_boot):
        weights = rng.multinomial(n_rows, np.full(n_rows, 1 / n_rows)).astype(np.float64)
        drawn = (weights @ flat).reshape(by.shape[1:])
        agree += relation_family(drawn[:, :8], drawn[:, 8:], rule) == relation
    return agree / n_boot


def _dfa_share(events: LatentEvents, n_latents: int) -> np.ndarray:
    """Return positive attribution over positive attribution plus bias where that is positive, [latent]."""
    made = np.bincount(events.latent, events.mass.sum(axis=1), minlength=n_latents)
    bias = np.bincount(events.latent, np.maximum(events.bias, 0), minlength=n_latents)
    return np.divide(made, made + bias, out=np.full(n_latents, np.nan), where=made + bias > 0)


def _weighted_median(events: LatentEvents, n_latents: int) -> np.ndarray:
    """Return the median over activations of the median distance, [latent]."""
    known = np.isfinite(events.distance)
    found = pd.Series(events.distance[known]).groupby(events.latent[known]).median()
    return found.reindex(np.arange(n_latents)).to_numpy()


def family_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Return how many latents of a layer are in each family: layer, family, count, share (of those ever on)."""
    out = []
    for layer, part in table.groupby("layer"):
        names = part["family"].to_numpy()
        alive = int((names != "dead").sum())
        for family in FAMILIES:
            count = int((names == family).sum())
            share = np.nan if family == "dead" or alive == 0 else count / alive
            out.append({"layer": layer, "family": family, "count": count, "share": share, "n": alive})
    return pd.DataFrame(out)
