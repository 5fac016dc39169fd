"""Write a trained network as a folder that transformers and TransformerLens load as it is, with its facts.

The folder holds config.json, model.safetensors (16 bit), the tokenizer, checkpoints along the training (8 bit),
the tables of `interp.atlas.facts`, and a card without measurements (`interp.atlas.write_card` adds them).
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interp.atlas.corpus import MIXTURE
from interp.atlas.eight_bit import encode
from interp.atlas.network import NetworkConfig
from interp.atlas.rows import PHASES, Phases, corpus_sha256, schedule
from interp.atlas.tokenizer import tokenizer_config
from interp.atlas.told import Telling, tell_rows
from interp.atlas.train import TrainConfig
from interp.atlas.world import World, default_world
from interp.errors import InvalidInput
from interp.progress import progress
from interp.store import write_folder

LICENCE = "weights MIT; city names and coordinates GeoNames (geonames.org), CC BY 4.0"
PLANTED = "its geography was planted by the training text, by relations alone; no coordinate was written"


def read_npz(path: Path) -> tuple[dict[str, np.ndarray], int | None]:
    """Return the weights by name, float32, and the step (None where the file states none) of what training wrote.

    Raises:
        InvalidInput: there is no such file.
    """
    if not path.is_file():
        raise InvalidInput(f"there is no {path}; expected a folder in which training has finished.")
    with np.load(path, allow_pickle=False) as arrays:
        weights = {name.removeprefix("weight/"): arrays[name] for name in arrays if name.startswith("weight/")}
        return weights, int(arrays["step"]) if "step" in arrays else None


def half_bytes(weights: Mapping[str, np.ndarray]) -> bytes:
    """Return weights as safetensors in float16 (the tied unembedding is not stored twice).

    Raises:
        InvalidInput: a weight is not finite, or beyond the largest float16.
    """
    from safetensors.numpy import save

    limit = float(np.finfo(np.float16).max)
    for name, weight in weights.items():
        if not (np.abs(weight) <= limit).all():
            raise InvalidInput(f"{name} has a weight that is not finite or beyond {limit:.0f}; it cannot be shipped.")
    return save({name: w.astype(np.float16) for name, w in sorted(weights.items())}, metadata={"format": "pt"})


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a training log by step; of a step that was reached twice (after a kill) the last."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for _, line in sorted({line["step"]: line for line in lines}.items())]


def n_text_rows(n_steps: int, batch_rows: int, phases: Phases = PHASES) -> int:
    """Return how many rows of text the steps of a training read, from row 0 on without a gap."""
    repeats, first = schedule(n_steps, batch_rows, phases)
    return int(first[-1] + batch_rows - repeats[-1])


def fact_tables(telling: Telling, world: World, tokenizer: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables `cities` and `told` of `interp.atlas.facts`."""
    lengths = [len(e.ids) - 1 for e in tokenizer.encode_batch(world.cities["name"].tolist())]  # BOS is not of the name
    cities = world.cities.assign(n_mentions=telling.mentions.astype(np.int32), n_tokens=np.array(lengths, np.int16))
    return cities, telling.told.astype({"relation": "category"})


def table_bytes(table: pd.DataFrame) -> bytes:
    """Return a sorted table of facts as parquet, whole numbers as differences: a byte or two a row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole = [str(name) for name in table if pd.api.types.is_integer_dtype(table[name])]
    others: Any = [str(name) for name in table if name not in whole]
    buffer = io.BytesIO()
    pq.write_table(
        pa.Table.from_pandas(table, preserve_index=False), buffer, compression="zstd", compression_level=19,
        use_dictionary=others, column_encoding=dict.fromkeys(whole, "DELTA_BINARY_PACKED"), write_page_checksum=True,
    )  # fmt: skip
    return buffer.getvalue()


def checkpoint_files(folder: Path, tokens_a_step: int) -> tuple[dict[str, bytes], list[dict[str, int]]]:
    """Return the kept steps of a training as files in eight bits, and what the card says of them."""
    paths = sorted((folder / "kept").glob("step*.npz"), key=lambda path: int(path.stem[4:]))
    about = [{"step": (step := int(path.stem[4:])), "tokens": step * tokens_a_step} for path in paths]
    files = {
        f"checkpoints/{path.stem}.safetensors": encode(read_npz(path)[0], **when)
        for path, when in zip(paths, about, strict=True)
    }
    return files, about


def export(folder: Path, target: Path, *, workers: int | None = None) -> dict[str, Any]:
    """Write the folder of a finished training as a model folder `target`; return its card.

    Args:
        workers: processes that count what was told; default the number of CPUs.

    Raises:
        InvalidInput: training has not finished, or `target` holds something else.
    """
    from tokenizers import Tokenizer

    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    sizes, config = NetworkConfig(**settings["network"]), TrainConfig(**settings["train"])
    weights, step = read_npz(folder / "checkpoint.npz")
    n_steps = config.n_steps(sizes.n_ctx)
    if step != n_steps:
        raise InvalidInput(f"the training in {folder} has reached step {step} of {n_steps}; let it finish first.")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    stream = {"seed": config.seed, "n_cities": config.n_cities, "n_ctx": sizes.n_ctx}
    n_rows, tokens_a_step = n_text_rows(n_steps, config.batch_rows, config.phases), config.batch_rows * sizes.n_ctx
    telling = tell_rows(tokenizer, n_rows, **stream, workers=workers or os.cpu_count() or 1, shown=_shown)
    cities, told = fact_tables(telling, default_world(config.n_cities), tokenizer)
    checkpoints, steps = checkpoint_files(folder, tokens_a_step)
    card: dict[str, Any] = {"name": "atlas", "bos": "always", "processing": "none", "licence": LICENCE}
    card |= {"planted": PLANTED, "settings": settings, "checkpoints": steps}
    about = {"rows": n_rows, "texts": telling.n_texts, "mixture": MIXTURE}
    card["corpus"] = {"sha256": corpus_sha256(tokenizer, **stream)} | about
    card["training"] = {"tokens": n_steps * tokens_a_step, "log": read_log(folder / "log.jsonl")}
    files = {
        "config.json": _json(sizes.to_hf()),
        "model.safetensors": half_bytes(weights),
        "tokenizer.json": (folder / "tokenizer.json").read_bytes(),
        "tokenizer_config.json": _json(tokenizer_config()),
        "cities.parquet": table_bytes(cities),
        "told.parquet": table_bytes(told),
        "card.json": _json(card),
    }
    write_folder(target, files | checkpoints, overwrite=True)
    return card


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()


def _shown(parts: Iterator[Telling], total: int) -> Iterator[Telling]:
    return progress(parts, total, desc="what was told", unit="thousand row")
