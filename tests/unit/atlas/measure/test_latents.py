"""Latents on the map: planted fields, countries, noise, and the reading of a real SAE."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.neighbors import BallTree

from interp.atlas.measure.latents import (
    LEVELS,
    SHUFFLED,
    latent_rows,
    layout,
    layout_rows,
    nearest_cities,
    read_latents,
)
from interp.atlas.measure.readings import READINGS, Reading
from interp.capturing import capture
from interp.errors import InvalidInput, SaeMismatch
from interp.sae import SaeConfig, TopKSAE
from interp.stats import moran_i
from interp.testing import tiny_model

from .reciter import small_corpus


def geo():
    return small_corpus().geography


def country():
    return np.unique(np.array(geo().iso)[geo().world.seen], return_inverse=True)[1]


def planted():
    """Latents [city, 6]: the north-east quarter; one large country; its north; noise; on at 9 cities; never on."""
    rng, seen = np.random.default_rng(0), geo().world.seen
    lat, lon, iso = (np.array(x)[seen] for x in (geo().lat, geo().lon, geo().iso))
    columns = np.zeros((len(seen), 6))
    columns[:, 0] = np.where((lat > 20) & (lon > 60), 1.0 + 0.01 * lat, 0)
    columns[:, 1] = iso == "CN"
    columns[:, 2] = np.where(iso == "CN", np.clip(lat - 25, 0, None), 0)
    columns[:, 3] = np.where(rng.random(len(seen)) < 0.3, rng.random(len(seen)), 0)
    columns[:9, 4] = 1.0
    return sparse.csr_matrix(columns)


def test_weights_join_each_seen_city_with_its_eight_nearest():
    graph = nearest_cities(geo())
    seen = geo().world.seen
    degrees = np.radians(np.column_stack([geo().lat, geo().lon])[seen])
    _, found = BallTree(degrees, metric="haversine").query(degrees, k=9)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((len(seen), 3))
    W = np.zeros((len(seen), len(seen)))
    for i, near in enumerate(found):
        W[i, [j for j in near if j != i][:8]] = 1 / 8
    z = x - x.mean(0)
    expected = np.einsum("if,ij,jf->f", z, W, z) / (z**2).sum(0)
    np.testing.assert_allclose(moran_i(x, graph, permutations=0).I, expected, rtol=1e-9)


def test_latents_that_are_on_somewhere_are_measured_and_told_apart():
    found = layout(planted(), nearest_cities(geo()), country(), seed=0, permutations=199)
    assert found.n_latents == 6
    assert len(found.I) == 4  # neither the one that is on at 9 cities nor the one that is never on
    assert found.I[:2].min() > 0.5
    assert abs(found.I[3]) < 0.1


def test_a_latent_that_marks_a_country_has_no_order_within_it():
    found = layout(planted(), nearest_cities(geo()), country(), seed=0, permutations=199)
    assert np.isnan(found.q[1])  # the same wherever it may be permuted
    assert found.q[2] < 0.05  # the north of that country
    assert found.q[3] > 0.05  # noise


def test_permuting_within_countries_leaves_what_countries_explain():
    weights = nearest_cities(geo())
    flags = planted()[:, [1, 1, 3, 3]]  # a country twice, noise twice
    found = layout(flags, weights, country(), seed=0, permutations=99)
    assert found.shuffled == (0.5, 0.5)
    smooth = smoothed(np.random.default_rng(5).standard_normal((len(country()), 1)), times=6)
    free = layout(sparse.csr_matrix(smooth), weights, np.zeros(len(smooth), dtype=int), seed=0, permutations=99)
    assert free.I[0] > LEVELS[1]
    assert free.shuffled == (0.0, 0.0)


def smoothed(x, *, times):
    """Smooth x over the map, shifted so that no value is 0."""
    seen = geo().world.seen
    position = np.full(len(geo().names), -1)
    position[seen] = np.arange(len(seen))
    near = position[geo().world.neighbours[seen]]
    for _ in range(times):
        x = x[near].mean(axis=1)
    return x + 10


def test_rows_stand_beside_the_random_sae_and_the_shuffles():
    weights = nearest_cities(geo())
    real = layout(planted(), weights, country(), seed=0, permutations=199)
    random = layout(planted()[:, [3, 5, 5, 5]], weights, country(), seed=0, permutations=199)
    on, low, high, ordered = layout_rows(real, random, group="g")
    above_low, above_high = (np.greater(real.I, level) for level in LEVELS)
    assert (on["value"], on["n"], on["random_weights"]) == (4 / 6, 6, 1 / 4)
    assert (low["n"], low["value"]) == (4, above_low.mean())
    assert (high["value"], high["random_weights"]) == (above_high.mean(), 0.0)
    assert (high["baseline"], high["baseline_name"]) == (real.shuffled[1], SHUFFLED)
    assert ordered["n"] == above_high.sum()
    assert ordered["value"] == np.mean(real.q[above_high] < 0.05)
    assert np.isnan(ordered["random_weights"])  # none of the random ones is above the level
    alone = layout_rows(real, None, group="g")
    assert all(np.isnan(row["random_weights"]) for row in alone)


def test_an_sae_that_is_never_on_has_rows_without_figures():
    nothing = layout(planted()[:, [4, 5]], nearest_cities(geo()), country(), seed=0)
    on, low, _, ordered = layout_rows(nothing, nothing, group="g")
    assert (on["value"], on["status"]) == (0.0, "ok")
    assert [row["status"] for row in (low, ordered)] == ["no sample", "no sample"]
    assert np.isnan([low["value"], low["baseline"], low["random_weights"]]).all()


@pytest.fixture(scope="module")
def model():
    return tiny_model(n_ctx=128)


def an_sae(fingerprint, site="resid_post.1", seed=0):
    rng = np.random.default_rng(seed)
    config = SaeConfig(
        architecture="topk", d_in=32, d_sae=64, k=4, site=site, bos="always", apply_b_dec_to_input=True,
        normalize_activations="none", decoder_norm="unit", model_fingerprint=fingerprint, activation="topk",
        input_scale=1.0, rescale_acts_by_decoder_norm=False, hook_name=None, model_name=None, context_size=None,
        dtype="float32",
    )  # fmt: skip
    import torch

    decoder = rng.standard_normal((64, 32))
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    weights = {"W_enc": decoder.T, "b_enc": np.zeros(64), "W_dec": decoder, "b_dec": np.zeros(32)}
    return TopKSAE(config, {name: torch.tensor(w, dtype=torch.float32) for name, w in weights.items()})


@pytest.mark.parametrize("reading", READINGS[:2])
def test_latents_are_encoded_at_each_token_and_then_pooled(model, reading):
    sae = an_sae(model.fingerprint)
    found = read_latents(model, sae, geo(), reading)
    for i, row in list(enumerate(geo().world.seen))[::40]:
        name = geo().names[row]
        pieces = capture(model, [reading.template.format(name=name)], "resid_post.1", pool="none")["resid_post.1"]
        latents = sae.encode(pieces).numpy()
        expected = latents.mean(0) if reading.pool == "name" else latents[-1]
        np.testing.assert_allclose(found[i].toarray()[0], expected, rtol=1e-3, atol=1e-4)


def test_an_sae_of_other_weights_is_refused(model):
    with pytest.raises(SaeMismatch, match="train it again"):
        read_latents(model, an_sae("0" * 64), geo(), READINGS[0])


def test_a_prompt_with_a_hub_is_refused(model):
    with pytest.raises(InvalidInput, match="alone"):
        read_latents(model, an_sae(model.fingerprint), geo(), Reading("{name} from {hub}", "last"))


def test_the_random_sae_of_the_same_site_stands_beside_each(model):
    twin = tiny_model(seed=1, n_ctx=128)
    saes = {f"atlas/{site}": an_sae(model.fingerprint, site) for site in ("resid_post.0", "resid_post.1")}
    rows = latent_rows(model, twin, geo(), saes, {"r": an_sae(twin.fingerprint, seed=3)}, seed=0, permutations=19)
    assert len({(row["measure"], row["group"]) for row in rows}) == len(rows) == 2 * 2 * 4
    on = {row["group"]: row["random_weights"] for row in rows if row["unit"] == "share of all latents"}
    assert [np.isnan(value) for value in on.values()] == [True, True, False, False]
