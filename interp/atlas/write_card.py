"""Measure a model that was made as the bundled one, and write what came out into its card (card.json, README.md)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from interp.atlas.card_page import card_page
from interp.atlas.facts import load_facts
from interp.atlas.saes import TWIN
from interp.errors import InvalidInput
from interp.store import verify_folder, write_folder

if TYPE_CHECKING:
    from interp.sae import SAE


@dataclass(frozen=True)
class Effort:
    """How much is measured: the bundled card has the defaults."""

    seed: int = 0
    n: int = 300
    """Fresh texts of each kind."""
    n_train_rows: int = 30_000
    """Rows of the training text in which n-grams are counted."""
    n_fresh_rows: int = 256
    n_pairs: int = 1200
    """Pairs of cities whose direction is asked."""
    n_exercises: int = 100
    """Exercises of each skill."""
    permutations: int = 999


def measure_folder(
    folder: Path, saes: Path, effort: Effort, *, say: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Return what the card states of the model in `folder` and its SAEs: "measured", "tables" and "figures".

    Args:
        saes: folder with <model>/<site> and <model>-random/<site>.
        say: is given a line before each part.
    """
    from tokenizers import Tokenizer

    from interp.atlas.figures import figures
    from interp.atlas.measure.behaviour import measure_behaviour
    from interp.atlas.measure.probes import probe_rows, probe_table
    from interp.atlas.measure.rows import card_table
    from interp.atlas.rows import HELD_OUT_SEED, text_rows
    from interp.models import load_model

    model, twin = load_model(folder), load_model(folder, weights="random", seed=0)
    corpus, tokenizer = load_facts(folder).corpus(), Tokenizer.from_file(str(folder / "tokenizer.json"))
    about = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    seed = about["settings"]["train"]["seed"]
    n_train = min(effort.n_train_rows, about["corpus"]["rows"])
    say("measuring losses, heads and tasks")
    behaviour = measure_behaviour(
        model, twin, corpus, seed=effort.seed, n=effort.n,
        train_rows=text_rows(corpus, tokenizer, seed, 0, n_train, n_ctx=model.n_ctx),
        fresh_rows=text_rows(corpus, tokenizer, HELD_OUT_SEED, 0, effort.n_fresh_rows, n_ctx=model.n_ctx),
    )  # fmt: skip
    say("measuring facts and skills")
    told = _knowledge(model, twin, corpus, effort)
    say("probing for coordinates")
    probes = probe_table(model, twin, corpus, seed=effort.seed)
    say("measuring SAEs")
    rows = [*told, *probe_rows(probes), *_latents(model, twin, corpus, saes, effort)]
    tables = {"losses": behaviour.losses, "heads": behaviour.heads, "probes": probes}
    return {
        "measured": records(pd.concat([behaviour.rows, card_table(rows)], ignore_index=True)),
        "tables": {name: records(table) for name, table in tables.items()},
        "figures": records(figures(model, twin, corpus, tokenizer)),
    }


def _knowledge(model: Any, twin: Any, corpus: Any, effort: Effort) -> list[dict[str, Any]]:
    from interp.atlas.measure.answers import answer_rows
    from interp.atlas.measure.directions import direction_rows
    from interp.atlas.measure.near import near_rows
    from interp.atlas.measure.transfer import transfer_rows

    return [
        *answer_rows(model, twin, corpus),
        *near_rows(model, twin, corpus, seed=effort.seed),
        *direction_rows(model, twin, corpus, seed=effort.seed, n=effort.n_pairs, per_class=effort.n_pairs // 4),
        *transfer_rows(model, twin, corpus, seed=effort.seed, n=effort.n_exercises),
    ]


def _latents(model: Any, twin: Any, corpus: Any, saes: Path, effort: Effort) -> list[dict[str, Any]]:
    from interp.atlas.measure.latents import latent_rows

    own, random = (_saes(saes / name) for name in (model.name, model.name + TWIN))
    return latent_rows(
        model, twin, corpus.geography, own, random, seed=effort.seed, permutations=effort.permutations
    )  # fmt: skip


def _saes(folder: Path) -> dict[str, SAE]:
    from interp.sae import load_sae

    # of the residual stream, one a layer; those that differ in seed or architecture are judged by cards of their own
    paths = sorted(
        path for path in folder.glob("resid_post.*") if "-" not in path.name and (path / "cfg.json").is_file()
    )
    return {f"{folder.name}/{path.name}": load_sae(path) for path in paths}


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as JSON values; NaN becomes null."""
    text: Any = table.to_json(orient="records", double_precision=15)
    return json.loads(text)


def write_card(
    folder: Path, saes: Path, *, effort: Effort | None = None, say: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Measure the model in `folder` and write card.json and README.md beside its other files; return the card.

    Raises:
        InvalidInput: `folder` was not exported as the bundled model was.
        CorruptArtifact: a file of it is not what was written.
    """
    if not (folder / "card.json").is_file():
        raise InvalidInput(f"{folder} has no card.json; expected a folder that `interp atlas build` exported.")
    names = [name for name in verify_folder(folder)["files"] if name != "README.md"]
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    card |= measure_folder(folder, saes, effort or Effort(), say=say)
    seen = load_facts(folder).cities["seen"].to_numpy()
    n_parameters = _n_parameters(folder)
    text = card_page(card, n_parameters=n_parameters, n_cities=len(seen), n_hidden=int((~seen).sum()))
    files = {name: (folder / name).read_bytes() for name in names}
    files |= {"card.json": json.dumps(card, indent=1).encode(), "README.md": text.encode()}
    write_folder(folder, files, overwrite=True)
    return card


def _n_parameters(folder: Path) -> int:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="np") as tensors:
        shapes = [tensors.get_slice(name).get_shape() for name in tensors.keys()]  # noqa: SIM118 - no mapping
    return sum(math.prod(shape) for shape in shapes)
