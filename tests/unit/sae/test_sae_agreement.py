"""Whether two SAEs agree: a shuffled copy does wholly, independent random dictionaries not beyond chance."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from sae_planted import config_of, random_sae

from interp.errors import InvalidInput, SaeMismatch
from interp.sae.agreement import compare_saes, match_latents, stability


def small(seed: int, **stated):
    return random_sae(config_of("standard", d_in=16, d_sae=48, **stated), seed=seed)


def rebuilt(sae, order, *, decoder=None, encoder=None):
    """The SAE with its latents in another order and, where given, other directions."""
    weights = dict(sae.weights())
    weights["W_dec"] = (weights["W_dec"] if decoder is None else decoder)[order]
    weights["W_enc"] = (weights["W_enc"] if encoder is None else encoder)[:, order]
    return type(sae)(sae.config.with_(decoder_norm="free"), weights | {"b_enc": weights["b_enc"][order]})


def values(table, band="all", column="value"):
    return table[table["band"] == band].set_index("metric")[column].to_dict()


def test_shuffled_copy_agrees_wholly():
    a = small(0)
    order = np.random.default_rng(1).permutation(48)
    b = rebuilt(a, order, decoder=3 * a.W_dec)
    found = values(compare_saes(a, b, seed=0))
    assert found == pytest.approx(dict.fromkeys(found, 1.0), abs=1e-6)
    pairs = match_latents(a, b)
    assert (order[pairs["latent_b"]] == pairs["latent_a"]).all()
    assert pairs["encoder_agrees"].all()


def test_independent_random_dictionaries_do_not_agree_beyond_chance():
    tables = [compare_saes(small(i), small(100 + i), seed=i, n_boot=0) for i in range(30)]
    p = np.array([values(t, column="p")["matched_cosine"] for t in tables])
    z = [(t.loc[0, "value"] - t.loc[0, "null_mean"]) / t.loc[0, "null_sd"] for t in tables]
    assert (p <= 0.05).sum() <= 6  # 1.5 expected; more than 6 has probability 5e-4
    assert abs(np.mean(z)) < 0.8  # 30 values of sd about 1.1


def test_half_shared_dictionary_shares_half():
    a, other = small(0), small(1)
    keep = torch.arange(48)[:, None] < 24
    b = rebuilt(a, np.arange(48), decoder=torch.where(keep, a.W_dec, other.W_dec))
    table = compare_saes(a, b, seed=0)
    found = values(table)
    assert 0.5 <= found["shared"] < 0.6
    assert found["shared_both"] >= 0.5
    assert values(table, column="p")["shared"] == pytest.approx(0.05)
    assert values(table, column="ci_low")["shared"] < 0.5 < values(table, column="ci_high")["shared"]


def test_matching_is_the_best_of_all_matchings():
    a, b = (random_sae(config_of("standard", d_in=5, d_sae=6), seed=s) for s in (0, 1))
    cosine = (a.W_dec @ b.W_dec.T).double().numpy()
    best = max(sum(cosine[i, j] for i, j in enumerate(order)) for order in permutations(range(6)))
    assert match_latents(a, b)["cosine"].sum() == pytest.approx(best, rel=1e-6)


def test_many_latents_that_name_the_same_one_are_matched_once():
    a = small(0)
    W = a.W_dec.clone()
    W[:10] = W[0]
    b = rebuilt(a, np.arange(48), decoder=W)
    found = values(compare_saes(b, a, seed=0, n_null=0))
    assert found["best_cosine_a"] == pytest.approx(1.0, abs=1e-6)
    assert found["matched_cosine"] < 0.98


def test_reading_from_elsewhere_is_not_shared_by_both():
    a = small(0)
    b = rebuilt(a, np.arange(48), encoder=small(1).W_enc)
    found = values(compare_saes(a, b, seed=0))
    assert found["shared"] == 1.0
    assert found["shared_both"] < 0.2


def test_null_of_flat_dictionaries_is_flat_too():
    squash = torch.tensor([10.0] * 2 + [0.1] * 14)
    a, b = (rebuilt(s, np.arange(48), decoder=s.W_dec * squash) for s in (small(0), small(1)))
    table = compare_saes(a, b, seed=0, n_boot=0)
    assert values(table)["matched_cosine"] > 0.85  # nearly two dimensions: anything matches (0.5 in sixteen)
    assert values(table, column="null_mean")["matched_cosine"] > 0.85
    assert values(table, column="p")["matched_cosine"] > 0.05


def test_bands_split_the_living_latents_by_frequency():
    a = small(0)
    keep = torch.arange(48)[:, None] >= 24
    b = rebuilt(a, np.arange(48), decoder=torch.where(keep, a.W_dec, small(1).W_dec))
    density = np.arange(48) / 48
    table = compare_saes(a, b, seed=0, density=density, n_null=1)
    n = table[table["metric"] == "shared"].set_index("band")["n"].to_dict()
    assert n == {"all": 48, "dead": 1, "rare third": 16, "middle third": 16, "frequent third": 15}
    assert values(table, "frequent third")["shared"] == 1.0
    assert values(table, "rare third")["shared"] < 0.5


def test_band_without_latents_says_so():
    table = compare_saes(small(0), small(1), seed=0, density=np.full(48, 0.5), n_null=2)
    dead = table[table["band"] == "dead"]
    assert dead["status"].str.startswith("no latent to compare").all()
    assert dead[["value", "ci_low", "p"]].isna().all(axis=None)


def test_smaller_sae_is_matched_whole():
    a, b = small(0), random_sae(config_of("standard", d_in=16, d_sae=20), seed=1)
    assert len(match_latents(a, b)) == 20
    table = compare_saes(a, b, seed=0, n_null=1)
    assert table.set_index("metric").loc["shared", "n"] == 20


def test_every_pair_is_compared_and_the_seed_decides():
    saes = [small(i) for i in range(3)]
    table = stability(saes, seed=0, n_null=2)
    assert sorted(set(zip(table["a"], table["b"], strict=True))) == [(0, 1), (0, 2), (1, 2)]
    assert table.equals(stability(saes, seed=0, n_null=2))


def test_saes_of_other_widths_are_refused():
    with pytest.raises(SaeMismatch, match="16"):
        compare_saes(small(0), random_sae(config_of("standard", d_in=12, d_sae=48)), seed=0)


@pytest.mark.parametrize("call", [lambda: stability([small(0)], seed=0), lambda: stability([small(0)] * 2, seed=0,
    densities=[np.ones(48)]), lambda: compare_saes(small(0), small(1), seed=0, density=np.ones(3))])  # fmt: skip
def test_what_cannot_be_compared_is_refused(call):
    with pytest.raises(InvalidInput):
        call()
