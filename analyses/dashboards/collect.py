"""From a model, an SAE and texts to the arrays that a page is drawn from: one pass, only what is on is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from analyses.dashboards.compute import (
    Activity,
    Events,
    Interval,
    LogitPanel,
    activity,
    coactive,
    events_of,
    intervals,
    logit_panel,
    nearest_rows,
    random_largest_cosine,
    strongest,
    token_table,
)
from analyses.dashboards.sources import Source, event_sources
from analyses.dashboards.visible import token_texts
from analyses.dashboards.writes import Neurons, RandomLogits, in_residual, logit_weights, random_logits, related_neurons
from interp.errors import InvalidInput
from interp.provenance import provenance
from interp.sae.density import DENSE
from interp.store import make_key, sha256_array
from interp.tokens import Encoded

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

CODE_VERSION = "2"
N_INTERVALS, PER_INTERVAL, N_TOP, N_NEAR, N_TOKENS, N_LOGITS = 10, 8, 8, 5, 6, 8
_ROWS = 1024  # tokens that are encoded at once
_AT_ONCE = 32  # latents whose logits are held at once


@dataclass(frozen=True, eq=False)
class LatentData:
    """What is known of one latent; tables are empty where there is nothing to say."""

    latent: int
    activity: Activity
    events: Events
    top: np.ndarray
    """int64, positions in events: the strongest, one a text."""
    intervals: list[Interval]
    decoder_norm: float
    tokens: pd.DataFrame
    logits: LogitPanel | None
    """None: what it writes does not go to the residual stream."""
    near_latents: pd.DataFrame
    coactive: pd.DataFrame
    near_neurons: pd.DataFrame | None
    head_share: pd.DataFrame | None = None
    sources: dict[int, list[Source]] = field(default_factory=dict)
    """position in events -> where an attention latent reads it from, in the order of the text."""

    @property
    def shown(self) -> np.ndarray:
        """Positions in events that may be shown as examples, int64, ascending."""
        drawn = [interval.drawn for interval in self.intervals]
        return np.unique(np.concatenate([self.top, *drawn]).astype(np.int64))


@dataclass(frozen=True, eq=False)
class DashboardData:
    """What a page of dashboards is drawn from."""

    latents: list[LatentData]
    encoded: Encoded
    text_index: np.ndarray
    """int64 [n_tokens], specials included."""
    names: dict[int, str]
    """id -> its text, of those that the page shows."""
    about: dict[str, Any]
    """Facts of SAE, model and texts, in the order in which they are printed."""
    random_logits: RandomLogits | None
    random_cosines: dict[str, float]
    """Median of the largest cosine of random directions: latents, neurons."""
    neuron_weights: str
    """"output" or "input": the weights of neurons that latents are compared with; "" without any."""
    notes: tuple[str, ...]
    provenance: dict[str, Any]


def dashboard_data(
    sae: SAE,
    latents: Sequence[int],
    *,
    model: Model,
    texts: Sequence[Any],
    seed: int = 0,
    site: str | None = None,
    bos: str | None = None,
    allow_mismatch: bool = False,
    attribution: Callable[..., Any] | None = None,
    head_share: pd.DataFrame | None = None,
) -> DashboardData:
    """Return the data of dashboards; arguments and errors as `feature_dashboard`."""
    from interp.sae import check_fit

    chosen = checked_latents(latents, sae.config.d_sae)
    if len(texts) == 0:
        raise InvalidInput("no texts were given; a latent is shown by the texts at which it is on.")
    fit = check_fit(model, sae, site=site, allow_mismatch=allow_mismatch)
    encoded = _encoded(model, sae, texts, bos)
    if encoded.special.all():
        raise InvalidInput("the rows hold nothing but BOS, EOS and padding, where no latent is read.")
    matrix = latent_matrix(model, sae, encoded, fit.site)
    text_index = np.repeat(np.arange(len(encoded)), encoded.lengths)
    written = fit.site_out or fit.site
    neurons = related_neurons(model, written, sae.W_dec.shape[1], seed=seed)
    found = _latents(model, sae, chosen, matrix, encoded, text_index, written, neurons, seed)
    notes = tuple(f"The SAE was used although it does not fit: {m}." for m in fit.mismatches)
    if head_share is not None:
        shares = dict(list(head_share.groupby("latent")))
        found = [replace(part, head_share=shares.get(part.latent)) for part in found]
    if attribution is not None:
        attribute = partial(attribution, model, sae, allow_mismatch=allow_mismatch)
        examples = {part.latent: (part.events.rows, part.shown) for part in found}
        sources, why = event_sources(attribute, examples, encoded, text_index)
        found, notes = [replace(part, sources=sources.get(part.latent, {})) for part in found], (*notes, *why)
    return DashboardData(
        latents=found,
        encoded=encoded,
        text_index=text_index,
        names=token_texts(model, _ids_shown(found, encoded)),
        about=_about(model, sae, fit.site, encoded, matrix, seed),
        random_logits=random_logits(model, written, sae.W_dec.shape[1], seed=seed),
        random_cosines=_random_cosines(sae, neurons),
        neuron_weights=neurons.kind if neurons else "",
        notes=notes,
        provenance=_provenance(model, sae, chosen, encoded, fit.site, seed),
    )


def checked_latents(latents: Sequence[int], d_sae: int) -> list[int]:
    """Return the latents, each once, in the order given. Raises InvalidInput for one that the SAE has not."""
    if len(latents) == 0:
        raise InvalidInput(f"no latents were given; the SAE has 0 to {d_sae - 1}.")
    for latent in latents:
        if isinstance(latent, bool) or not isinstance(latent, int | np.integer):
            raise InvalidInput(f"a latent is an integer from 0 to {d_sae - 1}, not {latent!r}.")
        if not 0 <= latent < d_sae:
            near = min(max(int(latent), 0), d_sae - 1)
            raise InvalidInput(f"there is no latent {latent}: the SAE has 0 to {d_sae - 1}. Nearest: {near}.")
    return list(dict.fromkeys(int(latent) for latent in latents))


def latent_matrix(model: Model, sae: SAE, encoded: Encoded, site: str) -> sparse.csc_matrix:
    """Return the latents at each token, float32 [n_tokens, d_sae] with sorted indices; nothing at specials."""
    from interp.batches import with_tokens
    from interp.capturing import run_batches
    from interp.models import find_site

    request = with_tokens(
        model, encoded, [find_site(model, site)], pool="none", dtype="float32", batch_tokens=8192, include_special=False
    )
    rows, columns, values = [], [], []
    for batch in run_batches(request):
        tokens = np.concatenate([np.arange(*encoded.starts[i : i + 2]) for i in batch.rows])
        tokens = tokens[~encoded.special[tokens]]
        for start in range(0, len(tokens), _ROWS):
            latents = sae.encode(batch.values[site][start : start + _ROWS])
            row, column = latents.nonzero(as_tuple=True)
            rows.append(tokens[start + row.cpu().numpy()])
            columns.append(column.cpu().numpy())
            values.append(latents[row, column].cpu().numpy())
    found = sparse.csc_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(len(encoded.ids), sae.config.d_sae), dtype=np.float32,
    )  # fmt: skip
    found.sort_indices()
    return found


def _encoded(model: Model, sae: SAE, texts: Sequence[Any], bos: str | None) -> Encoded:
    from interp.batches import packed
    from interp.tokens import encode

    if not isinstance(texts[0], str):
        return packed(model, list(texts), False)
    length = min(n for n in (sae.config.context_size, model.n_ctx) if n is not None)
    return encode(model, texts, bos=bos, max_length=length)


def _latents(
    model: Model, sae: SAE, chosen: list[int], matrix: sparse.csc_matrix, encoded: Encoded, text_index: np.ndarray,
    written: str, neurons: Neurons | None, seed: int,
) -> list[LatentData]:  # fmt: skip
    W, n = sae.W_dec.detach().double().cpu().numpy(), _n_ordinary(encoded)
    counts = np.bincount(encoded.ids, minlength=model.d_vocab)
    logits = _logit_panels(model, written, W[chosen])
    together = coactive(matrix, np.array(chosen), n, N_NEAR)
    near = nearest_rows(W[chosen], W, N_NEAR + 1, "latent", two_sided=False)
    beside = _near_neurons(in_residual(model, written, W[chosen]) if neurons else W[chosen], neurons)
    found = []
    for j, latent in enumerate(chosen):
        events = events_of(matrix, latent)
        found.append(LatentData(
            latent=latent, activity=activity(events, n), events=events, top=strongest(events, text_index, N_TOP),
            intervals=intervals(events, n_intervals=N_INTERVALS, per_interval=PER_INTERVAL, seed=[seed, latent]),
            decoder_norm=float(np.linalg.norm(W[latent])), tokens=token_table(events, encoded.ids, counts, N_TOKENS),
            logits=logits[j],
            near_latents=near[j].query("latent != @latent").head(N_NEAR), coactive=together[j],
            near_neurons=beside[j],
        ))  # fmt: skip
    return found


def _logit_panels(model: Model, site: str, directions: np.ndarray) -> list[LogitPanel | None]:
    panels: list[LogitPanel | None] = []
    for start in range(0, len(directions), _AT_ONCE):  # a vocabulary is large
        found = logit_weights(model, site, directions[start : start + _AT_ONCE])
        if found is None:
            return [None] * len(directions)
        panels += [logit_panel(row, N_LOGITS) for row in found]
    return panels


def _near_neurons(directions: np.ndarray, neurons: Neurons | None) -> list[pd.DataFrame | None]:
    if neurons is None:
        return [None] * len(directions)
    tables = nearest_rows(directions, neurons.weights, N_NEAR, "neuron", two_sided=True)
    return [table.assign(neuron=[neurons.names[i] for i in table["neuron"]]) for table in tables]


def _n_ordinary(encoded: Encoded) -> int:
    return int((~encoded.special).sum())


def _ids_shown(found: list[LatentData], encoded: Encoded) -> np.ndarray:
    panels = [part.logits for part in found if part.logits is not None]
    return np.unique(np.concatenate([encoded.ids, *(table["id"] for p in panels for table in (p.top, p.bottom))]))


def _about(model: Model, sae: SAE, site: str, encoded: Encoded, matrix: sparse.csc_matrix, seed: int) -> dict[str, Any]:
    n = _n_ordinary(encoded)
    density = np.diff(matrix.indptr) / n
    return {
        "model": model.name,
        "site": site,
        "architecture": sae.config.architecture,
        "latents of the SAE": sae.config.d_sae,
        "L0 (latents on at a token)": matrix.nnz / n,
        "dead share": float((density == 0).mean()),
        "dense share": float((density > DENSE).mean()),
        "texts": len(encoded),
        "tokens": n,
        "texts cut": int((encoded.truncated > 0).sum()),
        "seed": seed,
    }


def _provenance(model: Model, sae: SAE, chosen: list[int], encoded: Encoded, site: str, seed: int) -> dict[str, Any]:
    config = {"sae": sae.config.to_dict(), "latents": chosen, "site": site, "seed": seed}
    weights = {name: sha256_array(w.cpu().numpy()) for name, w in sae.weights().items()}
    inputs = {"model": model.fingerprint, "token ids": sha256_array(encoded.ids), **weights}
    return provenance(make_key(config, inputs, code_version=CODE_VERSION), seed=seed)


def _random_cosines(sae: SAE, neurons: Neurons | None) -> dict[str, float]:
    n_latents, d = sae.W_dec.shape
    found = {"latents": random_largest_cosine(d, n_latents - 1, 0.5, two_sided=False)}
    return found if neurons is None else found | {"neurons": neurons.null}
