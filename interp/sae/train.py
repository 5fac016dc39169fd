"""Train a sparse autoencoder or a transcoder of any architecture on any stream of activations.

Adam with linear warm-up and a linear fall over the last fifth. The stream is scaled by one number c so that
E|c x - mean|^2 = d_in, and that number is folded out again at the end: the SAE returned reads raw activations. (The
mean square about 0 would do for centred data only: a large mean leaves a signal smaller than Adam's steps.) What is
minimised, and how dead latents are treated, each file of `interp.sae.learners` says for its architecture.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from interp.sae.buffer import Batches, OwnPart
from interp.sae.coder import SAE
from interp.sae.config import SaeConfig
from interp.sae.devices import Device, training_device
from interp.sae.learner import Options
from interp.sae.settings import BATCH_SIZE, BUFFER, CHECKPOINT_EVERY, LOG_EVERY, LR, make_settings
from interp.sae.spec import make_spec
from interp.sae.trainer import Trainer


def train_sae(
    batches: Batches | OwnPart | tuple[Any, Any],
    config: SaeConfig | None = None,
    *,
    seed: int,
    arch: str = "topk",
    d_in: int | None = None,
    d_sae: int | None = None,
    options: Options | None = None,
    tokens: int | None = None,
    steps: int | None = None,
    batch_size: int = BATCH_SIZE,
    lr: float = LR,
    buffer: int = BUFFER,
    dead_after: int | None = None,
    log_every: int = LOG_EVERY,
    checkpoint_dir: str | Path | None = None,
    checkpoint_every: int = CHECKPOINT_EVERY,
    device: Device = None,
    precision: str = "float32",
    progress: bool = True,
    log: Callable[[dict[str, Any]], None] | None = None,
    **single_options: Any,
) -> tuple[SAE, pd.DataFrame]:
    """Train an SAE and return it with the history of its training.

    In an initialised group of `torch.distributed` (as under torchrun) all processes call this with the same arguments
    and train the one SAE: each takes its share of every batch and of the stream (batches rank, rank + world, ...), and
    returns the same bits. The first one writes checkpoints, which have to lie where all can read them, logs and shows
    progress. A run is resumed by as many processes. If one fails the others wait for it; torchrun then ends them.

    Args:
        batches: activations, see `interp.sae.buffer.open_source`: a function of the first batch number, an iterable
            of [n, d_in] arrays, or one [n, d_in] array (then served for as many epochs as it takes). Of a transcoder
            (a config with d_out) each is a pair, inputs [n, d_in] and targets [n, d_out].
        config: of the SAE that comes out; `input_scale` is measured and filled in. Or give d_in and d_sae.
        seed: of the initial directions and of the mixing.
        arch: a name of `interp.sae.learners.TRAINABLE`.
        options: the architecture's options, such as TopKOptions(k=32); or single ones by name, such as k=32.
        tokens: activation vectors to train on; or give `steps` of `batch_size` vectors.
        lr: peak learning rate of Adam; wider SAEs take less than the default.
        buffer: vectors in the mixing buffer (float32 in memory, and in each checkpoint).
        dead_after: vectors without firing after which a latent counts as dead; a tenth of the run by default.
        checkpoint_dir: folder for checkpoints; a run that finds one there goes on from it, to the same bits as a
            run that was never stopped (same machine, same device, same thread count).
        device: where weights, moments and the mixing buffer are ("cuda", "cuda:1", "cpu"); default that of `batches`
            where it is one tensor, else the CPU. Order and starting directions are the same on every device, sums are
            rounded otherwise.
        precision: "bfloat16" for the matrix products of the architectures under autograd (relu, gated, jumprelu,
            batchtopk, matryoshka); weights, moments, latents and losses stay float32. With 768 inputs, 12,288 latents
            and batches of 2,048 a step took 1.5 s of CPU time instead of 2.4 (relu) and 2.0 instead of 2.9
            (batchtopk, k = 32), on two shared cores with AMX. topk, gba and matching_pursuit are refused: their
            gradients are by hand, and of topk's 2.4 s of wall time the product would save 0.4.
        log: is called with each row of the history.

    Returns:
        The SAE for raw (unscaled) activations, on the CPU, and a frame with a row for every `log_every` steps: step,
        tokens, lr, loss, fvu (share of the batches' variance not explained), l0 (measured in training), dead_share.

    Raises:
        UnknownName: no such architecture.
        InvalidInput: options or settings out of range, the stream ends too early, or a checkpoint of another run.
        NonFinite: an activation or the loss is NaN or infinite.
    """
    spec = make_spec(config, arch=arch, d_in=d_in, d_sae=d_sae, options=options, values=single_options)
    settings = make_settings(
        seed=seed,
        tokens=tokens,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        buffer=buffer,
        dead_after=dead_after,
        log_every=log_every,
        checkpoint_every=checkpoint_every,
        precision=precision,
    )
    trainer = Trainer(spec, settings, training_device(device, batches))
    trainer.open(batches, None if checkpoint_dir is None else Path(checkpoint_dir))
    trainer.run(progress=progress, log=log)
    return trainer.finished(), pd.DataFrame(trainer.history)
