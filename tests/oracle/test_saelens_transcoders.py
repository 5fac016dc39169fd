"""Transcoders of SAELens give the same numbers here, and ours there; and SAEs on concatenated heads do.

Needs the environment of `test_saelens_parity`; elsewhere it is skipped.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]
sae_lens = pytest.importorskip("sae_lens")

import torch  # noqa: E402
from sae_lens.saes.sae import SAE as TheirSae  # noqa: E402
from sae_lens.saes.sae import SAEMetadata  # noqa: E402
from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig  # noqa: E402
from sae_lens.saes.transcoder import (  # noqa: E402
    JumpReLUSkipTranscoder,
    JumpReLUSkipTranscoderConfig,
    JumpReLUTranscoder,
    JumpReLUTranscoderConfig,
    SkipTranscoder,
    SkipTranscoderConfig,
    Transcoder,
    TranscoderConfig,
)

from interp.sae.config import topk_config  # noqa: E402
from interp.sae.io import build_sae, load_sae, rounded_sae, save_sae  # noqa: E402

D_IN, D_SAE, D_OUT = 24, 96, 17
X = torch.from_numpy(np.random.default_rng(1).standard_normal((300, D_IN))).float()
THEIRS = {
    "transcoder": (Transcoder, TranscoderConfig),
    "skip_transcoder": (SkipTranscoder, SkipTranscoderConfig),
    "jumprelu_transcoder": (JumpReLUTranscoder, JumpReLUTranscoderConfig),
    "jumprelu_skip_transcoder": (JumpReLUSkipTranscoder, JumpReLUSkipTranscoderConfig),
}
PLACES = {"hook_name": "blocks.3.hook_resid_mid", "hook_name_out": "blocks.3.hook_mlp_out"}


def fill(sae) -> None:
    """Random weights, the thresholds not negative."""
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.from_numpy(rng.standard_normal(tuple(parameter.shape)) * 0.5).float())
        if hasattr(sae, "threshold"):
            sae.threshold.abs_()


def their_transcoder(kind: str):
    cls, config_cls = THEIRS[kind]
    metadata = SAEMetadata(model_name="gpt2", prepend_bos=True, **PLACES)
    sae = cls(config_cls(d_in=D_IN, d_sae=D_SAE, d_out=D_OUT, apply_b_dec_to_input=False, metadata=metadata))
    fill(sae)
    return sae


def off(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Largest difference, as a share of the largest value."""
    return float((found - wanted).abs().max()) / float(wanted.abs().max())


@pytest.mark.parametrize("kind", THEIRS)
def test_their_transcoders_give_their_numbers_here(tmp_path: Path, kind):
    theirs = their_transcoder(kind)
    theirs.save_model(tmp_path / "sae")
    ours = load_sae(tmp_path / "sae")
    with torch.no_grad():
        latents, out = theirs.encode(X), theirs(X)
    assert torch.equal(ours.encode(X) > 0, latents > 0)
    assert off(ours.encode(X), latents) < 1e-6
    assert off(ours(X), out) < 1e-6
    assert (ours.config.site, ours.config.site_out, ours.config.d_out) == ("resid_mid.3", "mlp_out.3", D_OUT)


@pytest.mark.parametrize("kind", THEIRS)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_our_transcoders_give_our_numbers_there(tmp_path: Path, kind, dtype):
    architecture = "jumprelu" if kind.startswith("jumprelu") else "standard"
    config = topk_config(D_IN, D_SAE, k=1, decoder_norm="free", apply_b_dec_to_input=False, dtype=dtype).with_(
        architecture=architecture,
        activation={"standard": "relu"}.get(architecture, architecture),
        k=None,
        d_out=D_OUT,
        skip_connection="skip" in kind,
        **PLACES,
    )
    ours = build_sae(config, {name: value.detach() for name, value in their_transcoder(kind).state_dict().items()})
    save_sae(ours, tmp_path / "sae")
    theirs, rounded = TheirSae.load_from_disk(tmp_path / "sae"), rounded_sae(ours)
    assert type(theirs) is THEIRS[kind][0]
    with torch.no_grad():
        latents, out = theirs.encode(X), theirs(X)
    assert off(rounded.encode(X), latents) < 1e-6
    assert off(rounded(X), out) < 1e-6


@pytest.mark.parametrize("kind", ["transcoder", "jumprelu_skip_transcoder"])
def test_a_transcoder_read_as_an_sae_fails(tmp_path: Path, kind):
    """The comparison above is worth something: without the skipped part, or with a bias taken off, it fails."""
    theirs = their_transcoder(kind)
    theirs.save_model(tmp_path / "sae")
    ours = load_sae(tmp_path / "sae")
    weights = ours.weights()
    changed = build_sae(ours.config, weights | {"b_enc": weights["b_enc"] + 0.1})
    with torch.no_grad():
        assert off(changed(X), theirs(X)) > 1e-3
        if "W_skip" in weights:
            without = {name: value for name, value in weights.items() if name != "W_skip"}
            assert off(build_sae(ours.config.with_(skip_connection=False), without)(X), theirs(X)) > 1e-2


def test_heads_are_concatenated_in_the_same_order(tmp_path: Path):
    metadata = SAEMetadata(model_name="gpt2", hook_name="blocks.3.attn.hook_z", prepend_bos=True)
    theirs = StandardSAE(StandardSAEConfig(d_in=D_IN, d_sae=D_SAE, reshape_activations="hook_z", metadata=metadata))
    fill(theirs)
    theirs.save_model(tmp_path / "sae")
    ours = load_sae(tmp_path / "sae")
    z = X.reshape(50, 6, 4, 6)  # batch, pos, head, d_head
    with torch.no_grad():
        latents, out = theirs.encode(z), theirs(z)
    flat = z.flatten(2).flatten(0, 1)  # what the site "z.3" gives, head 0 first
    assert ours.config.site == "z.3"
    assert off(ours.encode(flat), latents.flatten(0, 1)) < 1e-6
    assert off(ours(flat), out.flatten(2).flatten(0, 1)) < 1e-6
