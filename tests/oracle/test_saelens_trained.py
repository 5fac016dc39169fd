"""Every architecture that can be trained here ends as a file that SAELens reads to the same numbers.

Needs the environment of `test_saelens_parity`; elsewhere it is skipped.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]
sae_lens = pytest.importorskip("sae_lens")

import torch  # noqa: E402
from sae_lens.saes.matching_pursuit_sae import MatchingPursuitSAE, MatchingPursuitSAEConfig  # noqa: E402
from sae_lens.saes.sae import SAE as TheirSae  # noqa: E402
from sae_lens.saes.sae import SAEMetadata  # noqa: E402

from interp.sae.io import load_sae, rounded_sae, save_sae  # noqa: E402
from interp.sae.learners import TRAINABLE  # noqa: E402
from interp.sae.train import train_sae  # noqa: E402

D_IN, D_SAE = 24, 96
OPTIONS = {
    "topk": {"k": 4},
    "batchtopk": {"k": 4},
    "matryoshka": {"k": 4, "prefixes": (24, 96)},
    "relu": {"l1": 0.1},
    "gated": {"l1": 0.1},
    "jumprelu": {"l0": 0.1},
    "gba": {"lowest": 0.01, "highest": 0.1},
    "matching_pursuit": {"max_iterations": 4},
}
SAVED_AS = {"relu": "standard", "batchtopk": "jumprelu", "matryoshka": "jumprelu", "gba": "jumprelu"}


def activations(n: int, *, seed: int) -> np.ndarray:
    """Three of 64 directions at a time, about a mean that is not 0; float32 [n, D_IN]."""
    dictionary = np.random.default_rng(0).standard_normal((64, D_IN))
    rng = np.random.default_rng(seed)
    codes = rng.uniform(0.5, 1.5, (n, 64)) * (rng.random((n, 64)) < 3 / 64)
    return (codes @ dictionary + 0.7).astype(np.float32)


def off(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Largest difference, as a share of the largest value."""
    return float((found - wanted).abs().max()) / float(wanted.abs().max())


def test_every_trainable_architecture_is_compared():
    assert set(OPTIONS) == set(TRAINABLE)


@pytest.mark.parametrize("arch", OPTIONS)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_trained_sae_gives_its_numbers_there(tmp_path: Path, arch, dtype):
    sae, _ = train_sae(
        activations(4000, seed=1),
        arch=arch,
        d_in=D_IN,
        d_sae=D_SAE,
        seed=0,
        steps=60,
        batch_size=64,
        lr=3e-3,
        progress=False,
        **OPTIONS[arch],
    )
    save_sae(sae, tmp_path / "sae", dtype=dtype)
    theirs, rounded = TheirSae.load_from_disk(tmp_path / "sae"), rounded_sae(sae, dtype=dtype)
    assert theirs.cfg.architecture() == SAVED_AS.get(arch, arch)
    x = torch.from_numpy(activations(300, seed=2))
    with torch.no_grad():
        latents, out = theirs.encode(x), theirs(x)
    assert 0 < float((latents > 0).double().mean()) < 1
    assert torch.equal(rounded.encode(x) > 0, latents > 0)
    assert off(rounded.encode(x), latents) < 1e-6
    assert off(rounded(x), out) < 1e-6


@pytest.mark.parametrize("apply_b_dec", [True, False])
@pytest.mark.parametrize(("steps", "bound", "stop"), [(5, 0.0, False), (None, 0.5, True), (20, 0.5, False)])
def test_their_matching_pursuit_gives_their_numbers_here(tmp_path: Path, apply_b_dec, steps, bound, stop):
    theirs = MatchingPursuitSAE(
        MatchingPursuitSAEConfig(
            d_in=D_IN,
            d_sae=D_SAE,
            apply_b_dec_to_input=apply_b_dec,
            max_iterations=steps,
            residual_threshold=bound,
            stop_on_duplicate_support=stop,
            metadata=SAEMetadata(model_name="gpt2", hook_name="blocks.3.hook_resid_post"),
        )
    )
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((D_SAE, D_IN))
    with torch.no_grad():
        theirs.W_dec.copy_(torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True)).float())
        theirs.b_dec.copy_(torch.from_numpy(rng.standard_normal(D_IN) * 0.5).float())
    theirs.save_model(tmp_path / "sae")
    ours = load_sae(tmp_path / "sae")
    assert ours.config.max_iterations == (steps or D_IN)
    x = torch.from_numpy(activations(300, seed=2))
    with torch.no_grad():
        latents, out = theirs.encode(x), theirs(x)
    assert torch.equal(ours.encode(x) > 0, latents > 0)
    assert off(ours.encode(x), latents) < 1e-6
    assert off(ours(x), out) < 1e-6
