"""The loop of a training run: stream, Adam, schedule, history, and how it is put away and taken up again.

It knows no architecture: see `interp.sae.learner`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from interp.errors import InvalidInput, NonFinite
from interp.sae.buffer import Batches, MixingBuffer, OwnPart, open_source
from interp.sae.checkpoint import Checkpoint, load_latest, save_checkpoint
from interp.sae.coder import SAE
from interp.sae.devices import check_precision
from interp.sae.learner import Learner
from interp.sae.pairs import joined
from interp.sae.ranks import find_ranks
from interp.sae.settings import TrainSettings
from interp.sae.spec import Spec
from interp.sae.window import Window

logger = logging.getLogger(__name__)

_BUFFER_STREAM, _INIT_STREAM = 0, 1  # keys of the seed's independent streams


class Trainer:
    """The state of a training run and one step of it, on one device.

    On CUDA a step is queued and not waited for: losses are summed on the device and read where a row of the history
    is made. A loss that is not finite is found at once on the CPU, and there or before a checkpoint elsewhere.

    In a group of processes each reads its part of the stream and of every batch (`interp.sae.ranks`); the buffers of
    all are in the checkpoint, which the first one writes.
    """

    learner: Learner

    def __init__(self, spec: Spec, settings: TrainSettings, device: torch.device | str = "cpu") -> None:
        self.config, self.settings, self.device = spec.config, settings, torch.device(device)
        check_precision(settings.precision, self.device)
        self.ranks = find_ranks()
        if settings.batch_size % self.ranks.world:
            raise InvalidInput(f"a batch of {settings.batch_size} cannot be shared by {self.ranks.world} processes.")
        self.spec = spec.filled(settings)
        self.step = 0
        self.history: list[dict[str, Any]] = []
        self.input_scale = self.output_scale = 1.0
        self._window = Window(self.device)
        self._folder: Path | None = None

    def open(self, batches: Batches | OwnPart, folder: Path | None) -> None:
        """Connect the stream, and either start anew or go on from the latest checkpoint in `folder`."""
        self._folder = folder
        config, world = self.config, self.ranks.world
        found = None if folder is None else load_latest(folder, self._identity())
        self.ranks.check_equal(
            -1 if found is None else found.step,
            f"the processes see different checkpoints in {folder}; it has to be on a disk that all of them share.",
        )
        kept = {"n_read": 0, "first_digest": None} if found is None else found.state[_buffer_key(self.ranks.rank)]
        self._buffer = MixingBuffer(
            open_source(
                joined(batches, config),
                seed=self.settings.seed,
                start=kept["n_read"],
                first_digest=kept["first_digest"],
                ranks=self.ranks,
            ),
            d_in=config.d_in + (config.width_out if config.is_transcoder else 0),
            batch_size=self.settings.batch_size // world,
            capacity=self.settings.buffer // world,
            rng=self._rng(_BUFFER_STREAM, *([self.ranks.rank] if world > 1 else [])),
            device=self.device,
        )
        if found is None:
            self._start()
        else:
            self._restore(found)
        self.learner.ranks = self.ranks

    def run(self, *, progress: bool, log: Callable[[dict[str, Any]], None] | None, until: int | None = None) -> None:
        """Do the steps that are left, or those before step `until`."""
        settings = self.settings
        last = settings.steps if until is None else min(until, settings.steps)
        bar = tqdm(
            total=settings.steps,
            initial=self.step,
            unit="step",
            disable=None if progress and self.ranks.first else True,
        )
        with bar:
            while self.step < last:
                self._one_step()
                bar.update()
                if self.step % settings.log_every == 0 or self.step == settings.steps:
                    row = self._report()
                    bar.set_postfix(fvu=f"{row['fvu']:.4f}", l0=f"{row['l0']:.1f}", dead=f"{row['dead_share']:.3f}")
                    if self.ranks.first:
                        logger.info("step %d: %s", self.step, row)
                        if log is not None:
                            log(row)
                if self._folder is not None and self.step % settings.checkpoint_every == 0:
                    self._save(self._folder)

    @torch.no_grad()
    def finished(self) -> SAE:
        """Return the SAE in raw units, on the CPU."""
        return self.learner.finished(self.input_scale, self.output_scale).cpu()

    def _start(self) -> None:
        """Fill the buffer; take the scales from it, and let the learner start."""
        stored = self._buffer.peek()
        if len(stored) == 0:
            raise InvalidInput("the stream of activations is empty; there is nothing to train on.")
        x, y = self._split(stored.double())
        scales = x.new_tensor([_scale(x), _scale(y if self.config.is_transcoder else x)])
        self.ranks.take_first([scales])
        self.input_scale, self.output_scale = scales.tolist()
        x, y = self._scaled(x, y)
        spec, rng = self.spec, self._rng(_INIT_STREAM)
        self.learner = spec.learner.start(spec.config, self.settings, spec.options, x, y, rng)
        tensors = [*self.learner.weights.values(), *self.learner.state.values()]
        self.ranks.take_first([tensor for tensor in tensors if tensor.device.type == self.device.type])
        self._optimizer = self._adam()

    @torch.no_grad()
    def _one_step(self) -> None:
        batch = next(self._buffer, None)
        if batch is None:
            raise InvalidInput(
                f"the stream of activations ended at step {self.step} of {self.settings.steps} (the learning rate has "
                f"not fallen yet). Give {self.settings.steps * self.settings.batch_size} vectors or fewer tokens."
            )
        x, y = self._scaled(*self._split(batch))
        step = self.learner.step(x, y, step=self.step)
        self._window.add(step, y, self.ranks)
        if self.device.type == "cpu":
            self._check_finite()
        for group in self._optimizer.param_groups:
            group["lr"] = self.settings.learning_rate(self.step)
        grads = self.ranks.means(step.grads)
        for name, value in self.learner.weights.items():
            value.grad = grads[name]
        self._optimizer.step()
        self.learner.constrain()
        self.learner.note_fired(self.ranks.any(step.fired), self.settings.batch_size)
        self.step += 1

    def _split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of buffered rows; the same tensor but for a transcoder."""
        if not self.config.is_transcoder:
            return rows, rows
        return rows[:, : self.config.d_in], rows[:, self.config.d_in :]

    def _scaled(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        scaled = x * self.input_scale
        return scaled, scaled if y is x else y * self.output_scale

    def _adam(self) -> torch.optim.Adam:
        weights = list(self.learner.weights.values())
        # fused: one pass over weights and moments, five times as fast on a CPU
        fused = self.device.type in ("cpu", "cuda")
        return torch.optim.Adam(weights, lr=self.settings.lr, betas=self.learner.betas, fused=fused)

    def _check_finite(self) -> None:
        loss = self._window.sums()["loss"]
        if not np.isfinite(loss):
            raise NonFinite(f"the loss is {loss} at step {self.step}; lower lr (now {self.settings.lr}).")

    def _report(self) -> dict[str, Any]:
        self._check_finite()
        row = {
            "step": self.step,
            "tokens": self.step * self.settings.batch_size,
            "lr": self.settings.learning_rate(self.step - 1),
            **self._window.means(),
            "dead_share": float(self.learner.dead().double().mean()),
        }
        self.history.append(row)
        self._window = Window(self.device)
        return row

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.settings.seed, spawn_key=stream))

    def _identity(self) -> dict[str, Any]:
        about = {"config": self.config.to_dict(), "settings": asdict(self.settings), "training": self.spec.to_dict()}
        return about | {"run": {"world": self.ranks.world}}

    def _save(self, folder: Path) -> None:
        self._check_finite()
        for name, value in self.learner.weights.items():
            if not bool(torch.isfinite(value).all()):
                raise NonFinite(f"{name} is not finite at step {self.step}; lower lr (now {self.settings.lr}).")
        buffers = self.ranks.gathered(self._buffer.state())
        if buffers is None:
            return
        tensors = {f"state.{name}": value for name, value in self.learner.state.items()}
        counters = {}
        for rank, (vectors, counters[_buffer_key(rank)]) in enumerate(buffers):
            tensors |= {f"{_buffer_key(rank)}.{name}": value for name, value in vectors.items()}
        for name, value in self.learner.weights.items():
            tensors[f"weights.{name}"] = value
            tensors |= {f"adam.{name}.{key}": t for key, t in self._optimizer.state[value].items()}
        state = {
            "step": self.step,
            "history": self.history,
            "scales": [self.input_scale, self.output_scale],
            "weights": list(self.learner.weights),
            "window": self._window.sums(),
            **counters,
        }
        save_checkpoint(folder, Checkpoint(self.step, self._identity(), state, tensors))

    def _restore(self, found: Checkpoint) -> None:
        self.step, self.history = found.step, found.state["history"]
        self.input_scale, self.output_scale = found.state["scales"]
        self._window = Window(self.device, found.state["window"])
        key = _buffer_key(self.ranks.rank)
        self._buffer.restore(_under(f"{key}.", found.tensors), found.state[key])
        rest = {name: value for name, value in found.tensors.items() if not name.startswith("buffer")}
        tensors = {name: value.to(self.device) for name, value in rest.items()}
        weights = {name: tensors[f"weights.{name}"] for name in found.state["weights"]}
        spec = self.spec
        self.learner = spec.learner(spec.config, self.settings, spec.options, weights, _under("state.", tensors))
        self._optimizer = self._adam()
        for name, value in weights.items():
            self._optimizer.state[value] = _under(f"adam.{name}.", tensors)


def _scale(rows: Tensor) -> float:
    """Return c such that the mean of |c x - mean|^2 is the width of x."""
    variance = float((rows - rows.mean(dim=0)).square().sum(dim=1).mean())
    if variance == 0.0:
        raise InvalidInput("all activations in the first buffer are the same; there is nothing to learn.")
    return float(np.sqrt(rows.shape[1] / variance))


def _buffer_key(rank: int) -> str:
    return f"buffer_{rank}" if rank else "buffer"


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
