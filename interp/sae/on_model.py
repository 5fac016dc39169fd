"""From a model and texts to a saved, evaluated SAE: stream, train, judge, write, and go on after a kill."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from interp.errors import InvalidInput
from interp.sae.activation_stream import ActivationStream, Batch, pick
from interp.sae.coder import SAE
from interp.sae.devices import Device, training_device
from interp.sae.evaluate import evaluate_sae
from interp.sae.evaluate_pairs import evaluate_transcoder
from interp.sae.io import MANIFEST, load_sae, rounded_sae, save_sae, training_record
from interp.sae.learner import Options
from interp.sae.ranks import find_ranks
from interp.sae.settings import TrainSettings, make_settings
from interp.sae.spec import Spec, make_spec
from interp.sae.splicing import loss_recovered
from interp.sae.train import train_sae

if TYPE_CHECKING:
    from interp.models import Model

SETTINGS = [f.name for f in fields(TrainSettings) if f.name not in ("steps", "seed")]
"""Settings of a run that can be given by name."""


@dataclass(frozen=True)
class TrainedSae:
    """A trained SAE as it was saved (weights rounded), with its history and evaluation on texts held out."""

    sae: SAE
    history: pd.DataFrame
    evaluation: pd.DataFrame
    path: Path


@dataclass(frozen=True)
class Plan:
    """One SAE to be trained on a stream: what it is, how it is trained, and the folder that it is saved as."""

    spec: Spec
    settings: TrainSettings
    eval_rows: int
    folder: Path

    def identity(self) -> dict[str, Any]:
        """Return all that decides the result beside the rows (the model's fingerprint is in the config)."""
        config, world = self.spec.config.to_dict(), find_ranks().world
        rest = {"config": config, "eval_rows": self.eval_rows, **asdict(self.settings), **self.spec.to_dict()}
        if self.settings.precision == "float32":  # as records say it that were written before there was another
            del rest["precision"]
        return rest | ({"world": world} if world > 1 else {})

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints while it is being trained."""
        return self.folder.with_name(f"{self.folder.name}.checkpoints")


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
    site_out: str | None = None,
    skip_connection: bool = False,
    bos: str | None = None,
    context_size: int | None = None,
    eval_rows: int = 512,
    batch_tokens: int = 8192,
    dtype: str = "float16",
    device: Device = None,
    progress: bool = True,
    overwrite: bool = False,
    **training: Any,
) -> TrainedSae:
    """Train an SAE on the ordinary tokens of a site, evaluate it on rows held out, and save it as `out`.

    BOS, EOS and padding are never trained or evaluated on. Checkpoints are kept in `<out>.checkpoints` until the SAE
    is saved; the same call after a kill goes on from there, and the same call after the end reads the result back.
    Several processes train one SAE together, see `train_sae`.

    Args:
        rows: texts, or int arrays of ids (used as they are). Iterated anew for every epoch, so a list or an object
            with `__iter__` that always gives the same rows, not a generator.
        site: such as "resid_post.2".
        tokens: activation vectors to train on; rows are read again where they do not suffice.
        out: folder of the SAE.
        arch: a name of `interp.sae.learners.TRAINABLE`.
        options: the architecture's options; or single ones by name among `training`, such as k=32.
        site_out: train a transcoder, which predicts this site from `site` (such as "mlp_out.2" from "resid_mid.2").
        skip_connection: of a transcoder, whether it has a linear path beside the latents.
        bos: policy for texts; default the model's. Rows of ids: how they were made, "always" or "never".
        context_size: texts are cut to so many tokens; default what the model takes.
        eval_rows: the first so many rows are kept for the evaluation.
        dtype: of the stored weights.
        device: where the SAE is trained and judged; default where the model is.
        overwrite: replace an SAE of other settings that is in `out`.
        training: passed on to `train_sae`: batch_size, lr, buffer, dead_after, log_every, checkpoint_every, precision,
            log, and single options.

    Raises:
        InvalidInput: rows that cannot be iterated again, too few rows, or `out` holds something else.
        UnknownSite: the model has no such site. UnknownName: no such architecture.
    """
    where = model.device if device is None else training_device(device)
    sites = [site] if site_out is None else [site, site_out]
    stream = ActivationStream(
        model, rows, sites, bos=bos, context_size=context_size, eval_rows=eval_rows, batch_tokens=batch_tokens
    )
    log = training.pop("log", None)
    given = {name: training.pop(name) for name in SETTINGS if name in training}
    stated = stream.stated(site, dtype=dtype, site_out=site_out, skip_connection=skip_connection)
    spec = spec_at(stream, stated, d_sae=d_sae, arch=arch, options=options, values=training)
    plan = make_plan(spec, make_settings(tokens=tokens, seed=seed, **given), eval_rows, Path(out))
    finished = read_finished(plan, overwrite)
    if finished is not None:
        return finished
    held_out = stream.held_out()
    config = plan.spec.config
    trained, history = train_sae(
        stream.at(str(config.site), config.site_out), config, arch=arch, options=plan.spec.options, tokens=tokens,
        seed=seed, checkpoint_dir=plan.checkpoints, device=where, progress=progress, log=log, **given,
    )  # fmt: skip
    return judge_and_save(plan, stream, trained, history, held_out, device=where, overwrite=overwrite)


def spec_at(
    stream: ActivationStream,
    stated: dict[str, Any],
    *,
    d_sae: int,
    arch: str,
    options: Options | None,
    values: dict[str, Any],
) -> Spec:
    """Return the spec of an SAE of the site that `stated` names; see `make_spec`."""
    from interp.models import width

    d_in = width(stream.model, stated["site"])
    return make_spec(arch=arch, d_in=d_in, d_sae=d_sae, options=options, values=values, stated=stated)


def make_plan(spec: Spec, settings: TrainSettings, eval_rows: int, folder: Path) -> Plan:
    """Return the plan with every open option filled in."""
    return Plan(spec.filled(settings), settings, eval_rows, folder)


def judge_and_save(
    plan: Plan,
    stream: ActivationStream,
    trained: SAE,
    history: pd.DataFrame,
    held_out: list[Batch],
    *,
    device: torch.device,
    overwrite: bool,
) -> TrainedSae:
    """Round the SAE, evaluate it on what was held out, save it with its record, and drop its checkpoints.

    Of several processes the first does so and the others read what it saved.
    """
    ranks = find_ranks()
    if not ranks.first:
        ranks.wait()
        saved = read_finished(plan, overwrite=False)
        if saved is None:
            raise InvalidInput(f"{plan.folder} is not there; it has to be on a disk that all processes share.")
        return saved
    seed, config = plan.settings.seed, plan.spec.config
    sae = rounded_sae(trained).to(device)
    read = [pick(batch, str(config.site), config.site_out) for batch in held_out]
    found = evaluate_transcoder(sae, read, seed=seed) if config.is_transcoder else evaluate_sae(sae, read, seed=seed)
    losses = loss_recovered(
        stream.model, sae, stream.eval_rows(), seed=seed, bos=stream.bos, max_length=stream.context,
        batch_tokens=stream.batch_tokens,
    )  # fmt: skip
    evaluation = pd.concat([found, losses], ignore_index=True)
    record = {
        "identity": plan.identity(),
        "versions": {name: version(name) for name in ("torch", "transformers", "transformer-lens")},
        "history": _records(history),
        "evaluation": _records(evaluation),
    }
    inputs = torch.cat([batch[str(config.site)] for batch in held_out])
    save_sae(sae, plan.folder, training=record, golden_inputs=inputs, overwrite=overwrite)
    shutil.rmtree(plan.checkpoints, ignore_errors=True)
    ranks.wait()
    return TrainedSae(load_sae(plan.folder), history, evaluation, plan.folder)


def read_finished(plan: Plan, overwrite: bool) -> TrainedSae | None:
    """Return what an earlier, equal call has saved; refuse a folder that holds anything else."""
    folder, identity = plan.folder, plan.identity()
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
