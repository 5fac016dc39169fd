"""What a splice does to a live model, against the same done by hand; and that nothing of it stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sae_planted import CLASSES, config_of, random_sae

from interp.capturing import hooked
from interp.errors import HookNotFired, InvalidInput, SaeMismatch
from interp.sae.fit import check_fit
from interp.sae.matching_pursuit import MatchingPursuitSAE, matching_pursuit_config
from interp.sae.splicing import loss_recovered, splice
from interp.testing import tiny_model
from interp.tokens import tokenize

TEXTS = ["Paris is in France", "the city of London is to Berlin from France and Paris", "to Berlin"]
WIDTHS = {"resid_post.0": 32, "mlp_out.1": 32, "z.1": 32, "z.1.h2": 8}


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def batch(model):
    """ids, mask of the tokens, and the ordinary ones (no BOS, no padding)."""
    tokens = tokenize(model, TEXTS)
    ids, mask, special = (torch.from_numpy(a) for a in (tokens.ids, tokens.mask, tokens.special))
    return ids, mask, mask & ~special


def fitting(model, site="resid_post.0", architecture="standard", *, seed=0, **stated):
    known = {"site": site, "model_fingerprint": model.fingerprint, "bos": model.bos, "d_in": WIDTHS[site]}
    return random_sae(config_of(architecture, d_sae=48, decoder_norm="free", **(known | stated)), seed=seed)


def transcoder(model, architecture="standard", **stated):
    known = {"d_in": 32, "d_out": 32, "skip_connection": True, "site": "resid_mid.1", "site_out": "mlp_out.1"}
    known |= {"apply_b_dec_to_input": False, "model_fingerprint": model.fingerprint, "bos": model.bos}
    return random_sae(config_of(architecture, d_sae=48, decoder_norm="free", **(known | stated)))


@torch.no_grad()
def logits(model, batch):
    return model.logits(batch[0], batch[1].long())


@torch.no_grad()
def values(model, batch, site):
    seen = {}
    with hooked(model, {site: lambda x: seen.update(x=x.clone())}):
        model.logits(batch[0], batch[1].long())
    return seen["x"]


def by_hand(model, batch, site, edit):
    """Logits with `edit` applied to the ordinary tokens at a site, one token after another."""

    def change(x):
        out = x.clone()
        for row in range(len(x)):
            for position in range(x.shape[1]):
                if batch[2][row, position]:
                    out[row, position] = edit(x[row, position])
        return out

    with hooked(model, {site: change}):
        return logits(model, batch)


def n_hooks(model) -> int:
    return sum(len(point.fwd_hooks) for point in model._points.values())


@pytest.mark.parametrize("site", WIDTHS)
@pytest.mark.parametrize("architecture", CLASSES)
def test_error_term_without_edits_changes_nothing(model, batch, site, architecture):
    clean = logits(model, batch)
    with splice(model, fitting(model, site, architecture), positions="all", error_term=True):
        assert torch.equal(logits(model, batch), clean)
    with splice(model, fitting(model, site, architecture), positions=batch[2]):
        assert float((logits(model, batch) - clean)[batch[1]].abs().max()) > 1e-2  # without it, something changes


@pytest.mark.parametrize("site", WIDTHS)
@pytest.mark.parametrize("normalize", ["none", "layer_norm"])
def test_ablating_subtracts_the_activation_times_the_decoder_row(model, batch, site, normalize):
    sae = fitting(model, site, normalize_activations=normalize)
    latent = 5

    def edit(x):
        scale = x.std() if normalize == "layer_norm" else 1.0
        return x - sae.encode(x[None])[0, latent] * scale * sae.W_dec[latent]

    expected = by_hand(model, batch, site, edit)
    with splice(model, sae, positions=batch[2], error_term=True, ablate=[latent]):
        found = logits(model, batch)
    torch.testing.assert_close(found[batch[1]], expected[batch[1]], rtol=1e-4, atol=1e-4)
    assert float((found - logits(model, batch))[batch[1]].abs().max()) > 1e-2


def test_steering_sets_the_latent(model, batch):
    sae = fitting(model)

    def edit(x):
        return x + (3.0 - sae.encode(x[None])[0, 7]) * sae.W_dec[7]

    expected = by_hand(model, batch, "resid_post.0", edit)
    with splice(model, sae, positions=batch[2], error_term=True, steer={7: 3.0}):
        found = logits(model, batch)
    torch.testing.assert_close(found[batch[1]], expected[batch[1]], rtol=1e-4, atol=1e-4)


def test_without_the_error_term_the_edited_reconstruction_is_used(model, batch):
    sae = fitting(model)

    def edit(x):
        latents = sae.encode(x[None])
        latents[0, 5], latents[0, 7] = 0.0, -1.0
        return sae.decode(latents)[0]

    expected = by_hand(model, batch, "resid_post.0", edit)
    with splice(model, sae, positions=batch[2], ablate=[5], steer={7: -1.0}):
        found = logits(model, batch)
    torch.testing.assert_close(found[batch[1]], expected[batch[1]], rtol=1e-4, atol=1e-4)


def test_matching_pursuit_is_spliced_and_ablated(model, batch):
    stated = {"site": "resid_post.0", "model_fingerprint": model.fingerprint, "bos": model.bos}
    config = matching_pursuit_config(32, 48, max_iterations=4, **stated)
    rows = torch.from_numpy(np.random.default_rng(0).standard_normal((48, 32))).float()
    sae = MatchingPursuitSAE(config, {"W_dec": rows / rows.norm(dim=1, keepdim=True), "b_dec": rows[0]})
    latent = int((sae.encode(values(model, batch, "resid_post.0").flatten(0, 1)) > 0).sum(dim=0).argmax())
    expected = by_hand(model, batch, "resid_post.0", lambda x: x - sae.encode(x[None])[0, latent] * sae.W_dec[latent])
    with splice(model, sae, positions=batch[2], error_term=True, ablate=[latent]):
        found = logits(model, batch)
    torch.testing.assert_close(found[batch[1]], expected[batch[1]], rtol=1e-4, atol=1e-4)
    assert float((found - logits(model, batch))[batch[1]].abs().max()) > 1e-2


def test_only_the_chosen_positions_change(model, batch):
    sae = fitting(model)
    clean = values(model, batch, "resid_post.0")
    with splice(model, sae, positions=[1, 2]):
        spliced = values(model, batch, "resid_post.0")
    assert torch.equal(spliced[:, [0, *range(3, clean.shape[1])]], clean[:, [0, *range(3, clean.shape[1])]])
    torch.testing.assert_close(spliced[:, 1:3].flatten(0, 1), sae(clean[:, 1:3].flatten(0, 1)), rtol=1e-5, atol=1e-5)


def test_heads_are_read_head_major(model, batch):
    """The SAE of all heads gets head 0's values first: the same as one vector written out by hand."""
    sae = fitting(model, "z.1")
    heads = [values(model, batch, f"z.1.h{h}") for h in range(4)]
    expected = sae(torch.cat(heads, dim=-1).flatten(0, 1)).unflatten(0, batch[0].shape)
    wrong = sae(torch.stack(heads, dim=-1).flatten(2).flatten(0, 1)).unflatten(0, batch[0].shape)
    with splice(model, sae, positions="all"):
        found = torch.cat([values(model, batch, f"z.1.h{h}") for h in range(4)], dim=-1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, wrong, rtol=1e-2, atol=1e-2)


def test_stated_heads_have_to_be_the_models(model):
    assert check_fit(model, fitting(model, "z.1", n_heads=4)).site == "z.1"
    with pytest.raises(SaeMismatch, match=r"reads 8 heads of 4 values each, head-major; z\.1 of .* has 4 heads"):
        check_fit(model, fitting(model, "z.1", n_heads=8), allow_mismatch=True)
    with pytest.raises(SaeMismatch, match="has no heads side by side"):
        check_fit(model, fitting(model, "resid_post.0", n_heads=4), allow_mismatch=True)


@pytest.mark.parametrize("skip", [True, False])
def test_transcoder_stands_in_for_the_mlp(model, batch, skip):
    sae = transcoder(model, skip_connection=skip)
    made = sae(values(model, batch, "resid_mid.1").flatten(0, 1)).unflatten(0, batch[0].shape)
    with hooked(model, {"mlp_out.1": lambda y: torch.where(batch[2][..., None], made, y)}):
        expected = logits(model, batch)
    with splice(model, sae, positions=batch[2]) as fit:
        found = logits(model, batch)
    assert (fit.site, fit.site_out) == ("resid_mid.1", "mlp_out.1")
    torch.testing.assert_close(found[batch[1]], expected[batch[1]], rtol=1e-4, atol=1e-4)


def test_transcoder_with_error_term_and_edits(model, batch):
    sae = transcoder(model)
    clean = logits(model, batch)
    with splice(model, sae, positions="all", error_term=True):
        assert torch.equal(logits(model, batch), clean)
    on = sae.encode(values(model, batch, "resid_mid.1").flatten(0, 1))[:, 5].unflatten(0, batch[0].shape)
    taken = on[..., None] * sae.W_dec[5] * batch[2][..., None]
    with hooked(model, {"mlp_out.1": lambda y: y - taken}):
        expected = logits(model, batch)
    with splice(model, sae, positions=batch[2], error_term=True, ablate=[5]):
        found = logits(model, batch)
    torch.testing.assert_close(found[batch[1]], expected[batch[1]], rtol=1e-4, atol=1e-4)
    assert float((found - clean)[batch[1]].abs().max()) > 1e-2


@pytest.mark.parametrize(
    ("stated", "kwargs", "match"),
    [
        ({"site_out": None}, {}, "the site it writes to it was trained with is not stated"),
        ({"site_out": "mlp_out.0"}, {}, r"mlp_out\.0 is not after resid_mid\.1"),
        ({}, {"site_out": "resid_mid.1"}, r"resid_mid\.1 is not after resid_mid\.1"),
        ({}, {"site_out": "resid_post.1"}, r"site it writes to: trained with 'mlp_out\.1', used with 'resid_post\.1'"),
        ({"d_out": 16}, {}, r"the SAE writes vectors of 16; mlp_out\.1 of .* has 32"),
    ],
)
def test_transcoder_at_the_wrong_place_is_refused(model, stated, kwargs, match):
    with pytest.raises(SaeMismatch, match=match):
        check_fit(model, transcoder(model, **stated), **kwargs)


def test_transcoder_that_says_not_where_it_writes_can_be_read_but_not_spliced(model, batch):
    sae = transcoder(model, site_out=None)
    assert check_fit(model, sae, allow_mismatch=True).site_out is None
    with pytest.raises(SaeMismatch, match="does not say where it writes"):
        loss_recovered(model, sae, TEXTS, seed=0, allow_mismatch=True)
    with (
        pytest.raises(SaeMismatch, match="does not say where it writes"),
        splice(model, sae, positions="all", allow_mismatch=True),
    ):
        raise AssertionError("the body was entered")
    with splice(model, sae, positions="all", site_out="mlp_out.1", error_term=True, allow_mismatch=True) as fit:
        logits(model, batch)
    assert fit.site_out == "mlp_out.1"


@pytest.mark.parametrize("architecture", CLASSES)
def test_no_position_is_no_change(model, batch, architecture):
    sae = fitting(model, architecture=architecture)
    with splice(model, sae, positions=torch.zeros_like(batch[1])):
        spliced = logits(model, batch)
    assert torch.equal(spliced, logits(model, batch))


def test_sae_cannot_write_elsewhere(model):
    with pytest.raises(SaeMismatch, match=r"writes where it reads, resid_post\.0"):
        check_fit(model, fitting(model), site_out="resid_post.1")


def test_nested_splices_act_one_after_the_other(model, batch):
    first, second = fitting(model), fitting(model, "mlp_out.1", seed=1)
    with hooked(model, {"resid_post.0": lambda x: first(x.flatten(0, 1)).unflatten(0, x.shape[:2])}):
        after_first = values(model, batch, "mlp_out.1")
    made = second(after_first.flatten(0, 1)).unflatten(0, after_first.shape[:2])
    with splice(model, first, positions="all"), splice(model, second, positions="all"):
        torch.testing.assert_close(values(model, batch, "mlp_out.1"), made, rtol=1e-4, atol=1e-4)


def test_nested_splices_at_one_site_are_composed(model, batch):
    first, second = fitting(model), fitting(model, seed=1)
    clean = values(model, batch, "resid_post.0").flatten(0, 1)
    with splice(model, first, positions="all"), splice(model, second, positions="all"):
        found = values(model, batch, "resid_post.0").flatten(0, 1)
    torch.testing.assert_close(found, second(first(clean)), rtol=1e-4, atol=1e-4)


def test_a_splice_serves_many_passes_and_can_be_repeated(model, batch):
    sae = fitting(model)
    with splice(model, sae, positions=batch[2]):
        first, second = logits(model, batch), logits(model, batch)
    with splice(model, sae, positions=batch[2]):
        third = logits(model, batch)
    assert torch.equal(first, second)
    assert torch.equal(first, third)


def test_no_hook_stays_behind(model, batch):
    clean, before = logits(model, batch), n_hooks(model)
    with splice(model, fitting(model), positions="all"), splice(model, transcoder(model), positions="all"):
        assert n_hooks(model) == before + 3
        logits(model, batch)
    assert n_hooks(model) == before
    assert torch.equal(logits(model, batch), clean)


class Stop(Exception):
    """Raised by the body."""


@pytest.mark.parametrize("where", ["body", "mask", "hook"])
def test_an_exception_leaves_no_hook_and_passes_through(model, batch, where):
    clean, before = logits(model, batch), n_hooks(model)
    sae = fitting(model)

    def fail(x):
        raise Stop

    def body():
        if where == "hook":
            with hooked(model, {"resid_post.1": fail}):
                logits(model, batch)
        logits(model, batch)
        raise Stop

    positions = batch[2][:, :-1] if where == "mask" else batch[2]
    with pytest.raises(InvalidInput if where == "mask" else Stop), splice(model, sae, positions=positions):
        body()
    assert n_hooks(model) == before
    assert torch.equal(logits(model, batch), clean)


def test_a_body_that_runs_nothing_is_an_error(model):
    with pytest.raises(HookNotFired, match="nothing was spliced"), splice(model, fitting(model), positions="all"):
        pass


def test_a_latent_that_is_not_there_is_refused_before_the_body(model):
    with (
        pytest.raises(InvalidInput, match="from 0 to 47, not 48"),
        splice(model, fitting(model), positions="all", ablate=[48]),
    ):
        raise AssertionError("the body was entered")


def test_gradients_flow_through_a_splice(model, batch):
    sae = fitting(model)
    seen = {}
    with (
        hooked(model, {"resid_post.0": lambda x: seen.update(x=x.detach().requires_grad_()) or seen["x"]}),
        splice(model, sae, positions="all", error_term=True, ablate=[5]),
    ):
        model.logits(batch[0], batch[1].long())[batch[1]].sum().backward()
    assert float(seen["x"].grad.abs().sum()) > 0


def test_losses_of_a_transcoder_are_those_of_the_place_it_writes_to(model):
    table = loss_recovered(model, transcoder(model), TEXTS, seed=0).set_index("metric")
    own = loss_recovered(model, fitting(model, "mlp_out.1"), TEXTS, seed=0).set_index("metric")
    assert set(table["site"]) == {"mlp_out.1"}
    for name in ("loss_clean", "loss_zero", "loss_mean"):  # what does not hang on the SAE is the same
        assert float(table.loc[name, "value"]) == pytest.approx(float(own.loc[name, "value"]), rel=1e-6)
    assert abs(float(table.loc["loss_spliced", "value"]) - float(table.loc["loss_clean", "value"])) > 1e-3
