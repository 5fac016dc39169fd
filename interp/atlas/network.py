"""The network of the bundled model in plain torch: a small Llama, named as transformers names it.

RMSNorm before each block half, rotary positions, a gated MLP, tied embeddings, no biases. Training
needs nothing but torch; the state dict loads into `transformers.LlamaForCausalLM` as it is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network."""

    vocab_size: int = 5120
    d_model: int = 192
    n_layers: int = 6
    n_heads: int = 6
    d_mlp: int = 512
    n_ctx: int = 128
    rope_theta: float = 10000.0
    eps: float = 1e-5
    init_std: float = 0.02

    def to_hf(self) -> dict[str, Any]:
        """Return the config.json of the same network as a `LlamaForCausalLM`."""
        return {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": self.vocab_size,
            "hidden_size": self.d_model, "num_hidden_layers": self.n_layers, "num_attention_heads": self.n_heads,
            "num_key_value_heads": self.n_heads, "intermediate_size": self.d_mlp, "hidden_act": "silu",
            "max_position_embeddings": self.n_ctx, "rms_norm_eps": self.eps, "rope_theta": self.rope_theta,
            "rope_parameters": {"rope_type": "default", "rope_theta": self.rope_theta},
            "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False,
            "initializer_range": self.init_std, "bos_token_id": 0, "eos_token_id": None, "pad_token_id": 1,
            "dtype": "float16", "use_cache": False,
        }  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return the sizes as a plain dict."""
        return asdict(self)


class RMSNorm(nn.Module):
    """Scale a vector to unit mean square, then by a learned weight [d_model]."""

    def __init__(self, d_model: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised vectors, in the shape of `x`."""
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


def rotary(n_ctx: int, d_head: int, theta: float) -> tuple[Tensor, Tensor]:
    """Return cosines and sines of the rotary angles, each [n_ctx, d_head]."""
    inverse = 1.0 / theta ** (torch.arange(0, d_head, 2, dtype=torch.float32) / d_head)
    angle = torch.outer(torch.arange(n_ctx, dtype=torch.float32), inverse)
    angle = torch.cat([angle, angle], dim=-1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn queries or keys [batch, head, pos, d_head] by their position."""
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
    return x * cos + turned * sin


class Attention(nn.Module):
    """Causal attention with rotary positions: [batch, pos, d_model] -> the same."""

    def __init__(self, c: NetworkConfig) -> None:
        super().__init__()
        self.n_heads = c.n_heads
        self.q_proj = nn.Linear(c.d_model, c.d_model, bias=False)
        self.k_proj = nn.Linear(c.d_model, c.d_model, bias=False)
        self.v_proj = nn.Linear(c.d_model, c.d_model, bias=False)
        self.o_proj = nn.Linear(c.d_model, c.d_model, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Return what the heads write, [batch, pos, d_model]; `cos` and `sin` from `rotary`."""
        batch, pos, d = x.shape
        q, k, v = (
            p(x).view(batch, pos, self.n_heads, -1).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        z = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        return self.o_proj(z.transpose(1, 2).reshape(batch, pos, d))


class Mlp(nn.Module):
    """Gated MLP, SiLU(gate) * up: [batch, pos, d_model] -> the same."""

    def __init__(self, c: NetworkConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(c.d_model, c.d_mlp, bias=False)
        self.up_proj = nn.Linear(c.d_model, c.d_mlp, bias=False)
        self.down_proj = nn.Linear(c.d_mlp, c.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the neurons write, [batch, pos, d_model]."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """Attention and MLP, each added to the residual stream [batch, pos, d_model]."""

    def __init__(self, c: NetworkConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(c.d_model, c.eps)
        self.self_attn = Attention(c)
        self.post_attention_layernorm = RMSNorm(c.d_model, c.eps)
        self.mlp = Mlp(c)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Return the residual stream behind the block; `cos` and `sin` from `rotary`."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Network(nn.Module):
    """Token ids int64 [batch, pos] -> logits [batch, pos, vocab]."""

    cos: Tensor
    sin: Tensor

    def __init__(self, c: NetworkConfig) -> None:
        super().__init__()
        self.config = c
        self.model: Any = nn.ModuleDict(
            {
                "embed_tokens": nn.Embedding(c.vocab_size, c.d_model),
                "layers": nn.ModuleList(Block(c) for _ in range(c.n_layers)),
                "norm": RMSNorm(c.d_model, c.eps),
            }
        )
        cos, sin = rotary(c.n_ctx, c.d_model // c.n_heads, c.rope_theta)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    @torch.no_grad()
    def initialise(self, seed: int) -> Network:
        """Set normal weights from a generator of its own; what writes to the residual stream is scaled down."""
        generator = torch.Generator().manual_seed(seed)
        scale = (2 * self.config.n_layers) ** -0.5
        for name, p in self.named_parameters():
            if p.dim() < 2:
                continue
            std = self.config.init_std * (scale if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.0)
            p.copy_(torch.randn(p.shape, generator=generator) * std)
        return self

    def hidden(self, ids: Tensor) -> Tensor:
        """Return the normalised final residual stream [batch, pos, d_model]."""
        x = self.model["embed_tokens"](ids)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        for block in self.model["layers"]:
            x = block(x, cos, sin)
        return self.model["norm"](x)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the logits [batch, pos, vocab] of ids [batch, pos]."""
        return F.linear(self.hidden(ids), self.model["embed_tokens"].weight)
