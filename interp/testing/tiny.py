"""Tiny models and tokenizers: real Hugging Face modules with random weights.

A tiny model is large enough for every hook and small enough to run in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from interp.errors import InvalidInput, nearest
from interp.models import Bos, Model, load_model

TokenizerStyle = Literal["plain", "bos", "bos_eos_left"]
_WORDS = ("Paris", "London", "Berlin", "is", "in", "the", "city", "of", "France", "and", "to", "from")


def tiny_model(
    seed: int = 0,
    architecture: str = "llama",
    *,
    n_layers: int = 2,
    d_model: int = 32,
    n_heads: int = 4,
    n_kv_heads: int = 2,
    d_mlp: int = 64,
    n_ctx: int = 64,
    bos: Bos | None = "always",
    tokenizer: Any = None,
) -> Model:
    """Return a random model with a byte-level tokenizer.

    Args:
        architecture: one of llama, mistral, qwen2, qwen3, gemma2, gemma3, olmo2, granite (grouped heads),
            gpt2, opt, bloom (no grouped heads), gpt_neox, gptj (parallel blocks).
        tokenizer: default `tiny_tokenizer("bos")`.

    Raises:
        InvalidInput: an architecture that is not in the list.
    """
    tokenizer = tiny_tokenizer() if tokenizer is None else tokenizer
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": d_model,
        "intermediate_size": d_mlp,
        "num_hidden_layers": n_layers,
        "num_attention_heads": n_heads,
        "num_key_value_heads": n_kv_heads,
        "max_position_embeddings": n_ctx,
    }
    return load_model(tiny_module(architecture, sizes, seed=seed), bos=bos, tokenizer=tokenizer)


def tiny_module(architecture: str, sizes: dict[str, int], *, seed: int = 0) -> Any:
    """Return a random Hugging Face causal LM; `sizes` has the names of a Llama configuration.

    The weights are drawn ten times wider than usual: with the usual 0.02 a narrow model adds almost
    nothing to its residual stream, and a test on it would pass whatever the code does.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    if architecture not in _EXTRA:
        near = ", ".join(nearest(architecture, _EXTRA))
        raise InvalidInput(f"no tiny {architecture!r}. Nearest: {near}. All: {', '.join(_EXTRA)}.")
    kind = {"gemma3": "gemma3_text"}.get(architecture, architecture)
    names = {**sizes, "initializer_range": 0.2, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 1}
    if architecture in ("gpt2", "gpt_neox", "gptj", "opt", "bloom"):
        del names["num_key_value_heads"]  # these would not read it, and the bridge would
    if architecture in ("gpt2", "gptj"):
        names["n_inner"] = names.pop("intermediate_size")
    if architecture == "opt":
        names |= {
            "ffn_dim": names.pop("intermediate_size"),
            "word_embed_proj_dim": sizes["hidden_size"],
            "init_std": 0.2,
        }
    config = AutoConfig.for_model(kind, **{**names, **_EXTRA[architecture](sizes)})
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


def _head_dim(sizes: dict[str, int]) -> dict[str, Any]:
    return {"head_dim": sizes["hidden_size"] // sizes["num_attention_heads"]}


def _local(sizes: dict[str, int]) -> dict[str, Any]:
    return {**_head_dim(sizes), "sliding_window": 4}


def _none(sizes: dict[str, int]) -> dict[str, Any]:
    return {}


_EXTRA = {
    "llama": _none,
    "mistral": _local,
    "qwen2": _none,
    "qwen3": _head_dim,
    "gemma2": _local,
    "gemma3": _local,
    "olmo2": _none,
    "granite": lambda sizes: {"residual_multiplier": 0.5},
    "gpt2": _none,
    "opt": _none,
    "bloom": _none,
    "gpt_neox": _none,
    "gptj": lambda sizes: {"rotary_dim": 4},
}


def tiny_tokenizer(style: TokenizerStyle = "bos", *, words: Iterable[str] = _WORDS) -> Any:
    """Return a byte-level BPE tokenizer in which each of `words`, with the space before it, is one token.

    Args:
        style: "plain" adds nothing and has one special token for everything, as GPT-2; "bos" adds BOS, as
            Llama; "bos_eos_left" adds BOS and EOS, pads on the left and has no padding token.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    specials = ["<|end|>"] if style == "plain" else ["<s>", "</s>"]
    vocab = {token: i for i, token in enumerate([*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    merges: list[tuple[str, str]] = []
    for word in words:
        left = "Ġ"
        for letter in word:
            if left + letter not in vocab:
                vocab[left + letter] = len(vocab)
                merges.append((left, letter))
            left += letter
    backend = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    byte_level = processors.ByteLevel(trim_offsets=False)
    if style == "plain":
        backend.post_processor = byte_level
        return PreTrainedTokenizerFast(
            tokenizer_object=backend, bos_token="<|end|>", eos_token="<|end|>", unk_token="<|end|>"
        )
    pattern = "<s> $A" if style == "bos" else "<s> $A </s>"
    template = processors.TemplateProcessing(single=pattern, special_tokens=[("<s>", 0), ("</s>", 1)])
    backend.post_processor = processors.Sequence([byte_level, template])
    settings = {"padding_side": "left"} if style == "bos_eos_left" else {"pad_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", **settings)
