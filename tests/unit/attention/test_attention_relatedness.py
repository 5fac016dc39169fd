"""Are the top latents of a head related? Planted blocks and heads, chance, and a loop over pairs."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from analyses.attention import head_latent_relatedness
from analyses.attention.latent_sets import in_one, matched_sets, profile_likeness, set_likeness
from analyses.attention.relatedness import MEASURES, VIEWS, head_measures, relatedness_shares
from interp.errors import InvalidInput


@pytest.fixture(scope="module")
def table(planted, planted_rows):
    return head_latent_relatedness(
        planted.model, planted.sae, planted_rows, seed=0, ks=(5, 10), min_on=5, n_boot=50, n_null=99
    )


def blocks(seed, n=120):
    """Likeness in which the first 20 latents are alike and the others are not."""
    rng = np.random.default_rng(seed)
    noise = rng.random((n, n)) * 0.2
    likeness = noise + noise.T
    likeness[:20, :20] += 0.3
    return likeness, rng


def test_likeness_is_the_coefficient_of_a_loop():
    rng = np.random.default_rng(0)
    mass = rng.random((6, 9)) * (rng.random((6, 9)) < 0.5)
    mass[5] = 0
    found = profile_likeness(sparse.csr_array(mass))
    for i in range(5):
        for j in range(5):
            p, q = mass[i] / mass[i].sum(), mass[j] / mass[j].sum()
            assert found[i, j] == pytest.approx(np.sqrt(p * q).sum())
    assert (found[5] == 0).all()
    views = [found, 3 * found + 1]
    assert np.allclose(in_one(views), in_one([found]))  # neither scale nor offset of a view counts


def test_random_sets_have_the_rates_of_the_chosen_and_no_latent_twice():
    rate = np.random.default_rng(0).permutation(200)
    chosen = np.flatnonzero(rate >= 185)
    sets = matched_sets(chosen, rate, 50, np.random.default_rng(1))
    assert sets.shape == (50, 15)
    assert all(len(np.unique(rows)) == 15 for rows in sets)
    assert rate[sets].min() >= 180
    assert len(np.unique(sets)) == 20


def test_a_planted_set_is_related_and_its_mean_is_that_of_its_pairs():
    likeness, rng = blocks(0)
    chosen = np.arange(10)
    found = set_likeness(likeness, chosen, matched_sets(chosen, rng.random(120), 199, rng), rng, n_boot=200)
    pairs = likeness[:10, :10][np.triu_indices(10, 1)]
    assert found.value == pytest.approx(pairs.mean())
    assert found.low < found.value < found.high
    assert (found.p, found.related) == (1 / 200, 1.0)
    assert found.null_mean == pytest.approx(likeness[np.triu_indices(120, 1)].mean(), abs=0.02)


def test_random_sets_are_not_related():
    p, related = [], []
    for seed in range(200):
        likeness, rng = blocks(seed, n=60)
        chosen = rng.choice(60, size=10, replace=False)
        sets = matched_sets(chosen, rng.random(60), 99, rng)
        found = set_likeness(likeness, chosen, sets, rng, n_boot=0)
        p.append(found.p)
        related.append(found.related)
    assert np.mean(np.array(p) <= 0.05) < 0.09
    assert 0.4 < np.mean(p) < 0.6
    assert np.mean(related) < 0.1


def test_each_measure_ranks_the_latents_of_the_planted_heads_first(planted, table):
    own = table[(table["k"] == 5) & (table["view"] == "all") & table["head"].isin([0, 1, 3])]
    assert set(own["measure"]) == set(MEASURES)
    assert (own["value"] > 0.8).all()


def test_heads_of_one_role_read_by_one_relation_and_are_related_in_it(table):
    part = table[(table["view"] == "relations") & (table["k"] == 10)].set_index(["measure", "head"])
    for measure in MEASURES:
        for head in (0, 1):  # induction, duplicate
            assert part.loc[(measure, head), "q"] <= 0.05
            assert part.loc[(measure, head), "likeness"] > part.loc[(measure, 3), "likeness"]  # of two roles


def test_each_number_stands_in_the_table(table):
    assert set(table["view"]) == set(VIEWS)
    ok = table[table["status"] == "ok"]
    assert ((ok["ci_low"] <= ok["likeness"] + 1e-9) & (ok["likeness"] <= ok["ci_high"] + 1e-9)).mean() > 0.95
    assert (ok["q"] >= ok["p"] - 1e-12).all()
    shares = relatedness_shares(table)
    row = shares[(shares["measure"] == "share") & (shares["k"] == 10) & (shares["view"] == "relations")].iloc[0]
    mine = ok[(ok["measure"] == "share") & (ok["k"] == 10) & (ok["view"] == "relations")]
    assert row["n_related"] == (mine["q"] <= 0.05).sum()
    assert row["ci_low"] <= row["share"] <= row["ci_high"]
    assert row["n_all"] == (mine["related"] == 1).sum()


def test_attribution_is_that_of_a_loop(tiny, make_sae):
    sae = make_sae(tiny)
    rng = np.random.default_rng(0)
    z, on = rng.standard_normal((30, 4, 8)), rng.random((30, 40)) < 0.3
    sums = np.einsum("ti,thd->ihd", on, z)
    found = head_measures(sae, sums, on.sum(axis=0), z.mean(axis=0), 4)
    W = sae.W_enc.numpy().reshape(4, 8, 40)
    for latent in (0, 7):
        given = np.array([[z[t, h] @ W[h, :, latent] for h in range(4)] for t in np.flatnonzero(on[:, latent])])
        even = np.array([z[:, h].mean(axis=0) @ W[h, :, latent] for h in range(4)])
        for name, loop in (("dfa", given.mean(axis=0)), ("mean ablation", given.mean(axis=0) - even)):
            assert np.allclose(found[name][latent], loop / np.abs(loop).sum(), atol=1e-6)


def test_too_few_latents_give_a_status(planted, planted_rows):
    found = head_latent_relatedness(
        planted.model, planted.sae, planted_rows[:16], seed=0, ks=(10, 400), min_on=5, n_boot=0, n_null=19
    )
    many = found[found["k"] == 400]
    assert (many["status"] == "fewer than 800 latents to choose from").all()
    assert many["p"].isna().all()
    assert isinstance(relatedness_shares(found), pd.DataFrame)
    with pytest.raises(InvalidInput, match="3 or more"):
        head_latent_relatedness(planted.model, planted.sae, planted_rows[:4], seed=0, ks=(2,))
