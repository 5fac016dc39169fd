"""From a model and texts to a saved, evaluated SAE: stream, train, judge, write, and go on after a kill."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interp.errors import InvalidInput
from interp.sae.coder import SAE
from interp.sae.evaluate import evaluate_sae
from interp.sae.io import MANIFEST, load_sae, rounded_sae, save_sae, training_record
from interp.sae.learner import Options
from interp.sae.settings import TrainSettings, make_settings
from interp.sae.spec import Spec, make_spec
from interp.sae.splice import loss_recovered
from interp.sae.train import train_sae

if TYPE_CHECKING:
    from interp.models import Model


@dataclass(frozen=True)
class TrainedSae:
    """A trained SAE as it was saved (weights rounded), with its history and evaluation on texts held out."""

    sae: SAE
    history: pd.DataFrame
    evaluation: pd.DataFrame
    path: Path


def train_sae_on_model(
    model: Model,
    rows: Iterable[Any],
    site: str,
    *,
    d_sae: int,
    tokens: int,
    seed: int,
    out: str | Path,
    arch: str = "topk",
    options: Options | None = None,
    bos: str | None = None,
    context_size: int | None = None,
    eval_rows: int = 512,
    batch_tokens: int = 8192,
    dtype: str = "float16",
    progress: bool = True,
    overwrite: bool = False,
    **training: Any,
) -> TrainedSae:
    """Train an SAE on the ordinary tokens of a site, evaluate it on rows held out, and save it as `out`.

    BOS, EOS and padding are never trained or evaluated on. Checkpoints are kept in `<out>.checkpoints` until the SAE
    is saved; the same call after a kill goes on from there, and the same call after the end reads the result back.

    Args:
        rows: texts, or int arrays of ids (used as they are). Iterated anew for every epoch, so a list or an object
            with `__iter__` that always gives the same rows, not a generator.
        site: such as "resid_post.2".
        arch: a name of `interp.sae.learners.TRAINABLE`.
        options: the architecture's options; or single ones by name among `training`, such as k=32.
        tokens: activation vectors to train on; rows are read again where they do not suffice.
        out: folder of the SAE.
        bos: policy for texts; default the model's. Rows of ids: how they were made, "always" or "never".
        context_size: texts are cut to so many tokens; default what the model takes.
        eval_rows: the first so many rows are kept for the evaluation.
        dtype: of the stored weights.
        overwrite: replace an SAE of other settings that is in `out`.
        training: passed on to `train_sae`: batch_size, lr, buffer, dead_after, log_every, checkpoint_every, log, and
            single options.

    Raises:
        InvalidInput: rows that cannot be iterated again, too few rows, or `out` holds something else.
        UnknownSite: the model has no such site.
    """
    from interp.tokens import bos_policy

    stream = _Stream(model, rows, site, bos_policy(model, bos), context_size or model.n_ctx, eval_rows, batch_tokens)
    log = training.pop("log", None)
    given = {name: training.pop(name) for name in _SETTINGS if name in training}
    settings = make_settings(tokens=tokens, seed=seed, **given)
    spec = make_spec(
        arch=arch, d_in=stream.d_in, d_sae=d_sae, options=options, values=training, stated=stream.stated(dtype)
    ).filled(settings)
    identity = _identity(spec, settings, eval_rows)
    folder = Path(out)
    finished = _finished(folder, identity, overwrite)
    if finished is not None:
        return finished
    held_out = stream.held_out()
    checkpoints = folder.with_name(f"{folder.name}.checkpoints")
    trained, history = train_sae(
        stream, spec.config, arch=arch, options=spec.options, tokens=tokens, seed=seed, checkpoint_dir=checkpoints,
        progress=progress, log=log, **given,
    )  # fmt: skip
    sae = rounded_sae(trained)
    losses = loss_recovered(
        model, sae, stream.eval_rows(), seed=seed, bos=stream.bos, max_length=stream.context, batch_tokens=batch_tokens
    )
    evaluation = pd.concat([evaluate_sae(sae, held_out, seed=seed), losses], ignore_index=True)
    record = {
        "identity": identity,
        "versions": {name: version(name) for name in ("torch", "transformers", "transformer-lens")},
        "history": _records(history),
        "evaluation": _records(evaluation),
    }
    save_sae(sae, folder, training=record, golden_inputs=torch.cat(held_out), overwrite=overwrite)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return TrainedSae(load_sae(folder), history, evaluation, folder)


class _Stream:
    """Activations of the ordinary tokens of some rows, from any source batch on: what `train_sae` reads."""

    def __init__(
        self, model: Model, rows: Iterable[Any], site: str, bos: str, context: int, n_eval: int, batch_tokens: int
    ) -> None:
        from interp.models import find_site

        if iter(rows) is rows:
            raise InvalidInput(
                f"rows is a {type(rows).__name__}, which can be read once; training reads them again for every epoch "
                "and after a kill. Give a list, or an object whose __iter__ starts anew."
            )
        self.model, self.site, self.bos, self.context = model, str(find_site(model, site)), bos, context
        self._rows, self._n_eval, self._batch_tokens = rows, n_eval, batch_tokens

    @property
    def d_in(self) -> int:
        """Width of the site."""
        from interp.models import width

        return width(self.model, self.site)

    def stated(self, dtype: str) -> dict[str, Any]:
        """Return the fields of a config that say where the activations come from."""
        from interp.models import hook_name

        return {
            "site": self.site,
            "hook_name": hook_name(self.site),
            "model_name": self.model.name,
            "model_fingerprint": self.model.fingerprint,
            "bos": self.bos,
            "context_size": self.context,
            "dtype": dtype,
        }

    def __call__(self, start: int) -> Iterator[Tensor]:
        """Yield training batches [n_tokens, d] from number `start` on, without end."""
        return self._batches(self._endless(), start)

    def eval_rows(self) -> list[Any]:
        """Return the rows that are held out."""
        return list(islice(iter(self._rows), self._n_eval))

    def held_out(self) -> list[Tensor]:
        """Return the activations of the rows held out, on the CPU. Raises InvalidInput if none are left to train on."""
        if next(islice(iter(self._rows), self._n_eval, None), None) is None:
            raise InvalidInput(f"{self._n_eval} rows are held out for the evaluation and none are left to train on.")
        return [batch.cpu() for batch in self._batches(self.eval_rows(), 0)]

    def _batches(self, rows: Iterable[Any], start: int) -> Iterator[Tensor]:
        from interp.capturing import token_batches

        return token_batches(
            self.model,
            rows,
            self.site,
            batch_tokens=self._batch_tokens,
            bos=self.bos,
            max_length=self.context,
            start=start,
        )

    def _endless(self) -> Iterator[Any]:
        while True:
            yield from islice(iter(self._rows), self._n_eval, None)


_SETTINGS = [f.name for f in fields(TrainSettings) if f.name not in ("steps", "seed")]


def _identity(spec: Spec, settings: TrainSettings, eval_rows: int) -> dict[str, Any]:
    """Return everything that decides the result beside the rows and the model, whose fingerprint is in the config."""
    return {"config": spec.config.to_dict(), "eval_rows": eval_rows, **asdict(settings), **spec.to_dict()}


def _finished(folder: Path, identity: dict[str, Any], overwrite: bool) -> TrainedSae | None:
    """Return what an earlier, equal call has saved; refuse a folder that holds anything else."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    record = training_record(folder) if (folder / MANIFEST).is_file() else {}
    if record.get("identity") == identity:
        history, evaluation = (pd.DataFrame(record[name]) for name in ("history", "evaluation"))
        return TrainedSae(load_sae(folder), history, evaluation, folder)
    if overwrite:
        return None
    old = record.get("identity") or {}
    changed = sorted(name for name in {*old, *identity} if old.get(name) != identity.get(name))
    raise InvalidInput(
        f"{folder} exists and was not made by this call"
        + (f" (it differs in {', '.join(changed)})" if old else "")
        + "; choose another folder, or pass overwrite=True to replace an SAE."
    )


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as JSON values, NaN as null."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{str(key): v.item() if isinstance(v, np.generic) else v for key, v in row.items()} for row in rows]
