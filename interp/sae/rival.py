"""The control of every number about an SAE: the same number of an SAE whose directions are random."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from interp.errors import InvalidInput
from interp.sae.activation_rows import Activations, chunks
from interp.sae.coder import SAE
from interp.sae.config import SaeConfig, topk_config
from interp.sae.jumprelu import JumpReluSAE
from interp.sae.topk import TopKSAE

_MAX_CELLS = 1 << 25
"""Pre-activations held while thresholds are found (128 MiB)."""


def random_sae(sae: SAE, activations: Activations, *, seed: int) -> SAE:
    """Return an SAE with random directions that is on as often as `sae` and has one fitted gain.

    Directions are isotropic, encoder and decoder the same. For a TopK SAE k is its measured L0. For every other
    architecture it is a JumpReLU SAE, each threshold set so that latent j is on in the same share of the rows as
    latent j of `sae`: same L0, same densities, same dead latents. The bias is the mean of the rows, and the decoder is
    scaled by the gain of least squares: without them a random SAE loses for a trivial reason.

    Args:
        activations: [n, d_in] or an iterable of such arrays; the first chunk (at most 4096 rows) is used.
        seed: of the directions.

    Raises:
        InvalidInput: no rows, or a transcoder.
    """
    if sae.config.is_transcoder:
        raise InvalidInput("a random SAE stands beside an SAE; a transcoder writes to another place than it reads.")
    first = next(chunks(activations), None)
    if first is None or len(first) == 0:
        raise InvalidInput("no activations to calibrate a random SAE on.")
    return calibrated(sae, first, np.random.default_rng(seed))


def calibrated(sae: SAE, rows: Tensor, rng: np.random.Generator) -> SAE:
    """Return the `random_sae` for these rows [n, d_in]."""
    rows = rows[: max(2, _MAX_CELLS // sae.config.d_sae)].cpu()
    on = (sae.encode(rows) > 0).cpu()
    directions = rng.standard_normal((sae.config.d_sae, sae.config.d_in)).astype(np.float32)
    W = torch.from_numpy(directions / np.linalg.norm(directions, axis=1, keepdims=True))
    normalised = sae._normalised(rows.to(sae.W_dec.device))[0].cpu()
    bias = normalised.double().mean(dim=0).float()
    weights = {"W_enc": W.T, "W_dec": W, "b_enc": torch.zeros(len(W)), "b_dec": bias}
    config = _config(sae.config, on)
    if config.architecture == "jumprelu":
        weights |= _thresholds((normalised - bias) @ W.T, on.double().mean(dim=0))
    return _with_gain(config, weights, rows)


def _config(config: SaeConfig, on: Tensor) -> SaeConfig:
    mean_on = float(on.sum(dim=1).double().mean())
    k = max(1, min(config.d_sae, round(mean_on)))
    where = ("site", "hook_name", "model_name", "model_fingerprint", "bos", "context_size")
    own = topk_config(
        config.d_in, config.d_sae, k=k, normalize_activations=config.normalize_activations, decoder_norm="free",
        dtype="float32", **{name: getattr(config, name) for name in where},
    )  # fmt: skip
    return own if config.architecture == "topk" else own.with_(architecture="jumprelu", activation="jumprelu", k=None)


def _thresholds(pre: Tensor, density: Tensor) -> dict[str, Tensor]:
    """Return threshold and b_enc [d_sae] with which `pre` [n, d_sae] is on in the share `density` of the rows."""
    ordered = pre.sort(dim=0, descending=True).values
    n = len(pre)
    count = (density * n).round().long()
    above = torch.gather(ordered, 0, (count - 1).clamp(min=0)[None])[0]
    below = torch.gather(ordered, 0, count.clamp(max=n - 1)[None])[0]
    cut = torch.where(count == 0, ordered[0], torch.where(count == n, ordered[-1] - 1.0, (above + below) / 2))
    raised = (-cut).clamp(min=0.0)  # a JumpReLU is never on below 0, so a latent that mostly is on needs a bias
    return {"threshold": cut + raised, "b_enc": raised}


def _with_gain(config: SaeConfig, weights: dict[str, Tensor], rows: Tensor) -> SAE:
    """Return the SAE whose decoder is scaled so that it fits the rows best in least squares."""
    kind = TopKSAE if config.architecture == "topk" else JumpReluSAE
    part = kind(config, weights)(rows)
    base = kind(config, {**weights, "W_dec": torch.zeros_like(weights["W_dec"])})(rows)
    moved = (part - base).double()
    size = float(moved.square().sum())
    gain = float(((rows - base).double() * moved).sum()) / size if size > 0 else 0.0
    return kind(config, {**weights, "W_dec": weights["W_dec"] * gain})
