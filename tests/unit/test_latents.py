"""Sparse latents hold the same numbers as dense ones, and pooling them is exact."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy import sparse

from interp.errors import CorruptArtifact, InvalidInput, NonFinite, SaeMismatch
from interp.latents import Latents, encode_latents, pool_token_latents
from interp.sae.config import topk_config
from interp.sae.relu import StandardSAE
from interp.sae.topk import TopKSAE

D_IN, D_SAE, K = 10, 30, 4
SOURCE = {"site": "resid_post.1", "pool": "last"}


def make_sae(architecture: str = "topk", seed: int = 0):
    rng = np.random.default_rng(seed)
    W_dec = torch.from_numpy(rng.standard_normal((D_SAE, D_IN))).float()
    weights = {
        "W_enc": torch.from_numpy(rng.standard_normal((D_IN, D_SAE))).float(),
        "b_enc": torch.from_numpy(rng.standard_normal(D_SAE)).float(),
        "W_dec": W_dec / W_dec.norm(dim=1, keepdim=True),
        "b_dec": torch.zeros(D_IN),
    }
    config = topk_config(D_IN, D_SAE, k=K, site="resid_post.1", model_fingerprint="abc")
    if architecture == "standard":
        return StandardSAE(config.with_(architecture="standard", activation="relu", k=None), weights)
    return TopKSAE(config, weights)


def acts(n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, D_IN)).astype(np.float32)


def small() -> Latents:
    dense = np.array([[0, 2, 0, 1], [0, 5, 0, 0], [0, 2, 3, 0]], dtype=np.float32)
    return Latents(sparse.csr_matrix(dense), ("a", "b", "c"), np.array([1, 2, 3]), {"site": "z.0"})


@pytest.mark.parametrize("architecture", ["topk", "standard"])
@pytest.mark.parametrize("batch", [1, 7, 4096])
def test_sparse_latents_equal_dense_encoding(architecture, batch):
    sae, x = make_sae(architecture), acts(50)
    found = encode_latents(sae, x, ids=range(50), n_tokens=np.ones(50, int), source=SOURCE, batch=batch)
    dense = sae.encode(x).numpy()
    np.testing.assert_allclose(found.matrix.toarray(), dense, rtol=1e-5, atol=1e-6)
    assert found.matrix.nnz == (dense > 0).sum()
    assert found.matrix.dtype == np.float32
    assert found.matrix.has_sorted_indices


def test_encoding_records_where_the_numbers_came_from():
    found = encode_latents(make_sae(), acts(3), ids="abc", n_tokens=[1, 1, 1], source=SOURCE)
    assert found.source["pool"] == "last"
    assert found.source["model_fingerprint"] == "abc"
    assert found.source["order"] == "pool then encode"


def test_source_that_contradicts_the_sae_is_refused():
    with pytest.raises(SaeMismatch, match=r"site of the activations is 'resid_post\.0'"):
        encode_latents(make_sae(), acts(3), ids="abc", n_tokens=[1, 1, 1], source={"site": "resid_post.0"})


TEXTS = np.array([0, 0, 0, 1, 2, 2, 1, 0])  # a text's tokens need not be neighbours


def dense_pool(dense: np.ndarray, index: np.ndarray, n: int, how: str) -> np.ndarray:
    """Pool dense latents text by text in float64."""
    reduce = {"mean": lambda a: a.mean(axis=0), "max": lambda a: a.max(axis=0), "last": lambda a: a[-1]}[how]
    return np.stack([reduce(dense[index == i].astype(np.float64)) for i in range(n)])


@pytest.mark.parametrize("how", ["mean", "max", "last"])
@pytest.mark.parametrize("batch", [1, 3, 4096])
@pytest.mark.parametrize("architecture", ["topk", "standard"])
def test_pooling_token_latents_equals_the_dense_way(how, batch, architecture):
    sae, x = make_sae(architecture), acts(len(TEXTS))
    found = pool_token_latents(sae, x, TEXTS, 3, how=how, batch=batch)
    expected = dense_pool(sae.encode(x).numpy(), TEXTS, 3, how)
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-5, atol=1e-6)
    assert found.nnz == (expected > 0).sum()
    assert found.has_sorted_indices


def test_mean_over_tokens_is_exact_in_float32():
    sae, x = make_sae(), acts(400)
    index = np.repeat(np.arange(4), 100)
    found = pool_token_latents(sae, x, index, 4, how="mean")
    values, indices = sae.encode_sparse(x)
    tokens = np.zeros((400, D_SAE))
    np.put_along_axis(tokens, indices.numpy(), values.numpy().astype(np.float64), axis=1)
    expected = tokens.reshape(4, 100, D_SAE).mean(axis=1).astype(np.float32)
    np.testing.assert_array_equal(found.toarray(), expected)


def test_pooling_and_encoding_do_not_commute():
    sae, x = make_sae(), acts(8)
    token_wise = pool_token_latents(sae, x, np.zeros(8, int), 1, how="mean").toarray()
    pooled = sae.encode(x.mean(axis=0, keepdims=True)).numpy()
    assert np.abs(token_wise - pooled).max() > 0.1


def test_text_without_tokens_is_refused_by_number():
    with pytest.raises(InvalidInput, match="text 1 has no token"):
        pool_token_latents(make_sae(), acts(3), np.array([0, 2, 2]), 3, how="mean")


@pytest.mark.parametrize("index", [[0, 1, 3], [0, -1, 1], [0, 1], [0.0, 1.0, 2.0]])
def test_text_index_that_does_not_fit_is_refused(index):
    with pytest.raises(InvalidInput, match="text_index"):
        pool_token_latents(make_sae(), acts(3), np.array(index), 3, how="max")


def test_unknown_pooling_is_refused():
    with pytest.raises(InvalidInput, match="how is 'mean', 'max' or 'last'"):
        pool_token_latents(make_sae(), acts(3), np.arange(3), 3, how="sum")  # type: ignore[arg-type]


def test_top_lists_active_samples_best_first_ties_in_order():
    rows = small().top(2)
    assert rows[["feature", "rank", "id", "value"]].values.tolist() == [
        [1, 0, "b", 5.0],
        [1, 1, "a", 2.0],
        [2, 0, "c", 3.0],
        [3, 0, "a", 1.0],
    ]


def test_top_equals_a_sort_of_each_column():
    found = encode_latents(make_sae(), acts(40), ids=range(40), n_tokens=[1] * 40, source={})
    dense = found.matrix.toarray()
    for feature, rows in found.top(3).groupby("feature"):
        order = np.argsort(-dense[:, int(feature)], kind="stable")[:3]
        assert rows["id"].tolist() == [i for i in order.tolist() if dense[i, int(feature)] > 0]


def test_active_counts_and_the_tidy_frame():
    latents = small()
    assert latents.n_active().tolist() == [0, 3, 1, 1]
    frame = latents.to_pandas()
    assert frame.values.tolist() == [
        ["a", 1, 1, 2.0],
        ["a", 1, 3, 1.0],
        ["b", 2, 1, 5.0],
        ["c", 3, 1, 2.0],
        ["c", 3, 2, 3.0],
    ]


def test_save_and_load_give_the_same(tmp_path):
    latents = small()
    again = Latents.load(latents.save(tmp_path / "latents"))
    assert (again.matrix != latents.matrix).nnz == 0
    assert again.matrix.dtype == np.float32
    assert again.ids == latents.ids
    assert again.n_tokens.tolist() == [1, 2, 3]
    assert again.source == latents.source


def test_no_samples_survive_a_round_trip(tmp_path):
    empty = encode_latents(make_sae(), acts(0), ids=(), n_tokens=[], source=SOURCE)
    assert Latents.load(empty.save(tmp_path / "latents")).matrix.shape == (0, D_SAE)


@pytest.mark.parametrize("name", ["latents.safetensors", "latents.json", "manifest.json"])
def test_flipped_bits_in_saved_latents_are_refused(tmp_path, name):
    folder = small().save(tmp_path / "latents")
    whole = (folder / name).read_bytes()
    for bit in np.random.default_rng(0).integers(0, 8 * len(whole), 100):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << (bit % 8)
        (folder / name).write_bytes(bytes(data))
        with pytest.raises(CorruptArtifact):
            Latents.load(folder)


def test_stored_zeros_and_duplicates_are_cleaned_without_touching_the_input():
    raw = sparse.csr_matrix((np.array([1.0, 2.0, 0.0]), np.array([3, 3, 1]), np.array([0, 3])), shape=(1, 4))
    latents = Latents(raw, ("a",), np.array([1]), {})
    assert latents.matrix.toarray().tolist() == [[0, 0, 0, 3]]
    assert latents.matrix.nnz == 1
    assert raw.nnz == 3


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"matrix": np.zeros((3, 4))}, "sparse matrix"),
        ({"ids": ("a", "b")}, "2 ids for 3 samples"),
        ({"ids": ("a", "b", "b")}, "id 'b' is given to more than one"),
        ({"ids": ("a", "b", 1.5)}, "string or an integer"),
        ({"n_tokens": np.array([1, 0, 2])}, "sample 1 has 0 tokens"),
        ({"n_tokens": np.array([1.0, 1.0, 2.0])}, "one integer a sample"),
        ({"n_tokens": np.array([1, 2])}, "one integer a sample"),
    ],
)
def test_what_is_not_latents_is_refused(change, match):
    good = small()
    fields = {"matrix": good.matrix, "ids": good.ids, "n_tokens": good.n_tokens, "source": {}} | change
    with pytest.raises(InvalidInput, match=match):
        Latents(**fields)


def test_non_finite_latent_names_its_sample():
    bad = sparse.csr_matrix(np.array([[1.0, 0.0], [0.0, np.nan]]))
    with pytest.raises(NonFinite, match="sample 1"):
        Latents(bad, ("a", "b"), np.array([1, 1]), {})


def test_latents_cannot_be_reassigned():
    with pytest.raises(AttributeError):
        small().ids = ()  # type: ignore[misc]


def test_saved_source_is_json(tmp_path):
    folder = small().save(tmp_path / "latents")
    assert json.loads((folder / "latents.json").read_text())["source"] == {"site": "z.0"}
