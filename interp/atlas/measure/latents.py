"""How much of geography is laid out in the latents of the bundled SAEs.

A latent is read at each city of the texts and its spatial autocorrelation (Moran's I, eight nearest cities) is
measured. A latent that marks a country has a large I and says nothing about places within it: so I is also set
beside that of the same values permuted among the cities of each country, and tested against such permutations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from interp.atlas.measure.readings import READINGS, Reading
from interp.atlas.measure.rows import share_row
from interp.capturing import capture
from interp.errors import InvalidInput, SaeMismatch
from interp.latents import pool_token_latents
from interp.stats import MoranGraph, benjamini_hochberg, moran_i, permutation_indices

if TYPE_CHECKING:
    from interp.atlas.corpus import Geography
    from interp.models import Model
    from interp.sae import SAE

LATENT_READINGS = READINGS[:2]
MIN_CITIES = 10
LEVELS = (0.3, 0.5)
N_SHUFFLED = 20
SHUFFLED = "values permuted within each country"


@dataclass(frozen=True)
class Layout:
    """How the latents of one SAE lie on the map.

    n_latents: of the SAE. I: of the latents that could be measured, float64 [measured]; shuffled: mean share above
    each of `LEVELS` of the same latents with values permuted within countries. q: of the test against such
    permutations, [measured], NaN where a latent is constant within every country.
    """

    n_latents: int
    I: np.ndarray  # noqa: E741 - its name in every text on the subject
    shuffled: tuple[float, ...]
    q: np.ndarray


def latent_rows(
    model: Model,
    twin: Model,
    geo: Geography,
    saes: Mapping[str, SAE],
    random_saes: Mapping[str, SAE],
    *,
    seed: int,
    permutations: int = 999,
) -> list[dict[str, Any]]:
    """Return the rows of every SAE: latents in use, with a large I, and with an order within countries.

    Args:
        saes: name -> an SAE of the model. random_saes: name -> an SAE of the random-weights twin; the one that reads
            the same site stands beside each SAE, where there is one.

    Raises:
        SaeMismatch: an SAE that was trained on other weights than it would be used with.
    """
    weights = nearest_cities(geo)
    country = np.unique(np.array(geo.iso)[geo.world.seen], return_inverse=True)[1]
    beside = {sae.config.site: sae for sae in random_saes.values()}
    out = []
    for name, sae in saes.items():
        for reading in LATENT_READINGS:
            real, random = (
                None if s is None else layout(
                    read_latents(m, s, geo, reading), weights, country, seed=seed, permutations=permutations
                )
                for m, s in ((model, sae), (twin, beside.get(sae.config.site)))
            )  # fmt: skip
            assert real is not None
            out += layout_rows(real, random, group=f"{name}, {reading.label}")
    return out


def nearest_cities(geo: Geography) -> MoranGraph:
    """Return row-standardised weights between each seen city and its eight nearest, in the order of the seen ones."""
    seen = geo.world.seen
    position = np.full(len(geo.names), -1)
    position[seen] = np.arange(len(seen))
    columns = position[geo.world.neighbours[seen]]
    n, k = columns.shape
    rows = np.repeat(np.arange(n), k)
    return MoranGraph.from_weights(sparse.csr_array((np.full(n * k, 1 / k), (rows, columns.ravel())), shape=(n, n)))


def read_latents(model: Model, sae: SAE, geo: Geography, reading: Reading) -> sparse.csr_matrix:
    """Return the latents of each seen city, CSR [city, latent]: every token encoded, then the mean over the name, or
    the last token of the prompt.

    Raises:
        SaeMismatch: the SAE was trained on other weights. InvalidInput: it states no site, or a prompt has a hub.
    """
    config = sae.config
    if config.site is None or "{hub}" in reading.template:
        raise InvalidInput(f"an SAE with a site and a prompt with {{name}} alone are needed, not {config.site!r} and "
                           f"{reading.template!r}.")  # fmt: skip
    if config.model_fingerprint not in (None, model.fingerprint):
        raise SaeMismatch(
            f"the SAE at {config.site} was trained on weights {str(config.model_fingerprint)[:12]}..., and the model "
            f"given has {model.fingerprint[:12]}...; train it again on this model."
        )
    names = [geo.names[row] for row in geo.world.seen]
    texts = [reading.template.format(name=name) for name in names]
    start = reading.template.index("{name}")
    spans = [(start, start + len(name)) for name in names] if reading.pool == "name" else None
    acts = capture(model, texts, config.site, pool="last" if spans is None else "none", spans=spans)
    text_index = np.arange(len(texts)) if spans is None else np.repeat(np.arange(len(texts)), acts.tokens_per_text)
    return pool_token_latents(sae, acts[config.site], text_index, len(texts), how="mean")


def layout(latents: Any, weights: MoranGraph, country: np.ndarray, *, seed: int, permutations: int = 999) -> Layout:
    """Measure the latents [city, latent] that are on at `MIN_CITIES` cities or more.

    Args:
        latents: scipy sparse. country: int [city], within which values are permuted.
    """
    columns = latents.tocsc()
    plain = moran_i(columns, weights, permutations=0, min_active=MIN_CITIES)
    on = (plain.status == "ok") & (np.diff(columns.indptr) >= MIN_CITIES)
    if not on.any():
        return Layout(latents.shape[1], np.empty(0), (np.nan,) * len(LEVELS), np.empty(0))
    values = columns[:, np.flatnonzero(on)].tocsr()
    within = moran_i(values, weights, permutations=permutations, groups=country, seed=seed, min_active=MIN_CITIES)
    above = []
    # other permutations than those of the test, which are numbered from 0
    for order in permutation_indices(len(country), N_SHUFFLED, seed=seed, start=permutations, groups=country):
        again = moran_i(values[order], weights, permutations=0, min_active=MIN_CITIES).I
        above.append([(again > level).mean() for level in LEVELS])
    shares = tuple(float(share) for share in np.mean(above, axis=0))
    return Layout(latents.shape[1], plain.I[on], shares, benjamini_hochberg(within.p_perm))


def layout_rows(real: Layout, random: Layout | None, *, group: str) -> list[dict[str, Any]]:
    """Return the rows of one SAE beside the SAE of the random-weights twin (None: there is none)."""

    def twin(share: Any) -> float:
        return np.nan if random is None or not len(share(random)) else float(share(random).mean())

    def in_use(x: Layout) -> np.ndarray:
        return np.arange(x.n_latents) < len(x.I)

    def above(x: Layout, level: float) -> np.ndarray:
        return np.greater(x.I, level)

    def ordered(x: Layout) -> np.ndarray:
        return x.q[above(x, LEVELS[1])] < 0.05  # NaN (constant within every country) is no order

    out = [
        share_row(f"latents on at {MIN_CITIES} cities or more", in_use(real), group=group, unit="share of all latents",
                  random=twin(in_use)),
    ]  # fmt: skip
    for i, level in enumerate(LEVELS):
        out.append(
            share_row(
                f"latents with Moran's I above {level}", above(real, level), group=group, unit="share of those on",
                random=twin(lambda x, level=level: above(x, level)), baseline=real.shuffled[i], baseline_name=SHUFFLED,
            )
        )  # fmt: skip
    unit = f"share of those with I above {LEVELS[1]} that have q < .05 within countries"
    out.append(
        share_row("latents ordered within countries", ordered(real), group=group, unit=unit, random=twin(ordered))
    )
    return out
