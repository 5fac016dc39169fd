"""The same files give the same numbers here and in SAELens, both ways.

SAELens pins an older transformer-lens, so this needs an environment of its own: Python with torch, sae-lens 6.54,
transformer-lens 3.9, pandas, scipy, pytest, and this package on the path. Elsewhere it is skipped.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]
sae_lens = pytest.importorskip("sae_lens")

import torch  # noqa: E402
from sae_lens.saes.gated_sae import GatedSAE, GatedSAEConfig  # noqa: E402
from sae_lens.saes.jumprelu_sae import JumpReLUSAE, JumpReLUSAEConfig  # noqa: E402
from sae_lens.saes.sae import SAE as TheirSae  # noqa: E402
from sae_lens.saes.sae import SAEMetadata  # noqa: E402
from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig  # noqa: E402
from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig  # noqa: E402

from interp.sae.config import topk_config  # noqa: E402
from interp.sae.io import build_sae, load_sae, rounded_sae, save_sae  # noqa: E402

D_IN, D_SAE, K = 24, 96, 7
X = torch.from_numpy(np.random.default_rng(1).standard_normal((300, D_IN))).float()
THEIRS = {
    "standard": (StandardSAE, StandardSAEConfig),
    "topk": (TopKSAE, TopKSAEConfig),
    "jumprelu": (JumpReLUSAE, JumpReLUSAEConfig),
    "gated": (GatedSAE, GatedSAEConfig),
}
CASES = [
    (a, b, n, r)
    for a, b, n, r in product(THEIRS, (True, False), ("none", "layer_norm"), (True, False))
    if a == "topk" or not r
]


def their_sae(architecture: str, apply_b_dec: bool, normalize: str, rescale: bool):
    cls, config_cls = THEIRS[architecture]
    extra = {"k": K, "rescale_acts_by_decoder_norm": rescale} if architecture == "topk" else {}
    config = config_cls(
        d_in=D_IN,
        d_sae=D_SAE,
        apply_b_dec_to_input=apply_b_dec,
        normalize_activations=normalize,
        metadata=SAEMetadata(model_name="gpt2", hook_name="blocks.3.hook_resid_post", prepend_bos=True),
        **extra,
    )
    sae = cls(config)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.from_numpy(rng.standard_normal(tuple(parameter.shape)) * 0.5).float())
        if architecture == "jumprelu":
            sae.threshold.abs_()
    return sae


@pytest.mark.parametrize(("architecture", "apply_b_dec", "normalize", "rescale"), CASES)
def test_their_files_give_their_numbers_here(tmp_path: Path, architecture, apply_b_dec, normalize, rescale, capsys):
    theirs = their_sae(architecture, apply_b_dec, normalize, rescale)
    theirs.save_model(tmp_path / "sae")
    ours = load_sae(tmp_path / "sae")
    with torch.no_grad():
        latents, out = theirs.encode(X), theirs(X)
    assert torch.equal(ours.encode(X) > 0, latents > 0)
    scale, out_scale = float(latents.abs().max()), float(out.abs().max())
    off = float((ours.encode(X) - latents).abs().max()) / scale
    out_off = float((ours(X) - out).abs().max()) / out_scale
    print(f"{architecture} b_dec={apply_b_dec} {normalize} rescale={rescale}: {off:.1e} {out_off:.1e}")
    assert off < 1e-6
    assert out_off < 1e-6


@pytest.mark.parametrize(("architecture", "apply_b_dec", "normalize", "rescale"), CASES)
def test_a_flipped_convention_gives_other_numbers(tmp_path: Path, architecture, apply_b_dec, normalize, rescale):
    """The comparison above is worth something: an SAE read under another convention fails it."""
    theirs = their_sae(architecture, apply_b_dec, normalize, rescale)
    theirs.save_model(tmp_path / "sae")
    ours = load_sae(tmp_path / "sae")
    with torch.no_grad():
        latents = theirs.encode(X)
    flips = [{"apply_b_dec_to_input": not apply_b_dec}]
    flips += [{"normalize_activations": "layer_norm" if normalize == "none" else "none"}]
    flips += [{"k": K - 1}, {"rescale_acts_by_decoder_norm": not rescale}] if architecture == "topk" else []
    for flip in flips:
        wrong = build_sae(ours.config.with_(**flip), ours.weights())
        assert float((wrong.encode(X) - latents).abs().max()) > 1e-2, flip


@pytest.mark.parametrize("architecture", THEIRS)
@pytest.mark.parametrize("apply_b_dec", [True, False])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_our_files_give_our_numbers_there(tmp_path: Path, architecture, apply_b_dec, dtype):
    config = topk_config(D_IN, D_SAE, k=K, decoder_norm="free", apply_b_dec_to_input=apply_b_dec, dtype=dtype)
    if architecture != "topk":
        activation = {"standard": "relu"}.get(architecture, architecture)
        config = config.with_(architecture=architecture, activation=activation, k=None)
    source = their_sae(architecture, apply_b_dec, "none", False)
    ours = build_sae(config, {name: value.detach() for name, value in source.state_dict().items()})
    save_sae(ours, tmp_path / "sae")
    theirs = TheirSae.load_from_disk(tmp_path / "sae")
    rounded = rounded_sae(ours)
    assert theirs.dtype == torch.float32
    with torch.no_grad():
        latents, out = theirs.encode(X), theirs(X)
    assert float((rounded.encode(X) - latents).abs().max()) / float(latents.abs().max()) < 1e-6
    assert float((rounded(X) - out).abs().max()) / float(out.abs().max()) < 1e-6


@pytest.mark.parametrize("kind", ["batchtopk", "matryoshka_batchtopk"])
def test_batch_topk_and_matryoshka_are_read_as_the_jumprelu_they_are_saved_as(tmp_path: Path, kind):
    from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
    from sae_lens.saes.matryoshka_batchtopk_sae import (
        MatryoshkaBatchTopKTrainingSAE,
        MatryoshkaBatchTopKTrainingSAEConfig,
    )

    cls, config_cls, extra = {
        "batchtopk": (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, {}),
        "matryoshka_batchtopk": (
            MatryoshkaBatchTopKTrainingSAE,
            MatryoshkaBatchTopKTrainingSAEConfig,
            {"matryoshka_widths": [24, 96]},
        ),
    }[kind]
    trained = cls(config_cls(d_in=D_IN, d_sae=D_SAE, k=K, **extra))
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.copy_(torch.from_numpy(rng.standard_normal(tuple(parameter.shape)) * 0.5).float())
        trained.topk_threshold.fill_(2.0)
    trained.save_inference_model(tmp_path / "sae")
    theirs, ours = TheirSae.load_from_disk(tmp_path / "sae"), load_sae(tmp_path / "sae")
    assert ours.config.architecture == "jumprelu"
    with torch.no_grad():
        latents, out = theirs.encode(X), theirs(X)
    assert 0 < float((latents > 0).double().mean()) < 0.5
    torch.testing.assert_close(ours.encode(X), latents, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours(X), out, rtol=1e-6, atol=1e-6)
