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
from interp.sae.buffer import Batches, MixingBuffer, open_source
from interp.sae.checkpoint import Checkpoint, load_latest, save_checkpoint
from interp.sae.coder import SAE
from interp.sae.learner import Learner
from interp.sae.pairs import joined
from interp.sae.settings import TrainSettings
from interp.sae.spec import Spec
from interp.sae.window import Window

logger = logging.getLogger(__name__)

_BUFFER_STREAM, _INIT_STREAM = 0, 1  # keys of the seed's independent streams


class Trainer:
    """The state of a training run and one step of it, on one device.

    On CUDA a step is queued and not waited for: losses are summed on the device and read where a row of the history
    is made. A loss that is not finite is found at once on the CPU, and there or before a checkpoint elsewhere.
    """

    learner: Learner

    def __init__(self, spec: Spec, settings: TrainSettings, device: torch.device | str = "cpu") -> None:
        self.config, self.settings, self.device = spec.config, settings, torch.device(device)
        self.spec = spec.filled(settings)
        self.step = 0
        self.history: list[dict[str, Any]] = []
        self.input_scale = self.output_scale = 1.0
        self._window = Window(self.device)
        self._folder: Path | None = None

    def open(self, batches: Batches, folder: Path | None) -> None:
        """Connect the stream, and either start anew or go on from the latest checkpoint in `folder`."""
        self._folder = folder
        config = self.config
        found = None if folder is None else load_latest(folder, self._identity())
        kept = {"n_read": 0, "first_digest": None} if found is None else found.state["buffer"]
        self._buffer = MixingBuffer(
            open_source(
                joined(batches, config),
                seed=self.settings.seed,
                start=kept["n_read"],
                first_digest=kept["first_digest"],
            ),
            d_in=config.d_in + (config.width_out if config.is_transcoder else 0),
            batch_size=self.settings.batch_size,
            capacity=self.settings.buffer,
            rng=self._rng(_BUFFER_STREAM),
            device=self.device,
        )
        if found is None:
            self._start()
        else:
            self._restore(found)

    def run(self, *, progress: bool, log: Callable[[dict[str, Any]], None] | None, until: int | None = None) -> None:
        """Do the steps that are left, or those before step `until`."""
        settings = self.settings
        last = settings.steps if until is None else min(until, settings.steps)
        bar = tqdm(total=settings.steps, initial=self.step, unit="step", disable=None if progress else True)
        with bar:
            while self.step < last:
                self._one_step()
                bar.update()
                if self.step % settings.log_every == 0 or self.step == settings.steps:
                    row = self._report()
                    bar.set_postfix(fvu=f"{row['fvu']:.4f}", l0=f"{row['l0']:.1f}", dead=f"{row['dead_share']:.3f}")
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
        self.input_scale = _scale(x)
        self.output_scale = _scale(y) if self.config.is_transcoder else self.input_scale
        x, y = self._scaled(x, y)
        spec, rng = self.spec, self._rng(_INIT_STREAM)
        self.learner = spec.learner.start(spec.config, self.settings, spec.options, x, y, rng)
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
        self._window.add(step, y)
        if self.device.type == "cpu":
            self._check_finite()
        for group in self._optimizer.param_groups:
            group["lr"] = self.settings.learning_rate(self.step)
        for name, value in self.learner.weights.items():
            value.grad = step.grads[name]
        self._optimizer.step()
        self.learner.constrain()
        self.learner.note_fired(step.fired, len(x))
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
        fused = True if self.device.type == "cuda" else None  # one pass over weights and moments; the state is there
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

    def _rng(self, stream: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.settings.seed, spawn_key=(stream,)))

    def _identity(self) -> dict[str, Any]:
        return {"config": self.config.to_dict(), "settings": asdict(self.settings), "training": self.spec.to_dict()}

    def _save(self, folder: Path) -> None:
        self._check_finite()
        for name, value in self.learner.weights.items():
            if not bool(torch.isfinite(value).all()):
                raise NonFinite(f"{name} is not finite at step {self.step}; lower lr (now {self.settings.lr}).")
        tensors, buffer = self._buffer.state()
        tensors |= {f"state.{name}": value for name, value in self.learner.state.items()}
        for name, value in self.learner.weights.items():
            tensors[f"weights.{name}"] = value
            tensors |= {f"adam.{name}.{key}": t for key, t in self._optimizer.state[value].items()}
        state = {
            "step": self.step,
            "history": self.history,
            "scales": [self.input_scale, self.output_scale],
            "weights": list(self.learner.weights),
            "buffer": buffer,
            "window": self._window.sums(),
        }
        save_checkpoint(folder, Checkpoint(self.step, self._identity(), state, tensors))

    def _restore(self, found: Checkpoint) -> None:
        self.step, self.history = found.step, found.state["history"]
        self.input_scale, self.output_scale = found.state["scales"]
        self._window = Window(self.device, found.state["window"])
        self._buffer.restore(found.tensors, found.state["buffer"])
        tensors = {name: value.to(self.device) for name, value in found.tensors.items()}
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


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
