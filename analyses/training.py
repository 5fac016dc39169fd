"""What `interp train-sae` and `interp atlas verify` call: texts to train on, and checks of what is bundled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from interp.errors import CorruptArtifact, InvalidInput

if TYPE_CHECKING:
    from interp.models import Model

SAE_TEXT_SEED = 2_000_003


def train_sae_command(
    *,
    site: str,
    out: Path,
    model: str,
    weights: Literal["trained", "random"],
    bos: Literal["always", "never", "tokenizer"] | None = None,
    arch: str,
    texts: Path | None,
    d_sae: int,
    k: int,
    tokens: int,
    seed: int,
) -> pd.DataFrame:
    """Train, evaluate and save an SAE; return the evaluation (metric, value, n, null)."""
    from interp.models import load_model
    from interp.sae import train_sae_on_model

    if arch != "topk":
        raise InvalidInput(f"architecture {arch!r} cannot be trained; expected 'topk'.")
    loaded = load_model(model, weights=weights, bos=bos)
    source = _AtlasTexts() if texts is None and model.partition("@")[0] == "atlas" else _FileTexts(texts, loaded)
    trained = train_sae_on_model(
        loaded, source, site, d_sae=d_sae, k=k, tokens=tokens, seed=seed, out=out, progress=True
    )
    return trained.evaluation


class _AtlasTexts:
    """Fresh documents of the bundled corpus, as many as are asked for; every iteration is the same."""

    def __iter__(self) -> Iterator[str]:
        from interp.atlas import facts

        return (text.text for text in facts().texts(SAE_TEXT_SEED))


class _FileTexts:
    """Lines of a file; empty ones are left out (training cuts what is longer than the context)."""

    def __init__(self, path: Path | None, model: Model) -> None:
        if path is None:
            raise InvalidInput(f"give --texts FILE (one text a line) to train an SAE on {model.name!r}.")
        if not path.is_file():
            raise InvalidInput(f"there is no file {path}; --texts expects a file with one text a line.")
        self.lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not self.lines:
            raise InvalidInput(f"{path} has no text in it; --texts expects one text a line.")

    def __iter__(self) -> Iterator[str]:
        return iter(self.lines)


def verify_assets() -> pd.DataFrame:
    """Return one row a bundled folder: path and state; every file is hashed and the golden vectors are computed.

    Raises:
        CorruptArtifact: a file is not what was shipped.
    """
    from interp.atlas.facts import folder
    from interp.sae import load_sae
    from interp.store import verify_folder

    rows: list[dict[str, Any]] = []
    verify_folder(folder())
    rows.append({"name": "atlas", "state": "done", "checked": "sha256 of every file"})
    saes = folder().parent / "saes"
    for path in sorted(saes.glob("*/*")):
        name = path.relative_to(saes).as_posix()
        sae = load_sae(name)
        if not sae.golden_checked:
            raise CorruptArtifact(f"the bundled SAE {name} has no golden vector; install the package again.")
        rows.append({"name": name, "state": "done", "checked": "sha256 of every file, golden vector"})
    return pd.DataFrame(rows)
