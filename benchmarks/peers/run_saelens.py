"""Time SAELens' own training loop, `SAETrainer.fit`; runs under a Python that has sae-lens.

A third word on the command line, `sparse`, turns its use_sparse_activations on; rescale_acts_by_decoder_norm is then
off, because with both on the backward pass raises (sae-lens 6.54.12, torch 2.13, on a CPU: no aten::view there).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch
from clock import DEAD_BIAS, LONG_AGO, Clock, Job, job
from sae_lens.config import SAETrainerConfig
from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.training.mixing_buffer import mixing_buffer
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor


def provider(run: Job, clock: Clock) -> Iterator[Tensor]:
    """Yield mixed batches; a step begins with each."""
    batches = mixing_buffer(run.buffer, run.batch_size, run.batches())
    for done in range(run.total):
        clock.tick(done)
        yield next(batches)


def main() -> None:
    """Train and write the result."""
    run, sparse = job(), "sparse" in sys.argv[3:]
    torch.manual_seed(0)
    clock = Clock(run)
    ways = {"use_sparse_activations": sparse, "rescale_acts_by_decoder_norm": not sparse}
    config = TopKTrainingSAEConfig(d_in=run.rows.shape[1], d_sae=run.d_sae, k=run.k, device=run.device, **ways)
    sae = TopKTrainingSAE(config)
    settings = SAETrainerConfig(
        total_training_samples=run.total * run.batch_size,
        train_batch_size_samples=run.batch_size,
        lr_end=3e-5,  # has to be given here; a tenth of lr, as their language-model runner fills in
        device=run.device,
    )
    trainer = SAETrainer(settings, sae, provider(run, clock))
    with torch.no_grad():
        sae.b_enc[: run.n_dead] = DEAD_BIAS
        trainer.n_forward_passes_since_fired[: run.n_dead] = LONG_AGO
    trainer.fit()
    clock.tick(run.total)
    called = (
        f"sae_lens SAETrainer.fit of a TopKTrainingSAE({', '.join(f'{n}={v}' for n, v in ways.items())}), all else its "
        "defaults (aux_loss_coefficient 1, no autocast), batches of its mixing_buffer"
    )
    clock.write(packages=("sae-lens",), n_dead=int(trainer.dead_neurons.sum()), called=called)


if __name__ == "__main__":
    main()
