"""A folder of one's own, to try every command on: small files of each kind that the toolkit reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from interp.errors import InvalidInput
from interp.store import atomic_write_bytes

_MODELS = {"my-model": "gpt2", "my-llama": "llama", "my-neox": "gpt_neox"}
_SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_SITE_HOOK, _D_SAE, _K = "blocks.1.hook_resid_post", 64, 4
_TASK = "tasks/plural"


def example_files(folder: str | Path = ".") -> list[Path]:
    """Write random models, an SAE, places, texts, labels and a pool of training samples into a folder.

    Nothing here means anything: the models have random weights, so that what an analysis finds in them is its null.

    - `my-model` (GPT-2), `my-llama`, `my-neox`: Hugging Face folders of 2 layers with a byte-level tokenizer;
    - `saelens-sae`: a TopK SAE of random directions for `my-model`, as SAELens writes one;
    - `my.csv` (120 cities), `corpus.txt` and `held_out.txt` (texts), `labels.csv` (country of a city);
    - `pool.jsonl` and `task.jsonl`: prompts with answers, and examples of one task.

    Returns:
        What was written, in that order.

    Raises:
        InvalidInput: something of one of these names is there; nothing is written then.
        ResourceExhausted: no space or no permission.
    """
    here = Path(folder)
    files = {"my.csv": _places, "corpus.txt": _corpus, "held_out.txt": _held_out, "labels.csv": _labels,
             "pool.jsonl": _pool, "task.jsonl": _task}  # fmt: skip
    paths = [here / name for name in (*_MODELS, "saelens-sae", *files)]
    for path in paths:
        if path.exists():
            raise InvalidInput(f"{path} is there already; give example_files an empty folder.")
    here.mkdir(parents=True, exist_ok=True)
    for name, architecture in _MODELS.items():
        _write_model(here / name, architecture)
    _write_sae(here / "saelens-sae")
    for name, content in files.items():
        atomic_write_bytes(here / name, content().encode())
    return paths


def _write_model(folder: Path, architecture: str) -> None:
    from interp.sources import quiet
    from interp.testing.tiny import tiny_module, tiny_tokenizer

    tokenizer = tiny_tokenizer("plain" if architecture == "gpt2" else "bos")
    sizes = {**_SIZES, "vocab_size": len(tokenizer), "num_key_value_heads": 2, "max_position_embeddings": 256}
    with quiet():
        tiny_module(architecture, sizes).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _write_sae(folder: Path) -> None:
    import torch
    from safetensors.torch import save

    d = _SIZES["hidden_size"]
    W = torch.nn.functional.normalize(torch.randn(_D_SAE, d, generator=torch.Generator().manual_seed(0)), dim=1)
    weights = {"W_enc": W.T.contiguous(), "W_dec": W, "b_enc": torch.zeros(_D_SAE), "b_dec": torch.zeros(d)}
    config = {
        "architecture": "topk", "d_in": d, "d_sae": _D_SAE, "k": _K, "dtype": "float32", "device": "cpu",
        "apply_b_dec_to_input": True, "normalize_activations": "none", "reshape_activations": "none",
        "rescale_acts_by_decoder_norm": False,
        "metadata": {"model_name": "my-model", "hook_name": _SITE_HOOK, "context_size": 128, "prepend_bos": True},
    }  # fmt: skip
    folder.mkdir()
    atomic_write_bytes(folder / "cfg.json", json.dumps(config, indent=1).encode())
    atomic_write_bytes(folder / "sae_weights.safetensors", save(weights))


def _cities() -> Any:
    """Return 12 cities of each of 10 countries, so that each can be held out and told from the rest."""
    from interp.atlas import facts

    cities: Any = facts().cities
    cities = cities[cities["seen"]]
    largest = cities["country"].value_counts().index[:10]
    return cities[cities["country"].isin(largest)].groupby("country").head(12)


def _places() -> str:
    return _cities()[["name", "lat", "lon", "country", "population"]].to_csv(index=False)


def _labels() -> str:
    table = _cities().rename(columns={"name": "text", "country": "label"})
    return table[["text", "label"]].to_csv(index=False)


def _corpus() -> str:
    return "".join(f"{text.text}\n" for text in _texts(1, 1000))


def _held_out() -> str:
    return "".join(f"{text.text}\n" for text in _texts(2, 200))


def _pool() -> str:
    return "".join(_sample(text) for text in islice(filter(_has_answer, _endless(3)), 300))


def _task() -> str:
    of_task = (text for text in _endless(4) if text.kind == _TASK and _has_answer(text))
    return "".join(_sample(text) for text in islice(of_task, 8))


def _sample(text: Any) -> str:
    start, end = text.answer
    return json.dumps({"prompt": text.text[:start], "completion": text.text[start:end]}, ensure_ascii=False) + "\n"


def _has_answer(text: Any) -> bool:
    return text.answer is not None


def _texts(seed: int, n: int) -> Iterator[Any]:
    return (text for text in islice(_endless(seed), n) if "\n" not in text.text)


def _endless(seed: int) -> Iterator[Any]:
    from interp.atlas import facts

    return iter(facts().texts(seed))
