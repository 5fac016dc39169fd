"""The state of a training run, one step of it, and how it is put away and taken up again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from interp.errors import InvalidInput, NonFinite
from interp.sae.buffer import Batches, MixingBuffer, open_source
from interp.sae.checkpoint import Checkpoint, load_latest, save_checkpoint
from interp.sae.config import SaeConfig
from interp.sae.settings import TrainSettings
from interp.sae.sparse_grad import Aux, Step, Weights, topk_step
from interp.sae.topk import TopKSAE

logger = logging.getLogger(__name__)

AUX_WEIGHT = 1 / 32
_BUFFER_STREAM, _INIT_STREAM = 0, 1  # keys of the seed's independent streams


class Trainer:
    """The state of a training run and one step of it."""

    def __init__(self, config: SaeConfig, settings: TrainSettings) -> None:
        _refuse_untrainable(config)
        self.config, self.settings = config, settings
        self.step = 0
        self.history: list[dict[str, Any]] = []
        self.weights: Weights = {}
        self.input_scale = 1.0
        self._silent_for = torch.zeros(config.d_sae, dtype=torch.int64)  # vectors since each latent last fired
        self._window = _Window()
        self._folder: Path | None = None

    def open(self, batches: Batches, folder: Path | None) -> None:
        """Connect the stream, and either start anew or go on from the latest checkpoint in `folder`."""
        self._folder = folder
        found = None if folder is None else load_latest(folder, self._identity())
        kept = {"n_read": 0, "first_digest": None} if found is None else found.state["buffer"]
        self._buffer = MixingBuffer(
            open_source(batches, seed=self.settings.seed, start=kept["n_read"], first_digest=kept["first_digest"]),
            d_in=self.config.d_in,
            batch_size=self.settings.batch_size,
            capacity=self.settings.buffer,
            rng=self._rng(_BUFFER_STREAM),
        )
        if found is None:
            self._start()
        else:
            self._restore(found)

    def run(self, *, progress: bool, log: Callable[[dict[str, Any]], None] | None) -> None:
        """Do the steps that are left."""
        settings = self.settings
        bar = tqdm(total=settings.steps, initial=self.step, unit="step", disable=None if progress else True)
        with bar:
            while self.step < settings.steps:
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

    def finished(self) -> TopKSAE:
        """Return the SAE in raw units.

        With y = c x: ReLU and TopK are homogeneous, so dividing b_enc and b_dec by c gives latents and
        reconstructions of x itself, and the decoder rows keep length 1.
        """
        weights = {name: value.detach() for name, value in self.weights.items()}
        for name in ("b_enc", "b_dec"):
            weights[name] = weights[name] / self.input_scale
        return TopKSAE(self.config.with_(input_scale=self.input_scale), weights)

    def _start(self) -> None:
        """Fill the buffer; take the scale and the bias from it, and random directions of length 1."""
        stored = self._buffer.peek()
        if len(stored) == 0:
            raise InvalidInput("the stream of activations is empty; there is nothing to train on.")
        mean = stored.double().mean(dim=0)
        variance = float((stored.double() - mean).square().sum(dim=1).mean())
        if variance == 0.0:
            raise InvalidInput("all activations in the first buffer are the same; there is nothing to learn.")
        self.input_scale = float(np.sqrt(self.config.d_in / variance))
        shape = (self.config.d_sae, self.config.d_in)
        rows = torch.from_numpy(self._rng(_INIT_STREAM).standard_normal(shape)).float()
        rows /= rows.norm(dim=1, keepdim=True)
        self.weights = {
            "W_enc": rows.T.contiguous(),
            "b_enc": torch.zeros(self.config.d_sae),
            "W_dec": rows,
            "b_dec": (mean * self.input_scale).float(),
        }
        self._optimizer = torch.optim.Adam(list(self.weights.values()), lr=self.settings.lr)

    @torch.no_grad()
    def _one_step(self) -> None:
        batch = next(self._buffer, None)
        if batch is None:
            raise InvalidInput(
                f"the stream of activations ended at step {self.step} of {self.settings.steps} (the learning rate has "
                f"not fallen yet). Give {self.settings.steps * self.settings.batch_size} vectors or fewer tokens."
            )
        x = batch * self.input_scale
        step = topk_step(
            self.weights, x, k=self.config.k or 0, apply_b_dec=self.config.apply_b_dec_to_input, aux=self._aux()
        )
        if not np.isfinite(step.loss):
            raise NonFinite(f"the loss is {step.loss} at step {self.step}; lower lr (now {self.settings.lr}).")
        _project(step.grads["W_dec"], self.weights["W_dec"])
        for group in self._optimizer.param_groups:
            group["lr"] = self.settings.learning_rate(self.step)
        for name, value in self.weights.items():
            value.grad = step.grads[name]
        self._optimizer.step()
        rows = self.weights["W_dec"]
        rows /= rows.norm(dim=1, keepdim=True)
        self._silent_for = torch.where(step.fired, 0, self._silent_for + len(x))
        self.step += 1
        self._window.add(step, x)

    def _aux(self) -> Aux | None:
        dead = (self._silent_for >= self.settings.dead_after).nonzero().flatten()
        if self.settings.k_aux == 0 or len(dead) == 0:
            return None
        # a handful of dead latents must not be asked to explain the whole error
        return Aux(dead, self.settings.k_aux, AUX_WEIGHT * min(1.0, len(dead) / self.settings.k_aux))

    def _report(self) -> dict[str, Any]:
        row = {
            "step": self.step,
            "tokens": self.step * self.settings.batch_size,
            "lr": self.settings.learning_rate(self.step - 1),
            **self._window.means(),
            "dead_share": float((self._silent_for >= self.settings.dead_after).double().mean()),
        }
        self.history.append(row)
        self._window = _Window()
        return row

    def _rng(self, stream: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.settings.seed, spawn_key=(stream,)))

    def _identity(self) -> dict[str, Any]:
        return {"config": self.config.to_dict(), "settings": asdict(self.settings)}

    def _save(self, folder: Path) -> None:
        tensors, buffer = self._buffer.state()
        tensors |= {f"weights.{name}": value for name, value in self.weights.items()}
        for name, value in self.weights.items():
            tensors |= {f"adam.{name}.{key}": t for key, t in self._optimizer.state[value].items()}
        tensors["silent_for"] = self._silent_for
        state = {
            "step": self.step,
            "history": self.history,
            "input_scale": self.input_scale,
            "buffer": buffer,
            "window": asdict(self._window),
        }
        save_checkpoint(folder, Checkpoint(self.step, self._identity(), state, tensors))

    def _restore(self, found: Checkpoint) -> None:
        self.step, self.history = found.step, found.state["history"]
        self.input_scale = found.state["input_scale"]
        self._window = _Window(**found.state["window"])
        self._silent_for = found.tensors["silent_for"]
        self._buffer.restore(found.tensors, found.state["buffer"])
        self.weights = {name: found.tensors[f"weights.{name}"] for name in TopKSAE.shapes(self.config)}
        self._optimizer = torch.optim.Adam(list(self.weights.values()), lr=self.settings.lr)
        for name, value in self.weights.items():
            prefix = f"adam.{name}."
            kept = {key[len(prefix) :]: t for key, t in found.tensors.items() if key.startswith(prefix)}
            self._optimizer.state[value] = kept


@dataclass
class _Window:
    """Sums since the last report (float64, so a resumed run reports the same digits)."""

    n: int = 0
    steps: int = 0
    loss: float = 0.0
    residual: float = 0.0
    variance: float = 0.0
    active: int = 0

    def add(self, step: Step, x: Tensor) -> None:
        self.n += len(x)
        self.steps += 1
        self.loss += step.loss
        self.residual += step.residual
        self.variance += float((x - x.mean(dim=0)).square().sum())
        self.active += step.n_active

    def means(self) -> dict[str, float]:
        fvu = self.residual / self.variance if self.variance > 0 else float("nan")
        return {"loss": self.loss / self.steps, "fvu": fvu, "l0": self.active / self.n}


def _project(gradient: Tensor, rows: Tensor) -> None:
    """Take out of each row's gradient the part along the row, which would only change its length."""
    gradient -= (gradient * rows).sum(dim=1, keepdim=True) * rows


def _refuse_untrainable(config: SaeConfig) -> None:
    ours = {
        "architecture": "topk",
        "normalize_activations": "none",
        "decoder_norm": "unit",
        "rescale_acts_by_decoder_norm": False,
    }
    for name, value in ours.items():
        if getattr(config, name) != value:
            raise InvalidInput(f"training makes SAEs with {name} {value!r}; the config says {getattr(config, name)!r}.")
