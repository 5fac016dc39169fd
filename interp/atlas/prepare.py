"""Make what training reads: tokenizer.json, rows.npy (training) and held_out.npy (other documents).

python -m interp.atlas.prepare --folder runs/atlas --tokens 11e6
"""

from __future__ import annotations

import argparse
import hashlib
import io
from pathlib import Path

import numpy as np

from interp.atlas.corpus import Corpus
from interp.atlas.data import corpus_ids, pack
from interp.atlas.tokenizer import train_tokenizer
from interp.atlas.world import default_world
from interp.store import atomic_write_bytes

HELD_OUT_SEED = 1_000_003  # another seed is another stream of documents


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def corpus_sha256(rows: np.ndarray) -> str:
    """Return the hash that names a corpus: sha256 of its packed rows, uint16 little-endian."""
    return hashlib.sha256(np.ascontiguousarray(rows, dtype="<u2").tobytes()).hexdigest()


def prepare(folder: Path, *, tokens: int, seed: int = 0, vocab_size: int = 4096, n_ctx: int = 128) -> str:
    """Write tokenizer and rows into `folder` and return the sha256 of the rows (the corpus hash)."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus = Corpus(default_world())
    sample = (corpus.document(seed, number).text for number in range(min(60_000, max(2_000, tokens // 100))))
    tokenizer = train_tokenizer(sample, vocab_size=vocab_size)
    atomic_write_bytes(folder / "tokenizer.json", tokenizer.to_str(pretty=False).encode())
    rows = pack(corpus_ids(tokenizer, seed), tokens, n_ctx)
    held_out = pack(corpus_ids(tokenizer, HELD_OUT_SEED + seed), 64 * n_ctx, n_ctx)
    atomic_write_bytes(folder / "held_out.npy", _npy(held_out))
    atomic_write_bytes(folder / "rows.npy", _npy(rows))
    return corpus_sha256(rows)


def main() -> None:
    """Command line of the preparation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--tokens", type=float, default=11e6)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(prepare(args.folder, tokens=int(args.tokens), seed=args.seed))


if __name__ == "__main__":
    main()
