"""The screened top k: float32's answer, whatever the 16-bit products say."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.sae import load_sae
from interp.sae.screen import make_screen, screen_of
from interp.sae.screen_kernels import dot
from interp.sae.topk import top_k


def of_all(x, weights, bias, k):
    """The k largest of all latents, each computed in float32 by the kernel's own sum; lower columns first."""
    columns = weights.T.contiguous().numpy()
    every = np.empty((len(x), len(columns)), dtype=np.float32)
    for i, j in np.ndindex(*every.shape):
        every[i, j] = dot(x.numpy(), i, columns, j)
    every += bias.numpy()
    order = np.sort(np.argsort(-every, axis=1, kind="stable")[:, :k], axis=1)
    return np.maximum(np.take_along_axis(every, order, axis=1), 0), order


def check(x, weights, bias, k):
    values, columns = (found.numpy() for found in make_screen(weights, bias).top_k(x, k))
    expected, where = of_all(x, weights, bias, k)
    assert (np.diff(columns, axis=1) > 0).all()
    np.testing.assert_array_equal(np.sort(values, axis=1), np.sort(expected, axis=1))
    positive = expected > 0
    for i in range(len(x)):
        np.testing.assert_array_equal(columns[i][values[i] > 0], where[i][positive[i]])
    assert columns.min(initial=0) >= 0
    assert columns.max(initial=0) < weights.shape[1]


def drawn(seed, n, d, width, spread=1.0, correlated=0.0):
    rng = np.random.default_rng(seed)
    x, common = rng.standard_normal((n, d)), rng.standard_normal((d, 1))
    weights = rng.standard_normal((d, width)) * np.exp(spread * rng.standard_normal(width)) + correlated * common
    bias = rng.standard_normal(width)
    return (torch.from_numpy(a.astype(np.float32)) for a in (x, weights, bias))


@pytest.mark.parametrize("k", [1, 3, 16, 64, 70])
@pytest.mark.parametrize("width", [71, 128, 200])
def test_it_is_the_top_k_of_float32(k, width):
    check(*drawn(0, 20, 24, width), k)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1e-20, 1e-3, 1.0, 1e4]), st.sampled_from([0.0, 1.0, 100.0]),
       st.sampled_from([0.0, 2.0]), st.integers(1, 20))  # fmt: skip
def test_it_is_so_at_every_scale_and_where_latents_are_nearly_equal(seed, scale, correlated, spread, k):
    x, weights, bias = drawn(seed, 4, 16, 96, spread, correlated)
    check(x * scale, weights, bias, k)
    check(x, weights, bias * scale, k)


def test_ties_go_to_the_lower_column_and_rows_without_enough_are_filled():
    x, weights, _ = drawn(1, 6, 8, 40)
    twice = torch.cat([weights, weights], dim=1)
    check(x, twice, torch.zeros(80), 5)
    check(torch.zeros(2, 8), twice, torch.zeros(80), 5)
    check(x, twice, torch.full((80,), -8.0), 30)
    check(x[:0], twice, torch.zeros(80), 5)


def test_the_rounding_of_a_product_is_allowed_for():
    # exact in 16 bit but for the sums: 1 + 2^-8 + 2^-12 is rounded up, 1 + 2^-8 - 2^-12 down, and the biases put
    # the second one first
    weights = torch.zeros(4, 64)
    weights[:3, 7] = torch.tensor([1, 2**-8, 2**-12])
    weights[:3, 9] = torch.tensor([1, 2**-8, -(2**-12)])
    bias = torch.full((64,), -5.0)
    bias[7], bias[9] = -(2**-8), 2**-10 - 2**-8
    values, columns = make_screen(weights, bias).top_k(torch.ones(1, 4), 1)
    assert columns.tolist() == [[9]]
    assert values.tolist() == [[1 + 2**-10 - 2**-12]]


@pytest.fixture(scope="module")
def atlas():
    sae = load_sae("atlas/resid_post.2")
    rows = np.random.default_rng(0).standard_normal((300, sae.config.d_in)).astype(np.float32)
    return sae, torch.from_numpy(rows) * 8


def test_the_bundled_sae_gives_the_same_latents_with_and_without(atlas, monkeypatch):
    sae, x = atlas
    screen = make_screen(*sae.encoder())
    values, columns = screen.top_k(sae._centred(x), sae.k)
    expected, where = top_k(sae._pre(x), sae.k)
    torch.testing.assert_close(values, expected.relu(), rtol=1e-5, atol=1e-5)
    assert (columns == where)[expected > 0].float().mean() > 0.999
    for part in (slice(0, 1), slice(7, 40)):  # what else is in the batch does not change a bit
        assert torch.equal(screen.top_k(sae._centred(x)[part], sae.k)[0], values[part])


def test_it_is_used_where_the_processor_has_the_units_and_follows_the_weights(atlas, monkeypatch):
    sae, x = atlas
    monkeypatch.setattr("interp.sae.screen._has_16_bit_units", lambda: False)
    assert screen_of(sae, x) is None
    plain = sae.encode_sparse(x)
    monkeypatch.setattr("interp.sae.screen._has_16_bit_units", lambda: True)
    first = screen_of(sae, x)
    assert first is screen_of(sae, x)
    screened = sae.encode_sparse(x)
    torch.testing.assert_close(screened.values, plain.values, rtol=1e-5, atol=1e-5)
    assert screen_of(sae, x * 1e38) is None
    assert screen_of(sae, x.clone().requires_grad_()) is None
    changed = load_sae("atlas/resid_post.2")
    one = screen_of(changed, x)
    changed.W_enc.mul_(2)
    assert screen_of(changed, x) is not one


def test_a_rescaled_encoder_is_screened_as_it_is_used(atlas):
    from dataclasses import replace

    sae, x = atlas
    weights = sae.weights() | {"W_dec": sae.W_dec * torch.linspace(0.5, 2, sae.config.d_sae)[:, None]}
    scaled = type(sae)(replace(sae.config, rescale_acts_by_decoder_norm=True, decoder_norm="free"), weights)
    values, _ = make_screen(*scaled.encoder()).top_k(scaled._centred(x), scaled.k)
    expected, _ = top_k(scaled._pre(x), scaled.k)
    torch.testing.assert_close(values.sum(1), expected.relu().sum(1), rtol=1e-4, atol=1e-4)
