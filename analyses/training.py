"""What `interp train-sae` calls: the texts to train on, and the training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from interp.errors import InvalidInput

if TYPE_CHECKING:
    from interp.models import Model


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
    from interp.atlas import facts
    from interp.atlas.saes import FreshTexts
    from interp.models import load_model
    from interp.sae import train_sae_on_model

    if arch != "topk":
        raise InvalidInput(f"architecture {arch!r} cannot be trained; expected 'topk'.")
    loaded = load_model(model, weights=weights, bos=bos)
    of_atlas = texts is None and model.partition("@")[0] == "atlas"
    source = FreshTexts(facts()) if of_atlas else _FileTexts(texts, loaded)
    trained = train_sae_on_model(
        loaded, source, site, d_sae=d_sae, k=k, tokens=tokens, seed=seed, out=out, progress=True
    )
    return trained.evaluation


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
