"""dictionary_learning: config.json + ae.pt, of which only a safetensors copy (ae.safetensors) is read."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from interp.errors import InvalidInput
from interp.sae.config import refuse_keys
from interp.sae.formats.parse import Declared, Files, Read, at_site, build, common, parse_json, parse_weights

FILES = ("config.json", "ae.safetensors")
PICKLE = (
    "this is a dictionary_learning folder; ae.pt is a pickle, which can run code when opened, so it is not read. "
    "Where you trust it, write it as ae.safetensors beside config.json: "
    "python -c \"import torch; from safetensors.torch import save_file; s = torch.load('ae.pt', map_location='cpu', "
    "weights_only=True); save_file({k: v.clone().contiguous() for k, v in s.items()}, 'ae.safetensors')\""
)
RESCALE = "rescale_acts_by_decoder_norm"
_UNIT = 1e-5

Weights = dict[str, Tensor]


class _Kind(NamedTuple):
    architecture: str
    apply_b_dec_to_input: bool
    names: dict[str, str]
    """Our name of each of their tensors."""
    scaled: bool = False
    """Whether latents are multiplied by the length of their decoder row (and divided by it before decoding)."""


_LINEAR = {"encoder.weight": "W_enc", "encoder.bias": "b_enc", "decoder.weight": "W_dec"}
_PLAIN = {name: name for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
_GATED = {"gate_bias": "b_gate", "mag_bias": "b_mag", "r_mag": "r_mag", "decoder_bias": "b_dec"}
_GATED |= {"encoder.weight": "W_enc", "decoder.weight": "W_dec"}
_COUNTS = {"k": "k", "threshold": "threshold"}
_KINDS = {
    "AutoEncoder": _Kind("standard", True, _LINEAR | {"bias": "b_dec"}),
    "AutoEncoderNew": _Kind("standard", False, _LINEAR | {"decoder.bias": "b_dec"}),
    "GatedAutoEncoder": _Kind("gated", True, _GATED, scaled=True),
    "JumpReluAutoEncoder": _Kind("jumprelu", False, _PLAIN | {"threshold": "threshold"}, scaled=True),
    "AutoEncoderTopK": _Kind("topk", True, _LINEAR | _COUNTS | {"b_dec": "b_dec"}),
    "BatchTopKSAE": _Kind("jumprelu", True, _LINEAR | _COUNTS | {"b_dec": "b_dec"}),
    "MatryoshkaBatchTopKSAE": _Kind("jumprelu", True, _PLAIN | _COUNTS | {"group_sizes": "group_sizes"}),
}
"""By `dict_class`; a BatchTopK SAE is used with its threshold, as a JumpReLU SAE."""


def read_dictionary_learning(files: Files, *, declare: Declared = None, name: str = "") -> Read:
    """Read config.json + ae.safetensors, the tensors of ae.pt under their names.

    JumpReLU and gated latents are multiplied by the length of their decoder row in the library's code of today and
    were not earlier; the file does not say which. Where the rows are not of length 1, declare
    {"rescale_acts_by_decoder_norm": True} (today) or False; the factor is then folded into the weights.

    Raises:
        InvalidInput: `dict_class` is missing or not computed here, a tensor is missing or unknown, the rescaling is
            not declared, or the threshold of a BatchTopK SAE was never set.
        CorruptArtifact: not JSON, not safetensors.
    """
    config = parse_json(files["config.json"], "config.json")
    trainer = config.get("trainer")
    dict_class = trainer.get("dict_class") if isinstance(trainer, dict) else None
    if not isinstance(trainer, dict) or dict_class not in _KINDS:
        raise InvalidInput(f"config.json: trainer.dict_class is one of {', '.join(_KINDS)}; not {dict_class!r}.")
    kind, declared = _KINDS[str(dict_class)], dict(declare or {})
    raw = parse_weights(files["ae.safetensors"], "ae.safetensors")
    older = {name: torch.zeros(()) for name in ("threshold",) if dict_class == "AutoEncoderTopK"}  # it does not use it
    refuse_keys({**older, **raw}, list(kind.names), what=f"ae.safetensors ({dict_class})")
    weights = {ours: raw[theirs] for theirs, ours in kind.names.items() if theirs in raw}
    k = weights.pop("k", None)
    weights.pop("group_sizes", None)
    weights = {key: value.float() if kind.architecture == "jumprelu" else value for key, value in weights.items()}
    weights = {key: value.T if f"{_linear(key)}.weight" in kind.names else value for key, value in weights.items()}
    if kind.architecture == "topk":
        weights.pop("threshold", None)
    elif "k" in kind.names:
        weights["threshold"] = _shared_threshold(weights)
    if kind.scaled:
        weights = _unscaled(weights, kind.architecture, declared.pop(RESCALE, None))
    stated = common(kind.architecture, trainer.get("activation_dim"), trainer.get("dict_size"))
    stated |= {"apply_b_dec_to_input": kind.apply_b_dec_to_input, "normalize_activations": "none"}
    stated |= {"k": int(k)} if kind.architecture == "topk" and k is not None else {}
    stated |= _origin(trainer, config.get("buffer"))
    return build(stated, weights, declared, "config.json (dictionary_learning)"), weights


def _linear(ours: str) -> str:
    return {"W_enc": "encoder", "W_dec": "decoder"}.get(ours, ours)


def _shared_threshold(weights: Weights) -> Tensor:
    value = float(weights["threshold"])
    if value < 0:  # it starts at -1 and is estimated late in training
        raise InvalidInput(f"ae.safetensors: the threshold is {value:g}: it was never set, so latents have no gate.")
    return torch.full((weights["W_enc"].shape[1],), value)


def _unscaled(weights: Weights, architecture: str, rescale: bool | None) -> Weights:
    """Return the weights of an SAE with the same latents that rescales nothing."""
    length = weights["W_dec"].float().norm(dim=1)
    off = float((length - 1).abs().max())
    if off <= _UNIT or rescale is False:
        return weights
    if rescale is None:
        raise InvalidInput(
            f"the decoder rows differ from length 1 by up to {off:.2g}, and the file does not say whether latents are "
            f"multiplied by these lengths. Declare {{{RESCALE!r}: True}} if they are, as in the library's code of "
            "today, or False if the SAE is of an earlier version."
        )
    fold: dict[str, Callable[[Tensor], Tensor]] = {"W_dec": lambda w: w / length[:, None]}
    if architecture == "gated":
        fold |= {"b_mag": lambda b: b * length, "r_mag": lambda r: r + length.log()}
    else:
        fold |= dict.fromkeys(("W_enc", "b_enc", "threshold"), lambda w: w * length)
    return {key: fold[key](value) if key in fold else value for key, value in weights.items()}


def _origin(trainer: dict[str, Any], buffer: Any) -> dict[str, Any]:
    """Return where the activations came from; only outputs of blocks are named in a way that can be relied on."""
    model = trainer.get("lm_name")
    origin: dict[str, Any] = {"model_name": model if isinstance(model, str) and model else None}
    buffer = buffer if isinstance(buffer, dict) else {}
    if isinstance(buffer.get("ctx_len"), int):
        origin["context_size"] = buffer["ctx_len"]
    block = re.fullmatch(r"resid_post_layer_(\d+)", str(trainer.get("submodule_name")))
    if block and buffer.get("io", "out") == "out":
        origin |= at_site("resid_post", int(block[1]))
    return origin
