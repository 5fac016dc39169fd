"""How large a model is, from its configuration alone: no weight is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PROGRAM_BYTES = 1.2e9  # of a process with every library imported and figures drawn; a whole run on atlas took 1.74 GB
_MLP = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")


@dataclass(frozen=True)
class Sizes:
    """Sizes of a model; `bos` is what its card says, None without one."""

    name: str
    kind: str
    n_layers: int
    n_heads: int
    d_model: int
    d_mlp: int
    n_parameters: int
    bos: str | None

    @property
    def weight_bytes(self) -> float:
        """Bytes of the weights in float32, in which models are loaded."""
        return 4.0 * self.n_parameters

    @property
    def loaded_bytes(self) -> float:
        """Memory of a process that holds the model and its twin with random weights."""
        return PROGRAM_BYTES + 2 * self.weight_bytes


def sizes_of(source: Any) -> Sizes:
    """Return the sizes of what `interp.sources.find_source` found; its module is built without memory."""
    import torch
    from transformers import AutoModelForCausalLM

    from interp.sources import quiet

    module = source.module
    if module is None:
        with quiet(), torch.device("meta"):
            module = AutoModelForCausalLM.from_config(source.config)
    config = source.config
    d_model = int(config.hidden_size)
    return Sizes(
        name=source.name,
        kind=source.kind,
        n_layers=int(config.num_hidden_layers),
        n_heads=int(config.num_attention_heads),
        d_model=d_model,
        d_mlp=next((int(n) for name in _MLP if (n := getattr(config, name, None))), 4 * d_model),
        n_parameters=sum(p.numel() for p in module.parameters()),
        bos=source.card.get("bos"),
    )


def human_bytes(n: float) -> str:
    """Return a number of bytes for people: "512 B", "3.2 MB", "1.4 GB"."""
    for unit in ("B", "kB", "MB"):
        if n < 999.5:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} GB" if n < 999.5 else f"{n / 1000:.3g} TB"
