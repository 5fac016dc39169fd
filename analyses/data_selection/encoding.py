"""Samples to pooled codes, once: in shards that are work units, so that a killed run goes on and workers share it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from analyses.data_selection.coded_pool import CodedPool, feature_sums, row_table
from analyses.data_selection.coders import Coder, as_coder
from analyses.data_selection.pooled_codes import check_pooling, cut_to_largest, pool_codes, pool_dense
from analyses.data_selection.samples import LISTED_COLUMNS, Sample, Samples
from analyses.data_selection.token_windows import TokenChoice, check_choice, find_windows
from interp.batches import with_tokens
from interp.capturing import run_batches
from interp.errors import InvalidInput
from interp.models import find_site, width
from interp.store import Key, Store, make_key, sha256_bytes
from interp.work import Report, load_units, rank_and_world, run_units

if TYPE_CHECKING:
    from interp.models import Model

CODE_VERSION = "2"


@dataclass(frozen=True)
class Encoding:
    """How a pool is coded."""

    choice: TokenChoice = field(default_factory=TokenChoice)
    pool: str = "mean"
    """"mean" (MoNA), "weighted", "max", "sum" or "frequency"."""
    top: int | None = None
    """Entries kept of a row; the mass of the others is kept too, and bounds on every score with it. None: all."""
    residual: bool = True
    """Also keep the mean activation: the control without an SAE."""
    shard_rows: int = 4096
    """Samples of a work unit."""
    batch_tokens: int = 8192
    """Padded tokens of one forward pass."""


def encode_pool(
    samples: Samples | Sequence[Sample],
    model: Model,
    sae: Any,
    *,
    encoding: Encoding | None = None,
    out: str | Path | None = None,
    engine: str = "local",
    workers: int | None = None,
    **options: Any,
) -> CodedPool:
    """Code every sample: one forward pass up to the SAE's layer, latents of each token pooled into a sparse row.

    The shards are the same bytes whatever engine or rank wrote them (with the same number of CPU threads).

    Args:
        samples: from `read_samples`.
        sae: an SAE that fits the model, or a coder (`NeuronCoder`).
        encoding: how; or give its fields and those of `TokenChoice` by name (tokens="answer", pool="max", ...).
        out: folder for the shards. What is finished there is not computed again, and under torchrun or srun each rank
            does its share; the call raises InvalidInput while another rank's shards are missing. None: in memory.
        engine: "local", or "ray": work units on the actors of a Ray cluster, or of a Ray started on this machine.
        workers: actors of Ray; default one a GPU, or as many as the CPUs have room for.

    Returns:
        CodedPool; samples without a token to pool are in `.listed`, with the reason.

    Raises:
        InvalidInput: an option that does not exist or no usable sample. SaeMismatch: the SAE reads another width.
    """
    work = _work(samples, model, sae, _plan(encoding, options))
    if out is None:
        if engine != "local":
            raise InvalidInput(f"engine {engine!r} writes shards; give out=FOLDER.")
        return _assembled({unit: work.job(part) for unit, part in work.units.items()}, None, work.about)
    with _opened(out) as store:
        _run_share(work, store, engine, workers)
        names: dict[str, Any] = {"name_of": lambda unit: _names(unit)[1:], "key_of": work.keys.__getitem__}
        return _assembled(load_units(work.units, store=store, **names), _loader(Path(out)), work.about)


def encode_share(
    samples: Samples | Sequence[Sample],
    model: Model,
    sae: Any,
    *,
    out: str | Path,
    encoding: Encoding | None = None,
    **options: Any,
) -> Report:
    """Code the shards of this rank, as torchrun or srun number it, and wait for no other; arguments as `encode_pool`.

    When all ranks are through, `encode_pool` with the same arguments in one process reads what they wrote.
    """
    work = _work(samples, model, sae, _plan(encoding, options))
    with _opened(out) as store:
        return _run_share(work, store, "local", None)


@dataclass(frozen=True)
class _Job:
    """What every shard is coded with; Ray sends it to each of its workers."""

    model: Model
    coder: Coder
    plan: Encoding
    threads: int

    def __call__(self, samples: Sequence[Sample]) -> tuple[Any, ...]:
        if torch.get_num_threads() != self.threads:  # the last bit of a product may hang on it
            torch.set_num_threads(self.threads)
        return _shard(samples, self.model, self.coder, self.plan)


@dataclass(frozen=True)
class _Work:
    units: dict[str, tuple[Sample, ...]]
    keys: dict[str, Key]
    job: _Job
    about: dict[str, Any]


def _work(samples: Samples | Sequence[Sample], model: Model, sae: Any, plan: Encoding) -> _Work:
    coder, rows = as_coder(sae), tuple(samples)
    check_pooling(plan.pool)
    check_choice(plan.choice, model)
    if not rows:
        raise InvalidInput("there is no sample to code.")
    units = {f"{i:06d}": rows[at : at + plan.shard_rows] for i, at in enumerate(range(0, len(rows), plan.shard_rows))}
    about = {
        "encoding": asdict(plan), "model": model.name, "model_fingerprint": model.fingerprint,
        "bos": plan.choice.bos or model.bos, "coder": coder.identity(), "width": coder.width,
    }  # fmt: skip
    keys = {unit: make_key(about, {"rows": _digest(part)}, code_version=CODE_VERSION) for unit, part in units.items()}
    return _Work(units, keys, _Job(model, coder, plan, torch.get_num_threads()), about)


def _opened(out: str | Path) -> Store:
    rank, world = rank_and_world()
    return Store(out, rank=rank if world > 1 else None)


def _run_share(work: _Work, store: Store, engine: str, workers: int | None) -> Report:
    rank, world = rank_and_world()
    values = None
    if engine not in ("local", "ray"):
        raise InvalidInput(f"engine is 'local' or 'ray', not {engine!r}.")
    if engine == "ray":
        if world > 1:
            raise InvalidInput("Ray gives out the work itself; start engine='ray' without torchrun or srun.")
        from interp.on_ray import values_on_ray

        model = work.job.model
        values = partial(
            values_on_ray, compute=work.job, given=lambda unit: [replace(s, raw=b"") for s in work.units[unit]],
            workers=workers, threads=work.job.threads, gpu=model.device.type == "cuda",
        )  # fmt: skip
    return run_units(
        list(work.units), lambda unit: work.job(work.units[unit]), store=store, name_of=_names,
        key_of=work.keys.__getitem__, rank=rank, world=world, desc="coding", values=values,
    )  # fmt: skip


def _plan(encoding: Encoding | None, options: dict[str, Any]) -> Encoding:
    if encoding is not None and options:
        raise InvalidInput(f"give encoding= or {', '.join(options)}, not both.")
    own, choice = Encoding.__dataclass_fields__.keys() - {"choice"}, TokenChoice.__dataclass_fields__.keys()
    unknown = [name for name in options if name not in own | choice]
    if unknown:
        raise InvalidInput(f"encode_pool has no option {unknown[0]!r}; it has {', '.join(sorted(own | choice))}.")
    plan = encoding or Encoding(
        choice=TokenChoice(**{k: v for k, v in options.items() if k in choice}),
        **{k: v for k, v in options.items() if k in own},
    )
    for name in ("top", "shard_rows", "batch_tokens"):
        value = getattr(plan, name)
        if (value is not None or name != "top") and (not isinstance(value, int) or value < 1):
            raise InvalidInput(f"{name} is a whole number from 1, not {value!r}.")
    return plan


def _names(unit: str) -> tuple[str, ...]:
    return (f"codes/{unit}.safetensors", f"rows/{unit}.parquet", f"listed/{unit}.parquet", f"sums/{unit}.safetensors")


def _digest(samples: Sequence[Sample]) -> str:
    return sha256_bytes("\n".join(f"{s.id} {sha256_bytes(repr(s.turns).encode())}" for s in samples).encode())


def _loader(folder: Path) -> Callable[[str], sparse.csr_matrix]:
    def load(unit: str) -> sparse.csr_matrix:
        with Store(folder, readonly=True) as store:
            return store.get(_names(unit)[0])

    return load


def _assembled(
    units: dict[str, tuple[Any, ...]], load: Callable[[str], sparse.csr_matrix] | None, about: dict[str, Any]
) -> CodedPool:
    parts = [value[-3:] for value in units.values()]
    shards = [partial(load, unit) if load else partial(value.__getitem__, 0) for unit, value in units.items()]
    residual = None
    if all("residual" in sums for _, _, sums in parts):
        residual = np.concatenate([sums["residual"] for _, _, sums in parts])
    return CodedPool(
        rows=pd.concat([rows for rows, _, _ in parts], ignore_index=True),
        listed=pd.concat([listed for _, listed, _ in parts], ignore_index=True),
        total=np.sum([sums["total"] for _, _, sums in parts], axis=0),
        residual=residual,
        shards=shards,
        lengths=np.array([len(rows) for rows, _, _ in parts]),
        about=about,
    )


def _shard(samples: Sequence[Sample], model: Model, coder: Coder, plan: Encoding) -> tuple[Any, ...]:
    """Return codes, rows, listed and sums of one work unit."""
    windows = find_windows(model, samples, plan.choice)
    problems = [(samples[row].source, samples[row].number, reason, why) for row, reason, why in windows.problems]
    listed = pd.DataFrame(problems, columns=pd.Index(LISTED_COLUMNS)).astype(
        {"source": "str", "number": "int64", "reason": "str", "detail": "str"}
    )
    kept = [samples[row] for row in windows.rows]
    codes, residual = _run(windows.encoded, model, coder, plan)
    n_tokens = np.zeros(0, np.int64)
    if windows.encoded is not None and windows.encoded.span_mask is not None:
        n_tokens = np.add.reduceat(windows.encoded.span_mask.astype(np.int64), windows.encoded.starts[:-1])
    rows = row_table(codes, [sample.id for sample in kept], n_tokens)
    rows["source"] = pd.array([sample.source for sample in kept], dtype="str")
    if windows.encoded is not None:
        rows["truncated"] = windows.encoded.truncated
    sums = {"total": feature_sums(codes)}
    if plan.residual:
        sums["residual"] = residual
    if plan.top is not None:
        codes, rows["dropped"] = cut_to_largest(codes, plan.top)
    return codes, rows, listed, sums


def _run(encoded: Any, model: Model, coder: Coder, plan: Encoding) -> tuple[sparse.csr_matrix, np.ndarray]:
    site = find_site(model, coder.site)
    if encoded is None:
        empty = sparse.csr_matrix((0, coder.width), dtype=np.float32)
        return empty, np.zeros((0, width(model, site)), dtype=np.float32)
    request = with_tokens(model, encoded, [site], pool="none", dtype="float32", batch_tokens=plan.batch_tokens,
                          include_special=False)  # fmt: skip
    order, codes, dense = [], [], []
    for batch in run_batches(request):
        x = batch.values[str(site)]
        values, indices = coder.codes(x)
        codes.append(pool_codes(values, indices, batch.n_tokens, coder.width, plan.pool))
        if plan.residual:
            dense.append(pool_dense(x, batch.n_tokens, "mean"))
        order.append(batch.rows)
    back = np.argsort(np.concatenate(order))
    stacked: Any = sparse.vstack(codes, format="csr")
    return sparse.csr_matrix(stacked[back]), np.concatenate(dense)[back] if plan.residual else np.zeros(
        (len(back), 1), dtype=np.float32
    )
