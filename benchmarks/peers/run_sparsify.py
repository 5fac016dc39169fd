"""Time EleutherAI's own training loop, `sparsify.Trainer.fit`; runs under a Python that has eai-sparsify.

The trainer wants a language model; it is given a table of activations that looks like one: "token" i is row i of the
data, and the module that is read returns it. So the loop, the hook and the optimiser are theirs, and nothing else
takes time. A third word on the command line, such as `adam`, is the optimiser (its default is signum).
"""

from __future__ import annotations

import sys
from types import SimpleNamespace

import torch
from clock import DEAD_BIAS, LONG_AGO, Clock, Job, job
from sparsify import SparseCoderConfig, TrainConfig, Trainer
from torch import Tensor, nn

SEQUENCES = 32
"""Sequences in a batch, its default."""


class Table(nn.Module):
    """A module whose output for ids [sequence, pos] is the rows of the data; a step begins when it is called."""

    def __init__(self, run: Job, clock: Clock) -> None:
        super().__init__()
        self.read, self.rows, self.device = nn.Identity(), run.rows.to(run.device), torch.device(run.device)
        self.clock, self.done = clock, 0
        self.config = SimpleNamespace(num_hidden_layers=1)
        self.dummy_inputs = {"input_ids": torch.zeros(1, 2, dtype=torch.int64)}

    @property
    def base_model(self) -> nn.Module:
        """Return where the modules are looked up."""
        return self

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return [sequence, pos, d_in]."""
        if len(input_ids) == SEQUENCES:  # not the dummy
            self.clock.tick(self.done)
            self.done += 1
        return self.read(self.rows[input_ids])


class Timed(Trainer):
    """Their trainer; what it would write at the end is not part of the time."""

    def save(self) -> None:
        """Read the clock where the SAE would be written."""
        self.model.clock.tick(self.model.done)


def main() -> None:
    """Train and write the result."""
    run, optimizer = job(), (sys.argv[3:] or ["signum"])[0]
    clock = Clock(run)
    ids = torch.arange(run.total * run.batch_size).remainder(len(run.rows)).view(run.total * SEQUENCES, -1)
    config = TrainConfig(
        SparseCoderConfig(num_latents=run.d_sae, k=run.k),
        batch_size=SEQUENCES,
        hookpoints=["read"],
        auxk_alpha=1 / 32,
        optimizer=optimizer,
        log_to_wandb=False,
    )
    trainer = Timed(config, [{"input_ids": row} for row in ids], Table(run, clock))
    silent_for = trainer.num_tokens_since_fired["read"]
    with torch.no_grad():
        trainer.saes["read"].encoder.bias[: run.n_dead] = DEAD_BIAS
        silent_for[: run.n_dead] = LONG_AGO
    trainer.fit()
    called = (
        f"sparsify.Trainer.fit(optimizer='{optimizer}', auxk_alpha=1/32; by default it is 0), all else its defaults, "
        "the model a table of the activations, without saving at the end; no mixing buffer: it has none"
    )
    clock.write(packages=("eai-sparsify",), n_dead=int((silent_for > 10_000_000).sum()), called=called)


if __name__ == "__main__":
    main()
