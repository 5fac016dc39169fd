"""The numbers that judge an SAE: against formulas over the whole set, and against rivals with a known score."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sae_planted import config_of, plant, random_sae

from interp.errors import InvalidInput, NonFinite, SaeMismatch
from interp.sae.config import topk_config
from interp.sae.density import latent_density
from interp.sae.evaluate import evaluate_sae
from interp.sae.topk import TopKSAE
from interp.sae.train import train_sae

SHIFT = 50.0  # a mean far from 0, as residual streams have
X = plant(rows=3000).activations + np.float32(SHIFT)


@pytest.fixture(scope="module")
def trained():
    sae, _ = train_sae(
        X, topk_config(32, 64, k=3), seed=0, steps=300, batch_size=128, buffer=1024, lr=3e-3, progress=False
    )
    return sae


def values(table: pd.DataFrame, column: str = "value") -> dict[str, float]:
    return table.set_index("metric")[column].to_dict()


def cosines(a, b) -> np.ndarray:
    a, b = (m.double().numpy() / np.linalg.norm(m.double().numpy(), axis=1, keepdims=True) for m in (a, b))
    return a @ b.T


def slope(x: np.ndarray, out: np.ndarray) -> float:
    """Least squares through the origin of the centred values, all entries of all rows together."""
    x, out = x - x.mean(axis=0), out - out.mean(axis=0)
    return float(np.linalg.lstsq(out.reshape(-1, 1), x.ravel(), rcond=None)[0][0])


def test_metrics_equal_their_formulas_over_the_whole_set(trained):
    found = values(evaluate_sae(trained, X, seed=0))
    x, out = X.astype(np.float64), trained(X).double().numpy()
    on = trained.encode(X).numpy() > 0
    fvu = ((x - out) ** 2).sum() / ((x - x.mean(axis=0)) ** 2).sum()
    cosine = (x * out).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(out, axis=1)
    density = on.mean(axis=0)
    expected = {
        "l0": on.sum(axis=1).mean(),
        "fvu": fvu,
        "explained_variance": 1 - fvu,
        "cosine": cosine.mean(),
        "norm_ratio": (np.linalg.norm(out, axis=1) / np.linalg.norm(x, axis=1)).mean(),
        "slope": slope(x, out),
        "dead_share": (density == 0).mean(),
        "dense_share": (density > 0.1).mean(),
        "density_median": np.median(density[density > 0]),
        "encoder_decoder_cosine": cosines(trained.W_enc.T, trained.W_dec).diagonal().mean(),
        "nearest_cosine": (cosines(trained.W_dec, trained.W_dec) - 2 * np.eye(64)).max(axis=1).mean(),
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-6), name


def test_mean_predictor_scores_exactly_nothing(trained):
    null = values(evaluate_sae(trained, X, seed=0), "null_mean_predictor")
    assert null["fvu"] == 1.0
    assert null["explained_variance"] == 0.0
    assert null["l0"] == 0.0
    x = X.astype(np.float64)
    mean = x.mean(axis=0)
    cosine = (x @ mean / np.linalg.norm(x, axis=1) / np.linalg.norm(mean)).mean()
    assert null["cosine"] == pytest.approx(cosine, rel=1e-9)
    ratio = (np.linalg.norm(mean) / np.linalg.norm(x, axis=1)).mean()
    assert null["norm_ratio"] == pytest.approx(ratio, rel=1e-9)
    assert np.isnan(null["slope"])


def test_sae_that_answers_the_mean_scores_like_the_mean_predictor():
    mean = torch.from_numpy(X.astype(np.float64).mean(axis=0)).float()
    weights = random_sae(config_of("topk", d_in=32, d_sae=64, k=3)).weights()
    weights = {**weights, "b_dec": mean, "b_enc": torch.full((64,), -1e6)}  # never on
    found = values(evaluate_sae(TopKSAE(topk_config(32, 64, k=3), weights), X, seed=0))
    assert found["fvu"] == pytest.approx(1.0, abs=1e-6)
    assert found["explained_variance"] == pytest.approx(0.0, abs=1e-6)
    assert found["dead_share"] == 1.0
    assert np.isnan(found["slope"])


@pytest.mark.parametrize("shrink", [0.5, 1.0, 1.25])
def test_planted_shrinkage_is_the_slope(shrink):
    eye = torch.eye(32)
    both = {"W_enc": torch.cat([eye, -eye], dim=1), "W_dec": shrink * torch.cat([eye, -eye]), "b_enc": torch.zeros(64)}
    b_dec = torch.from_numpy(X.mean(axis=0))
    config = topk_config(32, 64, k=64, decoder_norm="free")
    found = values(evaluate_sae(TopKSAE(config, {**both, "b_dec": b_dec}), X, seed=0))
    assert found["slope"] == pytest.approx(1 / shrink, rel=1e-4)
    assert found["fvu"] == pytest.approx((1 - shrink) ** 2, abs=1e-6)


def test_norm_ratio_of_a_reconstruction_that_is_half_as_long():
    eye = torch.eye(32)
    weights = {"W_enc": torch.cat([eye, -eye], dim=1), "W_dec": torch.cat([eye, -eye]) / 2, "b_enc": torch.zeros(64)}
    sae = TopKSAE(topk_config(32, 64, k=64, decoder_norm="free"), {**weights, "b_dec": torch.zeros(32)})
    table = evaluate_sae(sae, X, seed=0).set_index("metric")
    assert table.loc["norm_ratio", "value"] == pytest.approx(0.5, rel=1e-6)
    assert table.loc["cosine", "value"] == pytest.approx(1.0, abs=1e-6)


def test_perfect_sae_explains_everything():
    eye = torch.eye(32)
    weights = {"W_enc": torch.cat([eye, -eye], dim=1), "W_dec": torch.cat([eye, -eye]), "b_enc": torch.zeros(64)}
    sae = TopKSAE(topk_config(32, 64, k=64), {**weights, "b_dec": torch.zeros(32)})
    found = values(evaluate_sae(sae, X, seed=0))
    assert found["fvu"] == pytest.approx(0.0, abs=1e-9)
    assert found["cosine"] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("sizes", [[3000], [1, 999, 2000], [500] * 6, [1500, 0, 1500]])
def test_streaming_equals_one_shot(trained, sizes):
    whole = evaluate_sae(trained, X, seed=0)
    parts = np.split(X, np.cumsum(sizes)[:-1])
    streamed = evaluate_sae(trained, iter(parts), seed=0)
    for column in ("value", "ci_low", "ci_high", "null_mean_predictor"):  # the rival is fitted on the first chunk
        np.testing.assert_allclose(streamed[column], whole[column], rtol=1e-5)


def test_planted_sae_beats_a_random_dictionary(trained):
    table = evaluate_sae(trained, X, seed=0).set_index("metric")
    assert table.loc["fvu", "value"] < 0.3
    assert table.loc["fvu", "null_random_sae"] > 0.5
    assert table.loc["l0", "null_random_sae"] == pytest.approx(3, abs=0.01)


def test_random_sae_is_not_better_than_its_own_null():
    rng = np.random.default_rng(5)
    W = torch.from_numpy(rng.standard_normal((64, 32))).float()
    W = W / W.norm(dim=1, keepdim=True)
    b_dec = torch.from_numpy(X.mean(axis=0))
    sae = TopKSAE(topk_config(32, 64, k=3), {"W_enc": W.T, "W_dec": W, "b_enc": torch.zeros(64), "b_dec": b_dec})
    table = evaluate_sae(sae, X, seed=0).set_index("metric")
    assert table.loc["fvu", "value"] >= table.loc["fvu", "null_random_sae"] - 0.05


def test_interval_covers_the_value_of_the_whole_population(trained):
    truth = values(evaluate_sae(trained, X, seed=0))["fvu"]
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(60):
        rows = evaluate_sae(trained, X[rng.choice(3000, 150, replace=False)], seed=0).set_index("metric")
        hits += rows.loc["fvu", "ci_low"] <= truth <= rows.loc["fvu", "ci_high"]
    assert hits >= 50  # 95 % nominal: fewer has probability < 1e-3


def test_interval_of_tokens_that_repeat_in_a_text_is_wider():
    sae = random_sae(config_of("standard", d_in=32, d_sae=64))
    texts = np.repeat(np.arange(100), 30)
    rows = X[:100][texts]  # thirty times the same token in each text: 100 samples, not 3,000
    by_row = evaluate_sae(sae, rows, seed=0).set_index("metric").loc["fvu"]
    by_text = evaluate_sae(sae, rows, seed=0, text_index=texts).set_index("metric").loc["fvu"]
    assert (by_row["interval_over"], by_text["interval_over"]) == ("rows", "texts")
    ratio = (by_text["ci_high"] - by_text["ci_low"]) / (by_row["ci_high"] - by_row["ci_low"])
    assert ratio == pytest.approx(np.sqrt(30), rel=0.3)


def test_interval_by_text_does_not_depend_on_the_chunks(trained):
    texts = np.repeat(np.arange(100), 30)
    whole = evaluate_sae(trained, X, seed=0, text_index=texts)
    parts = evaluate_sae(trained, np.array_split(X, 7), seed=0, text_index=texts)
    np.testing.assert_allclose(whole["ci_low"], parts["ci_low"], rtol=1e-5)


@pytest.mark.parametrize("n", [2999, 3001])
def test_text_index_of_another_length_is_refused(trained, n):
    with pytest.raises(InvalidInput, match="text_index"):
        evaluate_sae(trained, X, seed=0, text_index=np.zeros(n, np.int64))


def test_rival_of_a_jumprelu_sae_is_on_as_often():
    sae = random_sae(config_of("jumprelu", d_in=32, d_sae=64))
    table = evaluate_sae(sae, X[:1000], seed=0).set_index("metric")
    for name in ("l0", "dead_share", "dense_share", "density_median"):
        assert table.loc[name, "null_random_sae"] == pytest.approx(table.loc[name, "value"], rel=1e-9), name


def test_same_seed_same_table(trained):
    pd.testing.assert_frame_equal(evaluate_sae(trained, X, seed=3), evaluate_sae(trained, X, seed=3))


def test_constant_activations_have_no_fvu_and_say_why():
    sae = random_sae(config_of("topk", d_in=32, d_sae=64, k=3))
    table = evaluate_sae(sae, np.ones((50, 32), np.float32), seed=0).set_index("metric")
    assert np.isnan(table.loc["fvu", "value"])
    assert table.loc["fvu", "status"].startswith("constant activations")
    assert table.loc["l0", "status"] == "ok"


def test_density_is_the_share_of_rows(trained):
    expected = (trained.encode(X).numpy() > 0).mean(axis=0)
    np.testing.assert_allclose(latent_density(trained, np.array_split(X, 7)), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("rows", "error"),
    [([], InvalidInput), (X[:1], InvalidInput), (X[:, :5], SaeMismatch), (np.full((9, 32), np.nan), NonFinite)],
)
def test_rows_that_cannot_be_judged_are_refused(trained, rows, error):
    with pytest.raises(error):
        evaluate_sae(trained, rows, seed=0)


def test_transcoder_is_not_judged_by_what_it_reads(make_sae):
    sae = make_sae("standard", apply_b_dec_to_input=False, d_out=12, skip_connection=False)
    with pytest.raises(InvalidInput, match="a transcoder predicts another place"):
        evaluate_sae(sae, np.zeros((5, 12), dtype=np.float32), seed=0)
