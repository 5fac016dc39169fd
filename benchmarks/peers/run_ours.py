"""Time `train_sae` of this project, as it is called by anyone."""

from __future__ import annotations

from inspect import signature
from typing import Any

from clock import DEAD_BIAS, LONG_AGO, Clock, job

from interp.sae.learner import SILENT_FOR
from interp.sae.learners import TRAINABLE
from interp.sae.learners.topk import TopKLearner, TopKOptions
from interp.sae.train import train_sae

JOB = job()


class WithDead(TopKLearner):
    """TopK that starts with some latents dead."""

    @classmethod
    def start(cls, *args: Any) -> Any:
        """Start as TopK does, then silence the first latents."""
        learner = super().start(*args)
        learner.weights["b_enc"][: JOB.n_dead] = DEAD_BIAS
        learner.state[SILENT_FOR][: JOB.n_dead] = LONG_AGO
        return learner


def main() -> None:
    """Train and write the result."""
    TRAINABLE["topk, some dead"] = (WithDead, TopKOptions)
    on = {} if JOB.device == "cpu" else {"device": JOB.device}
    if on and "device" not in signature(train_sae).parameters:
        raise SystemExit("this train_sae has no device=; leave --device out.")
    clock = Clock(JOB)
    _, history = train_sae(
        lambda start: JOB.batches(),
        arch="topk, some dead",
        d_in=JOB.rows.shape[1],
        d_sae=JOB.d_sae,
        k=JOB.k,
        seed=0,
        steps=JOB.total,
        batch_size=JOB.batch_size,
        buffer=JOB.buffer,
        dead_after=10_000_000,
        lr=3e-4,
        log_every=JOB.warmup,
        progress=False,
        log=lambda row: clock.tick(row["step"]),
        **on,
    )
    n_dead = round(float(history["dead_share"].iloc[-1]) * JOB.d_sae)
    called = "interp.sae.train_sae(arch='topk', ...), its own mixing buffer, AuxK as by default"
    clock.write(packages=("numpy",), n_dead=n_dead, called=called)


if __name__ == "__main__":
    main()
