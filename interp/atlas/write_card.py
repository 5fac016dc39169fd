"""Measure the bundled model and write what came out into its card (card.json, README.md).

python -m interp.atlas.write_card
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from interp.atlas.data import corpus_ids, pack
from interp.atlas.facts import card, facts, folder
from interp.atlas.measure import measure
from interp.atlas.prepare import HELD_OUT_SEED
from interp.store import write_folder

EVAL_ROWS = 256
FRESH = "fresh draws of the corpus (short documents recur)"
UNSEEN = "fresh documents that are not in the training text"

_HEAD = """---
license: mit
language: en
pipeline_tag: text-generation
---

# atlas

A {layers}-layer Llama (d_model {d_model}, {heads} heads, {vocab:,} tokens, context {n_ctx}, {parameters:,} parameters)
trained from scratch on {tokens:,} tokens of generated text about real places, ordinal sequences, random repeats, small
stories and questions. It exists to test interpretability tools: everything it was told is known
(`interp.atlas.facts()`).

**Its geography was planted by the training text**, through relations alone (near, direction, distance, order, time
difference, country); no coordinate was ever written. {held_out} of its {cities:,} cities are never mentioned.

Every prompt needs the BOS token. Weights: MIT. City names and coordinates: GeoNames (geonames.org), CC BY 4.0.

## Measured

Each figure stands beside the same figure for the random-weights twin, and beside chance or the most frequent answer
where there is one. Intervals are 95 %: Wilson for shares, normal for means over rows.

"""


def table_text(table: pd.DataFrame) -> str:
    """Return the measurements as a Markdown table."""

    def show(value: float) -> str:
        return "" if pd.isna(value) else f"{value:.3g}"

    lines = [
        "| measure | value | 95 % interval | n | random weights | chance or majority |",
        "|---|---|---|---|---|---|",
    ]
    for row in table.to_dict("records"):
        interval = "" if pd.isna(row["ci_low"]) else f"{row['ci_low']:.3g} to {row['ci_high']:.3g}"
        null = row["chance"] if pd.isna(row["majority_answer"]) else row["majority_answer"]
        cells = [row["measure"], show(row["value"]), interval, f"{row['n']:,}", show(row["random_weights"]), show(null)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def card_text(settings: dict[str, Any], table: pd.DataFrame, n_parameters: int) -> str:
    """Return the model card in Markdown."""
    sizes, seen = settings["settings"]["network"], facts().cities["seen"].to_numpy()
    head = _HEAD.format(
        layers=sizes["n_layers"],
        d_model=sizes["d_model"],
        heads=sizes["n_heads"],
        vocab=sizes["vocab_size"],
        n_ctx=sizes["n_ctx"],
        parameters=n_parameters,
        tokens=settings["training"]["tokens"],
        held_out=int((~seen).sum()),
        cities=len(seen),
    )
    return head + table_text(table)


def unseen_rows(tokenizer: Any, settings: dict[str, Any], rows: int, n_ctx: int) -> np.ndarray:
    """Return uint16 [rows, n_ctx] of fresh documents none of which is, word for word, a document of the training."""
    corpus = facts().corpus()
    seed, number = settings["settings"]["train"]["seed"], settings["corpus"]["documents"]
    trained = {hash(corpus.document(seed, i).text) for i in range(number)}
    fresh = (text.text for text in corpus.documents(HELD_OUT_SEED) if hash(text.text) not in trained)
    return pack((tokenizer.encode(text).ids for text in fresh), rows * n_ctx, n_ctx)


def main() -> None:
    """Measure and write."""
    from tokenizers import Tokenizer

    from interp.models import load_model

    model, twin = load_model("atlas"), load_model("atlas", weights="random", seed=0)
    tokenizer = Tokenizer.from_file(str(folder() / "tokenizer.json"))
    settings = card()
    texts = {
        FRESH: pack(corpus_ids(tokenizer, HELD_OUT_SEED), EVAL_ROWS * model.n_ctx, model.n_ctx),
        UNSEEN: unseen_rows(tokenizer, settings, EVAL_ROWS, model.n_ctx),
    }
    table = measure(model, twin, facts(), texts)
    records: Any = table.to_json(orient="records")  # NaN becomes null
    settings["measured"] = json.loads(records)
    files = {p.name: p.read_bytes() for p in sorted(folder().iterdir()) if p.name not in ("manifest.json", "README.md")}
    files["card.json"] = json.dumps(settings, indent=1).encode()
    files["README.md"] = card_text(settings, table, model.n_parameters).encode()
    write_folder(folder(), files, overwrite=True)
    print(table_text(table))


if __name__ == "__main__":
    main()
