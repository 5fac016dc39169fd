"""What `interp probe` calls: read labels, load the model and its twin, probe, write tables and figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from analyses.probing.compute import N_PERM
from analyses.probing.fitting import require_kind
from analyses.probing.label_files import read_labelled_texts
from analyses.probing.labels import read_labels
from analyses.probing.run import probe_layers
from interp.errors import InvalidInput
from interp.plot import save_figure
from interp.result import Result


def probe_command(
    *,
    labels: Path,
    model: str,
    site: Sequence[str] | None,
    bos: Literal["always", "never", "tokenizer"] | None,
    kind: str,
    task: Literal["auto", "classes", "numbers"],
    pool: str,
    n_perm: int | None,
    seed: int,
    out: Path | None,
) -> Result:
    """Probe every site of a model for the labels of a file, write <out>/tables and the figure, return the result.

    Raises:
        InterpError: whatever the user can mend, before the model is loaded where that can be told.
    """
    from interp.models import load_model

    given = read_labelled_texts(labels, task)
    resolved = "numbers" if given.labels.dtype.kind == "f" else "classes"
    require_kind(kind, read_labels(given.labels, resolved))
    if n_perm is not None and n_perm < 1:
        raise InvalidInput(f"--permutations is {n_perm}; at least 1, by default {N_PERM[kind]} for {kind}.")
    _require_folder(out)
    loaded = load_model(model, bos=bos)
    twin = load_model(model, weights="random", seed=seed, bos=bos)
    options: dict[str, Any] = {"kind": kind, "task": resolved, "pool": pool, "n_perm": n_perm, "seed": seed}
    result = probe_layers(
        loaded, given.texts, given.labels, list(site) if site else None, groups=given.groups, twin=twin, **options
    )
    if out is not None:
        result.save(out / "tables")
        save_figure(result.plot(), out / "probe")
    return result


def _require_folder(out: Path | None) -> None:
    """Refuse a file in place of the folder before minutes are spent."""
    if out is not None and out.exists() and not out.is_dir():
        raise InvalidInput(f"--out {out} is a file; give a folder.")
