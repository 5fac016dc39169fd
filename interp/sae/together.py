"""Several SAEs from one stream: the model runs once for all the sites that they read.

Each SAE comes out to the same bits as if it had been trained alone by `train_sae_on_model`: it has its own buffer,
generator and checkpoints, and only the forward passes are shared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from tqdm.auto import tqdm

from interp.errors import InvalidInput
from interp.sae.activation_stream import ActivationStream, Batch, pick
from interp.sae.buffer import OwnPart
from interp.sae.devices import Device, training_device
from interp.sae.learner import Options
from interp.sae.on_model import SETTINGS, Plan, TrainedSae, judge_and_save, make_plan, read_finished, spec_at
from interp.sae.ranks import find_ranks
from interp.sae.settings import make_settings
from interp.sae.trainer import Trainer

if TYPE_CHECKING:
    from interp.models import Model

Log = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class SaeJob:
    """One of several SAEs; the words are those of `train_sae_on_model`."""

    site: str
    d_sae: int
    arch: str = "topk"
    options: Options | Mapping[str, Any] = field(default_factory=dict)
    """Options of the architecture, such as TopKOptions(k=32) or {"k": 32}."""
    site_out: str | None = None
    skip_connection: bool = False
    lr: float | None = None
    """Peak learning rate where it is not that of the others."""


def train_saes(
    model: Model,
    rows: Iterable[Any],
    jobs: Mapping[str, SaeJob],
    *,
    tokens: int,
    seed: int,
    out: str | Path,
    bos: str | None = None,
    context_size: int | None = None,
    eval_rows: int = 512,
    batch_tokens: int = 8192,
    dtype: str = "float16",
    device: Device = None,
    progress: bool = True,
    overwrite: bool = False,
    log: Log | None = None,
    **settings: Any,
) -> dict[str, TrainedSae]:
    """Train several SAEs on one stream of activations, and evaluate and save each as `out/<name>`.

    Every SAE sees the same tokens in the same order. A batch is kept until each SAE has read it, so about half a
    buffer of activations a site is held beside the buffers. After a kill the same call goes on; SAEs whose
    checkpoints lie behind catch up first, and finished ones are read back.

    Args:
        rows, bos, context_size, eval_rows, batch_tokens, dtype, device, overwrite: as `train_sae_on_model`, for all.
        jobs: name of each SAE -> what it is.
        log: is called with the name of an SAE and each row of its history.
        settings: for all: batch_size, lr, buffer, dead_after, log_every, checkpoint_every, precision.

    Raises:
        InvalidInput: no jobs, an unknown setting, or what `train_sae_on_model` refuses.
        UnknownSite: the model has no such site. UnknownName: no such architecture.
    """
    if not jobs:
        raise InvalidInput("no SAEs to train; give at least one SaeJob.")
    unknown = sorted(set(settings) - set(SETTINGS))
    if unknown:
        raise InvalidInput(f"no setting {unknown[0]!r}; settings for all are {', '.join(SETTINGS)}.")
    where = model.device if device is None else training_device(device)
    sites = [site for job in jobs.values() for site in (job.site, job.site_out) if site is not None]
    stream = ActivationStream(
        model, rows, sites, bos=bos, context_size=context_size, eval_rows=eval_rows, batch_tokens=batch_tokens
    )
    plans = {
        name: _plan(stream, job, Path(out) / name, tokens, seed, eval_rows, dtype, settings)
        for name, job in jobs.items()
    }
    results = {name: read_finished(plan, overwrite) for name, plan in plans.items()}
    left = {name: plans[name] for name, result in results.items() if result is None}
    if left:
        held_out = stream.held_out()
        for name, trainer in _trained(left, stream, where, progress, log).items():
            history = pd.DataFrame(trainer.history)
            results[name] = judge_and_save(
                plans[name], stream, trainer.finished(), history, held_out, device=where, overwrite=overwrite
            )
    return {name: result for name, result in results.items() if result is not None}


def _plan(
    stream: ActivationStream,
    job: SaeJob,
    folder: Path,
    tokens: int,
    seed: int,
    eval_rows: int,
    dtype: str,
    settings: dict[str, Any],
) -> Plan:
    stated = stream.stated(job.site, dtype=dtype, site_out=job.site_out, skip_connection=job.skip_connection)
    options = job.options if isinstance(job.options, Options) else None
    values = {} if isinstance(job.options, Options) else dict(job.options)
    spec = spec_at(stream, stated, d_sae=job.d_sae, arch=job.arch, options=options, values=values)
    own: dict[str, Any] = settings | ({} if job.lr is None else {"lr": job.lr})
    return make_plan(spec, make_settings(tokens=tokens, seed=seed, **own), eval_rows, folder)


def _trained(
    plans: dict[str, Plan], stream: ActivationStream, device: torch.device, progress: bool, log: Log | None
) -> dict[str, Trainer]:
    """Run the trainers of all plans in step, each from its latest checkpoint."""
    shared = _SharedBatches(stream.batches, set(plans))
    trainers = {name: Trainer(plan.spec, plan.settings, device) for name, plan in plans.items()}
    for name, trainer in trainers.items():
        config = plans[name].spec.config
        own = OwnPart(shared.reader(name, str(config.site), config.site_out))
        trainer.open(own, plans[name].checkpoints)
    logs = {name: None if log is None else partial(log, name) for name in trainers}
    step = max(trainer.step for trainer in trainers.values())
    last = max(trainer.settings.steps for trainer in trainers.values())
    for name, trainer in trainers.items():  # those behind catch up alone, so that all then read the same batches
        if trainer.step < step:
            shared.share({name})
            trainer.run(progress=progress, log=logs[name], until=step)
    shared.share(set(trainers))
    with tqdm(total=last, initial=step, unit="step", disable=None if progress and find_ranks().first else True) as bar:
        for until in range(step + 1, last + 1):
            for name, trainer in trainers.items():
                trainer.run(progress=False, log=logs[name], until=until)
            bar.update()
    return trainers


class _SharedBatches:
    """Batches of a stream by number, each made once and kept until every reader has had it.

    The stream is a pure function of the number, so a reader that asks for another number than the others is served
    correctly, by starting the stream there; only the sharing is lost.
    """

    def __init__(self, batches: Callable[[int], Iterator[Batch]], readers: set[str]) -> None:
        self._batches, self._readers = batches, readers
        self._stream: Iterator[Batch] = iter(())
        self._next = -1
        self._held: dict[int, tuple[Batch, set[str]]] = {}

    def share(self, readers: set[str]) -> None:
        """From now on keep each batch for these readers, and drop what is kept for others."""
        if readers != self._readers:
            self._readers, self._held = readers, {}

    def reader(self, name: str, site: str, site_out: str | None) -> Callable[[int], Iterator[Any]]:
        """Return the stream of one SAE, as `train_sae` takes it."""

        def batches(start: int) -> Iterator[Any]:
            number = start
            while True:
                yield pick(self._get(name, number), site, site_out)
                number += 1

        return batches

    def _get(self, name: str, number: int) -> Batch:
        if number not in self._held:
            if number != self._next:
                self._stream, self._next = self._batches(number), number
            self._held[number] = next(self._stream), self._readers | {name}
            self._next += 1
        batch, waiting = self._held[number]
        waiting.discard(name)
        if not waiting:
            del self._held[number]
        return batch
