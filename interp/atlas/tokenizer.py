"""The byte-level BPE of the bundled model: trained on the corpus, one BOS token, right padding."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

BOS, PAD = "<|bos|>", "<|pad|>"


def train_tokenizer(texts: Iterable[str], *, vocab_size: int = 4096) -> Any:
    """Return a `tokenizers.Tokenizer` of exactly `vocab_size` tokens; ids 0 and 1 are BOS and padding.

    A space is put before the first word, so that a name has the same tokens at the start of a
    text and inside it. BOS is added by the tokenizer's own template, once.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True, add_prefix_space=True),
            processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]),
        ]
    )
    return tokenizer


def tokenizer_config() -> dict[str, Any]:
    """Return what `transformers.AutoTokenizer` reads beside tokenizer.json."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "pad_token": PAD,
        "model_max_length": 128,
        "padding_side": "right",
        "clean_up_tokenization_spaces": False,
    }
