"""Matching Pursuit against a plain loop in float64, its identities, and what is kept when it is saved."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from interp.errors import InvalidInput
from interp.sae.io import load_sae, save_sae
from interp.sae.matching_pursuit import MatchingPursuitSAE, matching_pursuit_config
from interp.sae.pursuit import pursue

X = np.random.default_rng(7).standard_normal((60, 12)).astype(np.float32)


def make(*, d_in=12, d_sae=40, seed=0, max_iterations=6, threshold=0.0, duplicates=False, **stated):
    config = matching_pursuit_config(
        d_in,
        d_sae,
        max_iterations=max_iterations,
        residual_threshold=threshold,
        stop_on_duplicate_support=duplicates,
        **stated,
    )
    rng = np.random.default_rng(seed)
    rows = torch.from_numpy(rng.standard_normal((d_sae, d_in))).float()
    rows = rows / (rows.norm(dim=1, keepdim=True) if config.decoder_norm == "unit" else d_in**0.5)
    return MatchingPursuitSAE(config, {"W_dec": rows, "b_dec": torch.from_numpy(rng.standard_normal(d_in)).float()})


def plain_loop(sae, x: np.ndarray, *, k: int | None = None) -> np.ndarray:
    """Latents of one row at a time, in float64: pick, take out, look whether it is done."""
    D, c = sae.W_dec.double().numpy(), sae.config
    out = np.zeros((len(x), len(D)))
    for i, row in enumerate(x.astype(np.float64)):
        left = row - sae.b_dec.double().numpy() if c.apply_b_dec_to_input else row.copy()
        for _ in range(k or c.max_iterations):
            products = [float(left @ direction) for direction in D]
            j = int(np.argmax(products))
            if products[j] <= 0:
                break
            known = out[i, j] > 0
            out[i, j] += products[j]
            left = left - products[j] * D[j]
            if (c.stop_on_duplicate_support and known) or np.linalg.norm(left) < c.residual_threshold:
                break
    return out


CASES = [
    {},
    {"apply_b_dec_to_input": False},
    {"threshold": 2.5},
    {"max_iterations": 30, "duplicates": True},
    {"max_iterations": 30, "d_sae": 6},
    {"decoder_norm": "free", "max_iterations": 15, "threshold": 0.3},
]


@pytest.mark.parametrize("method", ["direct", "gram"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_encoding_equals_a_plain_loop(case, method):
    sae = make(**case)
    expected = plain_loop(sae, X)
    np.testing.assert_allclose(sae.encode(X, method=method).numpy(), expected, rtol=1e-4, atol=2e-5)
    decoded = expected @ sae.W_dec.double().numpy()
    if sae.config.apply_b_dec_to_input:
        decoded = decoded + sae.b_dec.double().numpy()
    np.testing.assert_allclose(sae(X).numpy(), decoded, rtol=1e-4, atol=1e-4)


def test_cases_stop_for_different_reasons():
    lengths = [(make(**case).encode_path(X).indices >= 0).sum(dim=1) for case in CASES]
    assert set(lengths[0].tolist()) == {6}
    assert len(set(lengths[2].tolist())) > 1  # by the residual
    assert bool((lengths[3] < 30).any())  # by a repeated pick
    assert bool((lengths[4] < 30).any())  # nothing positive is left


def test_residual_never_grows_and_is_orthogonal_to_the_last_pick():
    path = make(max_iterations=20).encode_path(X)
    assert bool((path.norms.diff(dim=1) <= 1e-6).all())
    last = make().W_dec[path.indices[:, -1]]
    torch.testing.assert_close((path.residual * last).sum(dim=1), torch.zeros(len(X)), rtol=0, atol=1e-5)


def test_more_picks_never_reconstruct_worse():
    sae = make()
    errors = [float((sae.decode(sae.encode(X, k=k)) - torch.from_numpy(X)).square().sum()) for k in range(1, 25)]
    assert all(later <= earlier + 1e-4 for earlier, later in pairwise(errors))
    assert errors[-1] < 0.3 * errors[0]
    np.testing.assert_allclose(sae.encode(X, k=3).numpy(), plain_loop(sae, X, k=3), rtol=1e-4, atol=2e-5)


def test_path_adds_up_to_the_reconstruction():
    sae = make()
    path = sae.encode_path(X)
    torch.testing.assert_close(sae(X) + path.residual, torch.from_numpy(X), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(path.norms[:, -1], path.residual.norm(dim=1))


def test_a_direction_picked_again_adds_to_its_latent():
    # after the second pick something is left along the first again: 1, then .4, then .24
    path = pursue(
        torch.tensor([[1.0, 0.5]]),
        torch.tensor([[1.0, 0.0], [-0.6, 0.8]]),
        max_iterations=3,
        residual_threshold=0.0,
        stop_on_duplicate_support=False,
    )
    assert path.indices.tolist() == [[0, 1, 0]]
    torch.testing.assert_close(path.latents(2), torch.tensor([[1.24, 0.4]]))


def test_a_path_and_the_latents_agree_where_picks_repeat():
    once = make(max_iterations=40)
    path = once.encode_path(X)
    counted = torch.stack([(path.indices == j).sum(dim=1) for j in range(40)], dim=1)
    assert int(counted.max()) > 1  # some direction is picked twice
    row, column = (counted > 1).nonzero()[0].tolist()
    total = path.values[row][path.indices[row] == column].sum()
    torch.testing.assert_close(once.encode(X)[row, column], total)


def test_repeated_pick_can_end_a_row():
    stopped = make(max_iterations=40, duplicates=True).encode_path(X)
    for row in stopped.indices:
        picks = [j for j in row.tolist() if j >= 0]
        assert len(set(picks[:-1])) == len(picks) - 1  # a repetition only as the last pick


def test_zero_input_has_no_latents():
    sae = make(apply_b_dec_to_input=False)
    assert not bool(sae.encode(np.zeros((3, 12), np.float32)).any())
    assert sae.encode_path(np.zeros((3, 12), np.float32)).indices.tolist() == [[-1]] * 3


def test_one_pick_is_made_even_of_a_row_below_the_threshold():
    path = make(apply_b_dec_to_input=False).encode_path(X * 1e-3, residual_threshold=1.0)
    assert path.indices.shape == (60, 1)


def test_threshold_is_reached_where_it_can_be():
    path = make(max_iterations=500).encode_path(X, residual_threshold=0.05)
    assert bool((path.norms[:, -1] < 0.05).all())


def test_more_picks_than_directions_end_with_nothing_positive_left():
    sae = make(d_sae=4, max_iterations=400)
    path = sae.encode_path(X)
    assert bool(((path.residual @ sae.W_dec.T) < 1e-4).all())


def test_gram_and_direct_pick_the_same():
    sae = make(d_in=64, d_sae=300, max_iterations=16)
    x = np.random.default_rng(3).standard_normal((80, 64)).astype(np.float32)
    direct, gram = (sae.encode_path(x, method=m) for m in ("direct", "gram"))
    assert torch.equal(direct.indices, gram.indices)
    torch.testing.assert_close(direct.values, gram.values, rtol=1e-4, atol=1e-5)


def test_empty_batch_gives_empty_latents():
    assert make().encode(np.zeros((0, 12), np.float32)).shape == (0, 40)
    assert len(make().encode_sparse(np.zeros((0, 12), np.float32)).values) == 0


def test_sparse_encoding_holds_the_same_numbers():
    values, indices = make().encode_sparse(X)
    dense = torch.zeros(60, 40).scatter_add(1, indices, values)
    torch.testing.assert_close(dense, make().encode(X), rtol=0, atol=0)


def test_encoding_changes_neither_input_nor_weights():
    sae, x = make(), torch.from_numpy(X.copy())
    before = sae.W_dec.clone()
    sae(x)
    sae.encode(x, method="gram")
    assert np.array_equal(x.numpy(), X)
    assert torch.equal(sae.W_dec, before)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: make().encode(X, k=0), "k is an integer"),
        (lambda: make().encode(X, residual_threshold=-1.0), "residual_threshold"),
        (lambda: make().encode(X, residual_threshold=float("nan")), "residual_threshold"),
        (lambda: make().encode(X, method="gramm"), "Nearest: gram"),
        (lambda: make(max_iterations=0), "max_iterations"),
        (lambda: make(threshold=-0.1), "residual_threshold"),
        (lambda: make().config.with_(residual_threshold=None), "missing: residual_threshold"),
        (lambda: make().config.with_(d_out=5, skip_connection=False, apply_b_dec_to_input=False), "d_out"),
        (
            lambda: make().config.with_(architecture="standard", activation="relu"),
            "max_iterations belongs to a matching_pursuit",
        ),
    ],
)
def test_what_cannot_be_is_refused(call, error):
    with pytest.raises(InvalidInput, match=error):
        call()


def test_saved_and_loaded_it_gives_the_same_latents(tmp_path):
    sae = make(threshold=0.7)
    again = load_sae(save_sae(sae, tmp_path / "mp", golden_inputs=X, dtype="float32"))
    assert again.golden_checked
    assert again.config == sae.config.with_(dtype="float32")
    assert torch.equal(again.encode(X), sae.encode(X))


def test_file_states_what_a_reader_of_the_layout_needs(tmp_path):
    folder = save_sae(make(threshold=0.7), tmp_path / "mp", golden_inputs=X)
    cfg = json.loads((folder / "cfg.json").read_text())
    assert cfg["architecture"] == "matching_pursuit"
    assert (cfg["max_iterations"], cfg["residual_threshold"], cfg["stop_on_duplicate_support"]) == (6, 0.7, False)
    assert set(load_file(folder / "sae_weights.safetensors")) == {"W_dec", "b_dec"}


def test_folder_of_others_is_read_with_their_meaning_of_no_limit(tmp_path):
    sae = make(max_iterations=12, duplicates=True, threshold=0.01)
    folder = tmp_path / "theirs"
    folder.mkdir()
    cfg = {"architecture": "matching_pursuit", "d_in": 12, "d_sae": 40, "dtype": "float32", "device": "cpu"}
    cfg |= {"apply_b_dec_to_input": True, "normalize_activations": "none", "reshape_activations": "none"}
    cfg |= {"residual_threshold": 0.01, "max_iterations": None, "stop_on_duplicate_support": True, "metadata": {}}
    (folder / "cfg.json").write_text(json.dumps(cfg))
    save_file({"W_dec": sae.W_dec.clone(), "b_dec": sae.b_dec.clone()}, folder / "sae_weights.safetensors")
    again = load_sae(folder)
    assert again.config.max_iterations == 12
    assert torch.equal(again.encode(X), sae.encode(X))
    del cfg["stop_on_duplicate_support"]
    (folder / "cfg.json").write_text(json.dumps(cfg))
    with pytest.raises(InvalidInput, match="stop_on_duplicate_support"):
        load_sae(folder)
