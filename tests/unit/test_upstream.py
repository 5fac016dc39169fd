"""What is attributed to earlier parts sums to what the unit gets, on every architecture, and is the formula."""

import numpy as np
import pytest
import torch

from interp.errors import InvalidInput, SaeMismatch
from interp.models import load_model, width
from interp.sae import MatchingPursuitSAE, matching_pursuit_config
from interp.sae.config import topk_config
from interp.sae.topk import TopKSAE
from interp.sites import Site
from interp.testing import tiny_model
from interp.testing.tiny import _EXTRA
from interp.unit_readers import LatentReaders, NeuronReaders
from interp.upstream import PLACES, Upstream, block_weights, contributions, part_table, read_upstream

AFTER = ("gemma2", "gemma3", "olmo2")  # norms after attention and MLP
GATED = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "olmo2", "granite", "atlas")
ROW, POS = torch.tensor([0, 0, 1, 2, 3, 3]), torch.tensor([1, 9, 5, 14, 2, 15])
PAIRS = torch.arange(6).repeat_interleave(3), torch.arange(3).repeat(6)
NEURONS = np.array([3, 7, 20])


@pytest.fixture(scope="module")
def models():
    found = {a: tiny_model(architecture=a, seed=2, n_layers=2) for a in _EXTRA}
    return found | {"atlas": load_model("atlas")}


def tokens():
    rng = np.random.default_rng(0)
    ids = np.concatenate([np.zeros((4, 1), dtype=np.int64), rng.integers(2, 300, size=(4, 15))], axis=1)
    mask = np.ones_like(ids, dtype=bool)
    mask[1, 10:] = False
    return ids, mask


def attributed(model, readers, saes=()):
    """Return the contributions of pairs, what they should sum to, the parts and the tensors."""
    up = Upstream(model, readers.site, saes=saes)
    at = read_upstream(model, *tokens(), [*up.sites(), *readers.more])
    blocks = up.blocks(at, ROW, POS)
    weights, constant, total = readers.weights(at, blocks, (ROW, POS), *PAIRS)
    return contributions(blocks, PAIRS[0], weights), constant, total, part_table(blocks), at


def an_sae(model, site, seed=0):
    config = topk_config(width(model, site), 40, k=6, site=site, model_fingerprint=model.fingerprint, bos="always")
    rng = np.random.default_rng(seed)
    weights = {n: torch.from_numpy(rng.standard_normal(s)).float() for n, s in TopKSAE.shapes(config).items()}
    weights["W_dec"] = weights["W_dec"] / weights["W_dec"].norm(dim=1, keepdim=True)
    return TopKSAE(config, weights)


@pytest.mark.parametrize("architecture", [*_EXTRA, "atlas"])
def test_parts_sum_to_what_a_neuron_gets(models, architecture):
    model = models[architecture]
    given, constant, total, parts, at = attributed(model, NeuronReaders(model, 1, NEURONS))
    gated = getattr(model.bridge.blocks[1].mlp, "W_gate", None) is not None
    found = at[Site("mlp_post" if gated else "mlp_pre", 1)][ROW, POS][:, NEURONS].flatten()
    torch.testing.assert_close(given.sum(dim=1) + constant, found, rtol=1e-4, atol=1e-5 * float(found.abs().max()))
    torch.testing.assert_close(total + constant, found)
    assert len(parts) == given.shape[1]
    assert (set(parts["kind"]) == {"embedding", "attention", "MLP", "bias"}) == (architecture in AFTER)


@pytest.mark.parametrize("architecture", GATED)
def test_a_gated_neuron_is_the_product_that_is_split_in_halves(models, architecture):
    """Were the other factor read wrongly, its half would still have the right sum."""
    from transformers.activations import ACT2FN

    model = models[architecture]
    reader = NeuronReaders(model, 1)
    at = read_upstream(model, *tokens(), [reader.site, *reader.more])
    terms, post = reader._terms(at, (ROW, POS))
    x = at[reader.site][ROW, POS]
    read = [t.scale[:, None] * (x @ t.vectors.T) + t.constants for t in terms]
    names = ("hidden_activation", "hidden_act")
    act = ACT2FN[next(getattr(model.config, name) for name in names if hasattr(model.config, name))]
    torch.testing.assert_close(act(read[0]) * read[1], post, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gptj", "gemma2", "atlas"])
def test_parts_sum_to_what_a_direction_gets(models, architecture):
    model = models[architecture]
    D = np.random.default_rng(1).standard_normal((model.d_mlp, 3))
    given, constant, total, _, at = attributed(model, NeuronReaders(model, 1, directions=D))
    found = (at[Site("mlp_post", 1)][ROW, POS] @ torch.as_tensor(D, dtype=torch.float32)).flatten()
    torch.testing.assert_close(given.sum(dim=1) + constant, found, rtol=1e-4, atol=1e-4 * float(found.abs().max()))
    torch.testing.assert_close(total + constant, found)


@pytest.mark.parametrize("component", ["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "granite", "gemma2", "atlas"])
def test_parts_sum_to_what_a_latent_gets(models, architecture, component):
    model = models[architecture]
    sae = an_sae(model, f"{component}.1")
    given, constant, total, _, at = attributed(model, LatentReaders(sae, NEURONS, model.device))
    x = at[Site(component, 1)].flatten(2)[ROW, POS]
    found = ((x - sae.b_dec) @ sae.W_enc + sae.b_enc)[:, NEURONS].flatten()
    torch.testing.assert_close(given.sum(dim=1) + constant, found, rtol=1e-4, atol=1e-5 * float(found.abs().max()))
    torch.testing.assert_close(total + constant, found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ["llama", "gptj"])
def test_parts_are_the_formula(models, architecture):
    """A neuron of the layer before, and a head at each place, read by hand."""
    model = models[architecture]
    up = Upstream(model, "resid_post.1")
    at = read_upstream(model, *tokens(), up.sites())
    blocks = up.blocks(at, ROW, POS)
    reader = torch.randn(1, model.d_model, generator=torch.Generator().manual_seed(0))
    given = contributions(blocks, torch.arange(6), [w.expand(6, -1, -1) for w in block_weights(blocks, reader)])
    parts = part_table(blocks).set_index("part")
    assert parts.index.is_unique
    column = {name: given[:, i] for i, name in enumerate(parts.index)}
    block = model.bridge.blocks[1]
    neuron = at[Site("mlp_post", 1)][ROW, POS, 5] * (block.mlp.W_out[5].detach() @ reader[0])
    torch.testing.assert_close(column["L1N5"], neuron, rtol=1e-4, atol=1e-5)
    v = at[Site("v", 1)].flatten(2).unflatten(2, (-1, model.d_head))
    pattern, W_O = at[Site("pattern", 1)], block.attn.W_O.detach()
    for head in (0, 3):
        for i, (r, q) in enumerate(zip(ROW.tolist(), POS.tolist(), strict=True)):
            expected = dict.fromkeys(PLACES, 0.0)
            for s in range(q + 1):
                place = "itself" if s == q else "first" if s == 0 else "previous" if s == q - 1 else "earlier"
                moved = pattern[r, head, q, s] * v[r, s, head * v.shape[2] // model.n_heads]
                expected[place] += float(moved @ W_O[head] @ reader[0])
            for place, value in expected.items():
                assert float(column[f"L1H{head} {place}"][i]) == pytest.approx(value, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gptj", "atlas"])
def test_latents_of_earlier_saes_take_the_place_of_what_they_tell(models, architecture):
    model = models[architecture]
    saes = [an_sae(model, "z.0", seed=1), an_sae(model, "mlp_out.0", seed=2)]
    given, constant, total, parts, at = attributed(model, NeuronReaders(model, 1, NEURONS), saes)
    torch.testing.assert_close(given.sum(dim=1), total, rtol=1e-4, atol=1e-5 * float(total.abs().max()))
    assert parts["part"].is_unique
    assert parts.query("layer == 0")["kind"].value_counts().to_dict() == {
        "attention latent": 40, "MLP latent": 40, "error of attention SAE": 1, "error of MLP SAE": 1,
    }  # fmt: skip
    plain, *_ = attributed(model, NeuronReaders(model, 1, NEURONS))
    gated = total + constant
    torch.testing.assert_close(gated, plain.sum(dim=1) + constant, rtol=1e-4, atol=1e-4 * float(total.abs().max()))
    # latent 3 of the MLP's SAE by hand, for readers of the residual stream
    reader = an_sae(model, "resid_post.1", seed=3)
    given, _, _, parts, at = attributed(model, LatentReaders(reader, NEURONS, model.device), saes)
    active = saes[1].encode(at[Site("mlp_out", 0)][ROW, POS])
    at_3 = int(parts.index[parts["part"] == "L0M3"][0])
    expected = active[PAIRS[0], 3] * (saes[1].W_dec[3] @ reader.W_enc[:, NEURONS])[PAIRS[1]]
    torch.testing.assert_close(given[:, at_3], expected, rtol=1e-4, atol=1e-6)


def test_an_sae_of_another_place_tells_nothing(models):
    model = models["llama"]
    with pytest.raises(SaeMismatch, match="z, attn_out or mlp_out"):
        Upstream(model, "resid_post.1", saes=[an_sae(model, "resid_post.0")])


def test_what_cannot_be_told_by_parts_is_refused(models):
    with pytest.raises(InvalidInput, match="not told by parts"):
        Upstream(models["llama"], "pattern.1")
    pursuit = matching_pursuit_config(32, 8, max_iterations=2)
    weights = {"W_dec": torch.eye(32)[:8], "b_dec": torch.zeros(32)}
    with pytest.raises(SaeMismatch, match="not linear"):
        LatentReaders(MatchingPursuitSAE(pursuit, weights), [0], models["llama"].device)
