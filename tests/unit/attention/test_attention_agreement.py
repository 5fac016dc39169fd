"""Weights, attribution and ablations: equal to a loop, in agreement where heads are planted, and not by chance."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from analyses.attention import attribution_agreement, check_sae_fit, decoder_head_share
from analyses.attention.ablations import MEASURES, correlations
from analyses.attention.reading import read_attention
from analyses.attention.token_rows import token_rows
from interp.errors import InvalidInput, SaeMismatch
from interp.testing import tiny_model


@pytest.fixture(scope="module")
def found(planted, planted_rows):
    return attribution_agreement(planted.model, planted.sae, planted_rows, seed=0, n_latents=60, n_boot=50, n_perm=99)


def test_every_measure_names_the_planted_head(found, planted):
    table = found.table.merge(planted.latents, on="latent", suffixes=("", "_true"))
    real = table[table["head_true"] >= 0]
    for name in ("share", "dfa", "zero"):
        top = real.loc[real.groupby("latent")[name].idxmax()]
        assert (top["head"] == top["head_true"]).all(), name


def test_correlations_are_scipys_and_better_than_permuted(found):
    table = found.tables["correlations"].set_index(["a", "b"])
    assert len(table) == 10
    assert table.loc[("share", "dfa"), "spearman"] == pytest.approx(
        spearmanr(found.table["share"], found.table["dfa"])[0]
    )
    assert (table["p"] <= 0.02).all()
    assert (table["null_mean"].abs() < 0.2).all()
    assert (table["ci_low"] <= table["spearman"] + 1e-9).all()


def test_the_p_is_uniform_where_measures_have_nothing_in_common():
    rng = np.random.default_rng(0)
    p = []
    for seed in range(20):
        base = pd.DataFrame({"latent": np.repeat(np.arange(12), 4), "head": np.tile(np.arange(4), 12)})
        table = base.assign(**{name: rng.random(48) for name in MEASURES})
        p += correlations(table, seed=seed, n_boot=0, n_perm=39)["p"].tolist()
    assert np.mean(np.array(p) <= 0.05) < 0.1


def test_ablations_are_those_of_a_loop(tiny, make_sae, random_rows):
    sae = make_sae(tiny)
    result = attribution_agreement(
        tiny, sae, random_rows, seed=0, latents=[3, 8], per_latent=2, n_boot=0, n_perm=0, allow_unfit=True
    )
    rows = token_rows(tiny, random_rows)
    z = read_attention(tiny, rows, [1])[1].z
    content = z[torch.from_numpy(rows.content)]
    acts = sae.encode(content.flatten(1))
    for latent in (3, 8):
        best = acts[:, latent].argsort(descending=True)[: int(min(2, (acts[:, latent] > 0).sum()))]
        part = result.table[result.table["latent"] == latent].set_index("head")
        for head in range(4):
            for name, fill in (("zero", torch.zeros(8)), ("mean", content.mean(dim=0)[head])):
                cut = content[best].clone()
                cut[:, head] = fill
                fall = (acts[best, latent] - sae.encode(cut.flatten(1))[:, latent]).mean()
                assert part.loc[head, name] == pytest.approx(float(fall), rel=1e-4, abs=1e-5)
        total = part["dfa"].sum() + float(sae.b_enc[latent] - sae.b_dec @ sae.W_enc[:, latent])
        assert total == pytest.approx(float(acts[best, latent].mean()), rel=1e-4)


def test_latents_that_are_never_on_are_refused(planted, planted_rows):
    dead = planted.latents.loc[planted.latents["family"] == "dead", "latent"].tolist()
    with pytest.raises(InvalidInput, match="none of these latents"):
        attribution_agreement(planted.model, planted.sae, planted_rows, seed=0, latents=dead)


def test_decoder_shares_are_sums_of_norms(planted, tiny, make_sae):
    table = decoder_head_share(planted.sae).merge(planted.latents, on="latent", suffixes=("", "_true"))
    own = table[table["head"] == table["head_true"]]
    np.testing.assert_allclose(own["share"], 1)
    np.testing.assert_allclose(own["effective_heads"], 1)
    sae = make_sae(tiny)
    norms = sae.W_dec.reshape(40, 4, 8).norm(dim=2)
    found = decoder_head_share(sae).pivot(index="latent", columns="head", values="share")
    np.testing.assert_allclose(found, norms / norms.sum(dim=1, keepdim=True), rtol=1e-5)
    assert 3 < decoder_head_share(sae)["random_effective_heads"].iloc[0] < 4
    with pytest.raises(SaeMismatch, match="give n_heads="):
        decoder_head_share(sae, n_heads=3)


def test_a_dead_decoder_row_has_a_reason(tiny, make_sae):
    sae = make_sae(tiny, seed=9)
    sae.W_dec[4] = 0
    table = decoder_head_share(sae).set_index("latent")
    assert table.loc[4, "share"].isna().all()
    assert (table.loc[4, "status"] != "ok").all()


def test_an_sae_that_fits_has_no_such_warning_and_one_of_folded_values_has(planted, planted_rows, make_sae):
    good = check_sae_fit(planted.model, planted.sae, planted_rows[:24], seed=0, n_boot=20)
    value = good.set_index("metric")["value"]
    assert value["explained_variance"] > 0.85
    assert not any("does not fit" in text for text in good.attrs["warnings"])
    model = tiny_model(architecture="gpt2", seed=2)
    for block in model.bridge.blocks:
        block.attn.v.bias.data += 3.0
    rows = [np.concatenate([[0], np.random.default_rng(i).integers(2, 300, size=20)]) for i in range(4)]
    bad = check_sae_fit(model, make_sae(model), rows, seed=0, n_boot=20)
    text = " ".join(bad.attrs["warnings"])
    assert "does not fit" in text
    assert "fold_value_biases" in text
    assert bad.set_index("metric")["value"]["b_V_shift"] > 0.1
