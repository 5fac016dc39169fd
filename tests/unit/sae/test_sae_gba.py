"""Group Bias Adaptation: each step of a bias by hand, the gradient, the export, and a dictionary that is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from interp.errors import InvalidInput
from interp.sae.jumprelu import JumpReluSAE
from interp.sae.learners.bias_adaptation import adapted_bias, quantile_bias, target_frequencies
from interp.sae.learners.gba import GbaLearner, GbaOptions
from interp.sae.settings import make_settings
from interp.sae.spec import make_spec
from interp.sae.synthetic import flat_data, recovery
from interp.sae.train import train_sae

SMALL = {"highest": 0.04, "lowest": 0.01, "n_groups": 3, "gamma": 0.05, "period": 10}
DATA = flat_data(d=32, n=64, s=2, seed=0)
RUN = {"arch": "gba", "d_in": 32, "batch_size": 256, "buffer": 8192, "lr": 5e-3, "progress": False}


def learner(*, d_sae: int = 24, rows: int = 512, seed: int = 0, **options) -> tuple[GbaLearner, torch.Tensor]:
    """A learner before its first step, and rows in the loop's units (mean square distance to the mean d_in)."""
    x = torch.from_numpy(DATA.batch(seed, rows=rows).activations).double() + 0.5
    x *= np.sqrt(32 / float((x - x.mean(dim=0)).square().sum(dim=1).mean()))
    spec = make_spec(arch="gba", d_in=32, d_sae=d_sae, values=SMALL | options)
    made = GbaLearner.start(spec.config, make_settings(seed=0, steps=9), spec.options, x, x, np.random.default_rng(0))
    return made, x.float()


def adapt(bias, count, largest, *, n=100, ceiling=0.1, group=None, gamma=0.1, never=1e-6):
    bias, largest = torch.tensor(bias), torch.tensor(largest)
    ceilings = torch.full((len(bias),), ceiling, dtype=torch.float64)
    group = torch.zeros(len(bias), dtype=torch.int64) if group is None else torch.tensor(group)
    out = adapted_bias(bias, torch.tensor(count), largest, n, ceiling=ceilings, group=group, gamma=gamma, never=never)
    return out.tolist()


def test_a_latent_above_its_ceiling_is_lowered_by_its_own_largest_value():
    assert adapt([-0.5], [11], [2.0]) == pytest.approx([-0.7])


def test_a_latent_at_or_below_its_ceiling_stays():
    assert adapt([-0.5, -0.5], [10, 1], [2.0, 2.0]) == pytest.approx([-0.5, -0.5])


def test_a_dead_latent_is_raised_by_the_mean_of_its_groups_positive_values():
    found = adapt([-0.5, -0.5, -0.5, -0.5], [0, 5, 5, 0], [-0.3, 1.0, 3.0, -0.1], group=[0, 0, 0, 1])
    assert found == pytest.approx([-0.3, -0.5, -0.5, -0.5])  # mean of 1 and 3; the other group has no positive value


def test_biases_stay_between_minus_one_and_zero():
    assert adapt([-0.95], [50], [9.0]) == pytest.approx([-1.0])
    assert adapt([-0.05, -0.5], [0, 5], [-1.0, 4.0]) == pytest.approx([0.0, -0.5])


def test_streamed_statistics_give_the_step_of_a_buffer():
    made, x = learner(rows=600)
    made.state["bias"] = (made.state["bias"] + torch.tensor([-0.3, 0.0, 0.2]).repeat(8)).clamp(-1.0, 0.0)
    before, kept = made.state["bias"].clone(), []
    W, b_pre = made.weights["W"], made.weights["b_pre"]
    for part in x.split(60):
        kept.append((part / np.sqrt(32) - b_pre) @ W.T + before)
        made.step(part, part, step=0)
        made.constrain()
    y = torch.cat(kept)
    rate, r = (y > 0).double().mean(dim=0).numpy(), y.amax(dim=0).clamp_min(0).numpy()
    ceiling, expected = target_frequencies(24, 3, lowest=0.01, highest=0.04), before.numpy().copy()
    for m in range(24):
        peers = r[m // 8 * 8 : m // 8 * 8 + 8]
        if rate[m] > ceiling[m]:
            expected[m] = max(expected[m] - 0.05 * r[m], -1.0)
        elif rate[m] == 0:
            expected[m] = min(expected[m] + 0.05 * peers[peers > 0].mean(), 0.0)
    np.testing.assert_allclose(made.state["bias"].numpy(), expected, rtol=1e-6, atol=1e-7)
    assert (expected != before.numpy()).any()
    assert (expected == before.numpy()).any()
    assert int(made.state["n_seen"]) == 0  # counting starts anew


def test_ceilings_fall_geometrically_in_blocks():
    found = target_frequencies(8, 4, highest=0.08, lowest=0.01)
    np.testing.assert_allclose(found, np.repeat([0.08, 0.04, 0.02, 0.01], 2), rtol=1e-12)
    assert len(target_frequencies(10, 4, highest=0.08, lowest=0.01)) == 10


@pytest.mark.parametrize("budget", [2.1, 5.4, 40.0])
def test_budget_is_what_the_ceilings_add_up_to(budget):
    found = target_frequencies(512, 4, lowest=0.004, l0_budget=budget)
    assert found.sum() == pytest.approx(budget, rel=1e-9)
    assert found.min() == pytest.approx(0.004)
    ratios = found[128::128] / found[:-128:128]
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"highest": None}, "either highest or l0_budget"),
        ({"l0_budget": 3.0}, "either highest or l0_budget"),
        ({"highest": 0.001}, "lowest <= highest"),
        ({"lowest": 0.0}, "0 < lowest"),
        ({"highest": None, "l0_budget": 0.1}, "add up to 0.24"),
        ({"highest": None, "l0_budget": 900.0}, "l0_budget is 900"),
        ({"n_groups": 30}, "from 1 to the 24"),
        ({"n_groups": 1}, "one group has one ceiling"),
        ({"n_groups": 0}, "n_groups is an integer"),
        ({"period": 0}, "period is an integer"),
        ({"gamma": 0.0}, "gamma"),
    ],
)
def test_options_that_cannot_be_are_refused(change, error):
    with pytest.raises(InvalidInput, match=error):
        make_spec(arch="gba", d_in=32, d_sae=24, values=SMALL | change)


def test_other_conventions_and_transcoders_are_refused():
    config = make_spec(arch="gba", d_in=32, d_sae=24, values=SMALL).config
    with pytest.raises(InvalidInput, match="apply_b_dec_to_input"):
        make_spec(config.with_(apply_b_dec_to_input=False), arch="gba", values=SMALL)
    with pytest.raises(InvalidInput, match="d_out"):
        make_spec(arch="gba", d_in=32, d_sae=24, values=SMALL, stated={"d_out": 16})


def test_quantile_start_gives_each_latent_its_frequency():
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.standard_normal((4000, 16))).float() / 4
    W = torch.from_numpy(rng.standard_normal((40, 16))).float()
    W /= W.norm(dim=1, keepdim=True)
    ceiling = torch.from_numpy(target_frequencies(40, 4, highest=0.2, lowest=0.01))
    bias = quantile_bias(rows, W, ceiling)
    rate = (rows @ W.T + bias > 0).double().mean(dim=0)
    np.testing.assert_allclose(rate.numpy(), ceiling.numpy(), atol=1 / 4000)
    fresh = torch.from_numpy(rng.standard_normal((20_000, 16))).float() / 4
    rate = (fresh @ W.T + bias > 0).double().mean(dim=0).numpy()
    sd = np.sqrt(ceiling.numpy() * (1 / 4000 + 1 / 20_000))  # of a quantile of 4,000 rows, seen on 20,000
    assert (np.abs(rate - ceiling.numpy()) / sd).max() < 4


def test_quantile_of_a_dense_ceiling_is_clamped_at_zero():
    rows = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    assert quantile_bias(rows, torch.eye(4), torch.full((4,), 0.9)).tolist() == [0.0] * 4


def test_gradient_equals_autograd():
    made, x = learner()
    made.weights["a"] *= 1.3
    found = made.step(x, x, step=0)
    leaves = {name: value.clone().requires_grad_() for name, value in made.weights.items()}
    u = x / np.sqrt(32)
    h = (u - leaves["b_pre"]) @ leaves["W"].T
    z = h * (h + made.state["bias"] > 0)
    loss = (((z * leaves["a"]) @ leaves["W"] + leaves["b_pre"] - u).square().sum(dim=1) / 2).mean()
    loss.backward()
    gradient = {name: value.grad for name, value in leaves.items()}
    W = made.weights["W"]
    gradient["W"] -= (gradient["W"] * W).sum(dim=1, keepdim=True) * W  # lengths are held at 1
    assert found.loss == pytest.approx(float(loss.detach()), rel=1e-5)
    for name, value in gradient.items():
        torch.testing.assert_close(found.grads[name], value, rtol=1e-4, atol=1e-6)


def test_reported_residual_is_in_the_units_of_the_loop():
    made, x = learner()
    found = made.step(x, x, step=0)
    inner = made.finished(1.0, 1.0)
    assert found.residual == pytest.approx(float((inner(x) - x).square().sum()), rel=1e-4)
    assert found.n_active == int((inner.encode(x) > 0).sum())


def test_export_is_the_trained_function_as_a_jumprelu_sae():
    made, x = learner()
    made.weights["a"] *= torch.linspace(0.5, 2.0, 24)
    scale = 3.7
    sae = made.finished(scale, scale)
    assert isinstance(sae, JumpReluSAE)
    u = x / np.sqrt(32)
    h = (u - made.weights["b_pre"]) @ made.weights["W"].T
    z = h * (h + made.state["bias"] > 0)
    expected = (z * made.weights["a"]) @ made.weights["W"] + made.weights["b_pre"]
    raw = x / scale
    torch.testing.assert_close(sae(raw), expected * np.sqrt(32) / scale, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(sae.encode(raw) > 0, z > 0)
    assert bool((sae.threshold >= 0).all())


@pytest.mark.parametrize("seed", [0, 1])
def test_planted_dictionary_is_recovered_sparsely(seed):
    data = flat_data(d=32, n=64, s=2, seed=seed)
    sae, history = train_sae(data.stream(rows=2048), d_sae=128, steps=1000, seed=seed, **SMALL, **RUN)
    table = recovery(sae.W_dec, data.dictionary, seed=0).set_index("metric")
    assert table.loc["recall", "value"] >= 0.95
    assert table.loc["mcc", "value"] >= 0.97
    assert table.loc["mcc", "p"] == pytest.approx(1 / 40)
    assert history["l0"].iloc[-1] < sum(target_frequencies(128, 3, highest=0.04, lowest=0.01))
    assert history["dead_share"].iloc[-1] < 0.05


def test_features_rarer_than_half_the_lowest_ceiling_are_not_found():
    # what decides is the band of ceilings: a dense one reconstructs and recovers nothing
    dense = SMALL | {"highest": 0.5, "lowest": 0.2}
    sae, history = train_sae(DATA.stream(rows=2048), d_sae=128, steps=1000, seed=0, **dense, **RUN)
    assert recovery(sae.W_dec, DATA.dictionary, seed=0).set_index("metric").loc["recall", "value"] < 0.1
    assert history["fvu"].iloc[-1] < 0.5


def test_noise_without_features_gives_nothing_near_a_dictionary():
    noise = np.random.default_rng(0).standard_normal((30_000, 32)).astype(np.float32)
    sae, _ = train_sae(noise, d_sae=128, steps=400, seed=0, **SMALL, **RUN)
    table = recovery(sae.W_dec, DATA.dictionary, seed=0, n_null=99).set_index("metric")
    row = table.loc["mmcs"]
    assert abs(row["value"] - row["null_mean"]) < 4 * row["null_sd"]
    assert table.loc["recall", "value"] == 0.0


def test_killed_run_goes_on_to_the_same_bits(tmp_path):
    class Killed(Exception):
        pass

    def kill(row):
        if row["step"] >= 30:
            raise Killed

    args = {"d_sae": 64, "seed": 0, "steps": 50, "checkpoint_every": 7, "log_every": 10, **SMALL, **RUN}
    args["period"] = 5  # so that a checkpoint falls between two adaptations
    whole, history = train_sae(DATA.stream(rows=2048), **args)
    with pytest.raises(Killed):
        train_sae(DATA.stream(rows=2048), checkpoint_dir=tmp_path, log=kill, **args)
    resumed, again = train_sae(DATA.stream(rows=2048), checkpoint_dir=tmp_path, **args)
    assert all(torch.equal(value, resumed.weights()[name]) for name, value in whole.weights().items())
    assert history.equals(again)


def test_result_reads_raw_activations_whatever_their_scale():
    args = {"d_sae": 64, "seed": 0, "steps": 30, **SMALL, **RUN}
    x = DATA.batch(0, rows=9000).activations
    one, _ = train_sae(x, **args)
    big, _ = train_sae(x * 64.0, **args)  # a power of two: exact
    torch.testing.assert_close(big(x[:100] * 64.0), 64.0 * one(x[:100]), rtol=1e-6, atol=1e-5)


def test_options_say_what_was_chosen():
    assert GbaOptions(lowest=0.01, highest=0.1).quantile_start is True
    spec = make_spec(arch="gba", d_in=32, d_sae=24, options=GbaOptions(lowest=0.01, l0_budget=1.0, n_groups=3))
    assert spec.to_dict()["l0_budget"] == 1.0
    assert spec.config.architecture == "jumprelu"
