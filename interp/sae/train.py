"""Train a TopK sparse autoencoder on any stream of activations (Gao et al. 2024).

Adam with linear warm-up and a linear fall over the last fifth; rows of W_dec kept at length 1 by projecting their
gradient and renormalising; dead latents revived by the AuxK term. The stream is scaled by one number c so that
E|c x - mean|^2 = d_in, and that number is folded out again at the end: the SAE returned reads raw activations. (The
mean square about 0 would do for centred data only: a large mean leaves a signal smaller than Adam's steps.)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from interp.sae.buffer import Batches
from interp.sae.config import SaeConfig
from interp.sae.settings import BATCH_SIZE, BUFFER, CHECKPOINT_EVERY, LOG_EVERY, LR, make_settings
from interp.sae.topk import TopKSAE
from interp.sae.trainer import Trainer


def train_sae(
    batches: Batches,
    config: SaeConfig,
    *,
    seed: int,
    tokens: int | None = None,
    steps: int | None = None,
    batch_size: int = BATCH_SIZE,
    lr: float = LR,
    buffer: int = BUFFER,
    dead_after: int | None = None,
    k_aux: int | None = None,
    log_every: int = LOG_EVERY,
    checkpoint_dir: str | Path | None = None,
    checkpoint_every: int = CHECKPOINT_EVERY,
    progress: bool = True,
    log: Callable[[dict[str, Any]], None] | None = None,
) -> tuple[TopKSAE, pd.DataFrame]:
    """Train a TopK SAE and return it with the history of its training.

    Args:
        batches: activations, see `interp.sae.buffer.open_source`: a function of the first batch number, an iterable
            of [n, d_in] arrays, or one [n, d_in] array (then served for as many epochs as it takes).
        config: what to train; `input_scale` is measured and filled in.
        seed: of the initial directions and of the mixing.
        tokens: activation vectors to train on; or give `steps` of `batch_size` vectors.
        lr: peak learning rate of Adam; wider SAEs take less than the default.
        buffer: vectors in the mixing buffer (float32 in memory, and in each checkpoint).
        dead_after: vectors without firing after which a latent counts as dead; a tenth of the run by default.
        k_aux: dead latents used by the AuxK term for a vector; d_in // 2 by default, 0 for no AuxK.
        checkpoint_dir: folder for checkpoints; a run that finds one there goes on from it, to the same bits as a
            run that was never stopped (same machine, same thread count).
        log: is called with each row of the history.

    Returns:
        The SAE for raw (unscaled) activations, and a frame with a row for every `log_every` steps: step, tokens, lr,
        loss, fvu (share of the batches' variance not explained), l0 (measured), dead_share.

    Raises:
        InvalidInput: settings out of range, the stream ends too early, or a checkpoint of another run.
        NonFinite: an activation is NaN or infinite.
    """
    settings = make_settings(
        config,
        seed=seed,
        tokens=tokens,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        buffer=buffer,
        dead_after=dead_after,
        k_aux=k_aux,
        log_every=log_every,
        checkpoint_every=checkpoint_every,
    )
    trainer = Trainer(config, settings)
    trainer.open(batches, None if checkpoint_dir is None else Path(checkpoint_dir))
    trainer.run(progress=progress, log=log)
    return trainer.finished(), pd.DataFrame(trainer.history)
