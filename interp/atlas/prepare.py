"""Train the tokenizer of the bundled model on the corpus."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from interp.atlas.corpus import Corpus
from interp.atlas.tokenizer import train_tokenizer
from interp.atlas.world import default_world
from interp.store import atomic_write_bytes

TOKENIZER_SEED = 2_000_003
"""The tokenizer is trained on texts of its own."""


def prepare(folder: Path, *, n_cities: int = 2000, n_texts: int = 120_000, vocab_size: int = 5120) -> None:
    """Write `folder/tokenizer.json`, made from `n_texts` texts of the corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus = Corpus(default_world(n_cities))
    rng = np.random.default_rng(TOKENIZER_SEED)
    tokenizer = train_tokenizer((corpus.document(rng).text for _ in range(n_texts)), vocab_size=vocab_size)
    atomic_write_bytes(folder / "tokenizer.json", tokenizer.to_str().encode())
