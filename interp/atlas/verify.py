"""Check a model folder and its SAEs: every file against its hash, golden vectors, and figures against the card."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from interp.errors import CorruptArtifact


def verify_files(folder: Path, saes: Path) -> pd.DataFrame:
    """Return one row a folder (name, state, checked): every file is hashed and the golden vectors are computed.

    Args:
        folder: a model folder, sealed by a manifest.
        saes: folder with <model>/<site>.

    Raises:
        CorruptArtifact: a file is not what was written.
    """
    from interp.sae import load_sae
    from interp.store import verify_folder

    n_files = len(verify_folder(folder)["files"])
    rows = [(folder.name, "done", f"sha256 of {n_files} files")]
    for path in sorted(saes.glob("*/*/cfg.json")):
        name = path.parent.relative_to(saes).as_posix()
        if not load_sae(path.parent).golden_checked:
            raise CorruptArtifact(f"the SAE {path.parent} has no golden vector; restore its folder.")
        rows.append((name, "done", "sha256 of every file, golden vector"))
    return pd.DataFrame(rows, columns=["name", "state", "checked"])


def verify_figures(folder: Path) -> pd.DataFrame:
    """Measure a few figures of the model again and return them beside those of its card (`figures.compared`)."""
    from tokenizers import Tokenizer

    from interp.atlas.facts import load_facts
    from interp.atlas.figures import compared, figures
    from interp.models import load_model

    stated = json.loads((folder / "card.json").read_text(encoding="utf-8")).get("figures", [])
    model, twin = load_model(folder), load_model(folder, weights="random", seed=0)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return compared(stated, figures(model, twin, load_facts(folder).corpus(), tokenizer))
