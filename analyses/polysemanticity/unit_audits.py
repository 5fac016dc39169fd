"""Audits of the neurons, heads and latents of a model, each beside random directions of the same place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analyses.polysemanticity.alikeness import monosemanticity_score
from analyses.polysemanticity.concepts import AuditConfig, PairView
from analyses.polysemanticity.relations import RELATIONS, effective_relations
from analyses.polysemanticity.sampling import strongest_tokens
from analyses.polysemanticity.shared_space import feature_capacity
from analyses.polysemanticity.unit_readings import (
    HeadReading,
    TextTokens,
    random_directions,
    random_rotations,
    read_heads_rotated,
    read_latents,
    read_neurons,
    read_text_tokens,
)
from analyses.polysemanticity.unit_statistics import (
    logit_weight_moments,
    sparsity_statistics,
    vocabulary_concentration,
)
from analyses.polysemanticity.upstream_view import UpstreamView
from analyses.polysemanticity.verdicts import audit_units
from interp.errors import InvalidInput
from interp.result import Result
from interp.unit_readers import LatentReaders, NeuronReaders

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

NEURON, HEAD, LATENT, DIRECTION = "neuron", "head", "latent", "random direction"
DECISIVE = ("context", "meaning")
UPSTREAM = "upstream"
DECISIVE_OF_HEADS = ("meaning", "source meaning", "relation")


def audit_neurons(
    model: Model,
    texts: Sequence[str],
    *,
    neurons: Sequence[tuple[int, int]] | None = None,
    n: int = 200,
    n_directions: int = 100,
    seen: TextTokens | None = None,
    upstream: bool = True,
    upstream_saes: Sequence[SAE] = (),
    config: AuditConfig | None = None,
    read: Callable[..., tuple[np.ndarray, np.ndarray]] = read_neurons,
) -> Result:
    """Return the verdicts on neurons, beside random directions of the same layers.

    Args:
        texts: cut to the context of the model.
        neurons: (layer, neuron) pairs; default `n` of all, drawn at random (by the seed).
        n_directions: random directions in the space of the same layers' neurons, spread over layers as the neurons.
        seen: the tokens and views of the texts, where they are known already (for a twin: those of the model itself).
        upstream: whether what wrote the unit is a view, too; see `UpstreamView`.
        upstream_saes: SAEs of earlier z, attn_out or mlp_out, by whose latents this is told.
        config: see `AuditConfig`.
        read: what reads activations, in the place of `read_neurons`, for those who have them.

    Returns:
        Result "polysemanticity.audit" as `audit_units`, with kind, layer and number of each unit, and columns of
        evidence: ms, ms_null, ms_z (`monosemanticity_score` on texts), vocabulary (effective number of tokens),
        firing_rate, gini (sparsity, no measure of concepts), logit_kurtosis and capacity (`feature_capacity` among
        all neurons of the layer, or latents of the SAE). .tables has upstream, the parts that gave most to each unit.

    Raises:
        InvalidInput: a neuron that the model does not have.
    """
    config = config or AuditConfig()
    seen = seen or read_text_tokens(model, texts, seed=config.seed)
    pairs = drawn_units(neurons, model.n_layers, model.d_mlp, n, config.seed)
    by_layer = {int(layer): pairs[pairs[:, 0] == layer, 1] for layer in np.unique(pairs[:, 0])}
    own, random = read(model, texts, by_layer, seed=config.seed)
    about = [(NEURON, layer, int(i)) for layer, chosen in by_layer.items() for i in chosen]
    writes = [(_numpy(model.bridge.blocks[layer].mlp.W_out), chosen) for layer, chosen in by_layer.items()]
    parts = [_of_weights(model, W, chosen) for W, chosen in writes]
    weights = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    theirs = [(DIRECTION, layer, i) for layer, chosen in by_layer.items() for i in range(len(chosen))]
    kept = np.linspace(0, len(theirs) - 1, min(n_directions, len(theirs))).astype(np.int64)
    about += [theirs[i] for i in kept]
    late = _neuron_view(model, texts, by_layer, kept, upstream_saes, config.seed) if upstream else None
    return _audited(np.concatenate([own, random[:, kept]], axis=1), seen, about, config, weights, late=late)


def _neuron_view(
    model: Model, texts: Sequence[str], by_layer: Mapping[int, np.ndarray], kept: np.ndarray,
    saes: Sequence[SAE], seed: int,
) -> UpstreamView:  # fmt: skip
    """Return what wrote the neurons, then the random directions that are kept."""
    counts = [len(chosen) for chosen in by_layer.values()]
    ends = np.cumsum(counts)
    readers = [
        (np.arange(end - len(chosen), end), NeuronReaders(model, layer, chosen))
        for end, (layer, chosen) in zip(ends, by_layer.items(), strict=True)
    ]
    directions = random_directions(model, by_layer, seed=seed)
    for end, layer in zip(ends, by_layer, strict=True):
        here = np.flatnonzero((kept >= end - len(by_layer[layer])) & (kept < end))
        if len(here):
            own = directions[layer][:, kept[here] - (end - len(by_layer[layer]))]
            readers.append((ends[-1] + here, NeuronReaders(model, layer, directions=own)))
    return UpstreamView(model, texts, readers, saes=saes)


def audit_latents(
    model: Model,
    sae: SAE,
    texts: Sequence[str],
    *,
    latents: Sequence[int] | None = None,
    n: int = 200,
    n_directions: int = 100,
    seen: TextTokens | None = None,
    upstream: bool = True,
    upstream_saes: Sequence[SAE] = (),
    config: AuditConfig | None = None,
    allow_mismatch: bool = False,
    read: Callable[..., np.ndarray] = read_latents,
) -> Result:
    """Return the verdicts on latents of an SAE, beside random directions that are on as often.

    Arguments and result as `audit_neurons`; the random directions are those of `interp.sae.random_sae`.

    Raises:
        InvalidInput: a latent that the SAE does not have. SaeMismatch: it does not fit the model, unless allowed; or
            its encoder is not linear, so that `upstream` has to be False.
    """
    from interp.capturing import capture
    from interp.sae import check_fit, random_sae

    config, site = config or AuditConfig(), str(check_fit(model, sae, allow_mismatch=allow_mismatch).site)
    seen = seen or read_text_tokens(model, texts, seed=config.seed)
    given = None if latents is None else [(0, int(i)) for i in latents]
    chosen = drawn_units(given, 1, sae.config.d_sae, n, config.seed)[:, 1]
    own = read(model, sae, texts, chosen)
    layer = int(site.partition(".")[2])
    about = [(LATENT, layer, int(i)) for i in chosen]
    weights = _of_weights(model, _numpy(sae.W_dec), chosen)
    readers = [(np.arange(len(chosen)), LatentReaders(sae, chosen, model.device))] if upstream else []
    if n_directions:
        x = capture(model, texts, site, pool="none", max_length=model.n_ctx)[site]
        other = random_sae(sae, x, seed=config.seed)
        random = other.encode(x)[:, :n_directions].cpu().numpy()
        about += [(DIRECTION, layer, i) for i in range(random.shape[1])]
        own = np.concatenate([own, random], axis=1)
        if upstream:
            last = np.arange(random.shape[1])
            readers.append((len(chosen) + last, LatentReaders(other, last, model.device)))
    late = UpstreamView(model, texts, readers, saes=upstream_saes) if upstream else None
    return _audited(own, seen, about, config, weights, late=late)


def audit_heads(
    model: Model,
    texts: Sequence[str],
    *,
    n_directions: int = 100,
    seen: TextTokens | None = None,
    config: AuditConfig | None = None,
) -> Result:
    """Return the verdicts on all heads: is what a head moves most always of one kind?

    An example is a pair of tokens: where the head writes, and where it reads from. Views: token and meaning of the
    first, source token and source meaning of the second, and their relation (see `relation_classes`).

    Args:
        n_directions: "heads" of a random rotation of z across the heads of a layer, spread over layers; at most as
            many as there are heads.

    Returns:
        As `audit_neurons`, with n_relations, the effective number of relations over all tokens, instead of the
        evidence from weights.
    """
    config = config or AuditConfig()
    seen = seen or read_text_tokens(model, texts, seed=config.seed)
    rotations = [(), random_rotations(model, seed=config.seed)] if n_directions else [()]
    heads, *mixed = read_heads_rotated(model, texts, rotations, seed=config.seed)
    places = [(layer, head) for layer in range(model.n_layers) for head in range(model.n_heads)]
    about = [(HEAD, *place) for place in places]
    if n_directions:
        kept = np.linspace(0, len(places) - 1, min(n_directions, len(places))).astype(np.int64)
        heads = _side_by_side(heads, mixed[0], kept)
        about += [(DIRECTION, *places[i]) for i in kept]
    names = np.arange(-1, len(RELATIONS))
    views = {
        "token": seen.views["token"],
        "meaning": seen.views["meaning"],
        "source token": PairView(seen.views["token"], heads.source, heads.random_source),
        "source meaning": PairView(seen.views["meaning"], heads.source, heads.random_source),
        "relation": PairView(names, heads.relation + 1, heads.random_relation + 1),
    }
    spread = {"n_relations": effective_relations(heads.moved, heads.relation)}
    return _audited(heads.moved, seen, about, config, spread, views=views, decisive=DECISIVE_OF_HEADS)


def _side_by_side(heads: HeadReading, others: HeadReading, kept: np.ndarray) -> HeadReading:
    """Return the columns of all heads, then those that are kept of the others."""
    moved, source, relation = (
        np.concatenate([getattr(heads, name), getattr(others, name)[:, kept]], axis=1)
        for name in ("moved", "source", "relation")
    )
    return HeadReading(moved, source, relation, heads.random_source, heads.random_relation)


def _audited(
    values: np.ndarray, seen: TextTokens, about: list[tuple[str, int, int]], config: AuditConfig,
    more: Mapping[str, np.ndarray], views=None, decisive: Sequence[str] = DECISIVE, late: UpstreamView | None = None,
) -> Result:  # fmt: skip
    letter = {NEURON: "N", HEAD: "H", LATENT: "F", DIRECTION: "R"}
    names = [f"L{layer}{letter[kind]}{i}" for kind, layer, i in about]
    views = dict(views or seen.views)
    unifying = list(views)
    if late is not None:
        views, decisive = views | {UPSTREAM: late}, (*decisive, UPSTREAM)
    found = audit_units(
        values, views, text_index=seen.text_index, units=names, tokens=seen.tokens, decisive=decisive,
        unifying=unifying, config=config,
    )  # fmt: skip
    kind, layer, number = zip(*about, strict=True)
    table = found.table.assign(kind=kind, layer=layer, number=number)
    table = table.loc[:, ["kind", "layer", "number", *found.table.columns]]
    table = table.assign(**_evidence(values, seen, found.tables["examples"], table["unit"]))
    # random directions come last and have no weights of their own
    rest = {name: np.append(given, np.full(len(about) - len(given), np.nan)) for name, given in more.items()}
    table = table.assign(**rest)
    return Result("polysemanticity.audit", table, found.tables, {"config": asdict(config)})


def _evidence(values: np.ndarray, seen: TextTokens, examples: pd.DataFrame, units: pd.Series) -> dict[str, np.ndarray]:
    best, _ = strongest_tokens(values, seen.text_index)
    counts = np.bincount(seen.text_index)
    context = np.asarray(seen.views["context"], dtype=np.float64)
    sums = np.add.reduceat(context, np.flatnonzero(np.diff(seen.text_index, prepend=-1)), axis=0)
    score = monosemanticity_score(np.maximum(best, 0), sums / counts[counts > 0, None])
    words = vocabulary_concentration(examples, np.asarray(seen.views["token"])).set_index("unit")["n_effective"]
    sparsity = sparsity_statistics(values)
    return {
        "ms": score["ms"].to_numpy(), "ms_null": score["null_mean"].to_numpy(), "ms_z": score["z"].to_numpy(),
        "vocabulary": words.reindex(units).to_numpy(), "firing_rate": sparsity["firing_rate"].to_numpy(),
        "gini": sparsity["gini"].to_numpy(),
    }  # fmt: skip


def drawn_units(given: Sequence[tuple[int, int]] | None, n_layers: int, width: int, n: int, seed: int) -> np.ndarray:
    """Return (layer, number) pairs, int64 [n, 2], by layer; drawn at random where none are given.

    Raises:
        InvalidInput: a unit that is not there.
    """
    if given is None:
        drawn = np.random.default_rng([seed, 4]).permutation(n_layers * width)[:n]
        return np.stack(np.divmod(np.sort(drawn), width), axis=1)
    pairs = np.array(sorted(set(given)), dtype=np.int64).reshape(-1, 2)
    if len(pairs) == 0 or pairs.min() < 0 or (pairs >= [n_layers, width]).any():
        raise InvalidInput(f"units lie in {n_layers} layer(s) of {width}, from 0; given {list(given)[:3]}.")
    return pairs


def _of_weights(model: Model, writes: np.ndarray, chosen: np.ndarray) -> dict[str, np.ndarray]:
    """Return evidence from what the chosen units write, among all that write into the same space."""
    kurtosis = np.full(len(chosen), np.nan)
    if writes.shape[1] == model.d_model:  # heads write into a space of their own before W_O
        kurtosis = logit_weight_moments(writes[chosen], _numpy(model.bridge.W_U))["excess_kurtosis"].to_numpy()
    return {"logit_kurtosis": kurtosis, "capacity": feature_capacity(writes)["capacity"].to_numpy()[chosen]}


def _numpy(tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()
