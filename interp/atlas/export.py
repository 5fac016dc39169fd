"""Write a trained network as a folder that transformers and TransformerLens load as it is.

python -m interp.atlas.export --folder runs/build          # -> interp/assets/atlas
"""

from __future__ import annotations

import argparse
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interp.atlas.corpus import Corpus
from interp.atlas.data import schedule
from interp.atlas.facts import folder as bundled_folder
from interp.atlas.network import Network, NetworkConfig
from interp.atlas.prepare import corpus_sha256
from interp.atlas.tokenizer import tokenizer_config
from interp.atlas.train import TrainConfig, load_checkpoint
from interp.atlas.world import default_world
from interp.store import write_folder


def weights_bytes(network: Network) -> bytes:
    """Return the weights as safetensors in float16 (the tied unembedding is not stored twice)."""
    import torch
    from safetensors.torch import save

    state = {name: p.detach().to(torch.float16).contiguous() for name, p in network.named_parameters()}
    return save(state, metadata={"format": "pt"})


def used_documents(tokenizer: Any, corpus: Corpus, n_tokens: int, seed: int) -> tuple[Counter, Counter, int]:
    """Return mentions by city, counts by told relation, and the number of documents in the first `n_tokens`."""
    mentions: Counter = Counter()
    told: Counter = Counter()
    tokens = number = 0
    while tokens < n_tokens:
        batch = [corpus.document(seed, number + i) for i in range(1024)]
        for text, encoding in zip(batch, tokenizer.encode_batch([t.text for t in batch]), strict=True):
            mentions.update(city for _, _, city in text.spans)
            told.update(text.told)
            tokens += len(encoding.ids)
            number += 1
            if tokens >= n_tokens:
                break
    return mentions, told, number


def fact_tables(tokenizer: Any, n_tokens: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Return the tables `cities` and `told` of `interp.atlas.facts` and the number of documents."""
    world = default_world()
    mentions, told, number = used_documents(tokenizer, Corpus(world), n_tokens, seed)
    names = world.cities["name"].tolist()
    cities = world.cities.assign(
        n_mentions=[mentions[row] for row in range(len(names))],
        n_tokens=[len(tokenizer.encode(name).ids) - 1 for name in names],
    )
    rows = sorted((relation, city, other, count) for (relation, city, other), count in told.items())
    table = pd.DataFrame(rows, columns=["relation", "city", "other", "count"])
    table = table.astype({"relation": "category", "city": "int16", "other": "int16", "count": "int32"})
    return cities, table, number


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False, compression="zstd", compression_level=19)
    return buffer.getvalue()


def export(folder: Path, target: Path) -> None:
    """Write config, weights, tokenizer, facts and a card without measurements into `target`."""
    from tokenizers import Tokenizer

    settings = json.loads((folder / "settings.json").read_text())
    sizes, config = NetworkConfig(**settings["network"]), TrainConfig(**settings["train"])
    network = Network(sizes)
    steps = load_checkpoint(folder / "checkpoint.npz", network)
    if steps != config.n_steps(sizes.n_ctx):
        raise SystemExit(f"training has reached step {steps} of {config.n_steps(sizes.n_ctx)}; let it finish first.")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    rows = np.load(folder / "rows.npy", mmap_mode="r", allow_pickle=False)
    repeats, first = schedule(steps, config.batch_rows)
    used = min(len(rows), int(first[-1] + config.batch_rows - repeats[-1]))
    cities, told, n_documents = fact_tables(tokenizer, used * sizes.n_ctx, config.seed)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    card = {
        "name": "atlas",
        "bos": "always",
        "processing": "none",
        "licence": "weights MIT; city names and coordinates GeoNames (geonames.org), CC BY 4.0",
        "planted": "its geography was planted by the training text, by relations alone; no coordinate was written",
        "settings": settings,
        "corpus": {"sha256": corpus_sha256(rows[:used]), "rows": used, "documents": n_documents},
        "training": {"tokens": steps * config.batch_rows * sizes.n_ctx, "log": log},
    }
    files = {
        "config.json": json.dumps(sizes.to_hf(), indent=1).encode(),
        "model.safetensors": weights_bytes(network),
        "tokenizer.json": (folder / "tokenizer.json").read_bytes(),
        "tokenizer_config.json": json.dumps(tokenizer_config(), indent=1).encode(),
        "cities.parquet": _parquet(cities),
        "told.parquet": _parquet(told),
        "card.json": json.dumps(card, indent=1).encode(),
    }
    write_folder(target, files, overwrite=True)
    print("\n".join(f"{len(data):>10,} {name}" for name, data in files.items()))


def main() -> None:
    """Command line of the export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="a folder in which training has finished")
    parser.add_argument("--target", type=Path, default=bundled_folder())
    args = parser.parse_args()
    export(args.folder, args.target)


if __name__ == "__main__":
    main()
