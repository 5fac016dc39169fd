"""Gemma Scope: params.npz without a config, and Gemma Scope 2: params.safetensors with one. All are JumpReLU.

The first has no word on what it reads: an SAE and a transcoder of one width hold the same five arrays. So the path
has to tell, as it does below the folder that the release was downloaded to, or the site is declared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from interp.errors import InvalidInput
from interp.sae.config import refuse_keys
from interp.sae.formats.parse import (
    Declared,
    Files,
    Read,
    at_site,
    build,
    common,
    parse_arrays,
    parse_json,
    parse_weights,
)

FILES = ("params.npz",)
FILES_2 = ("config.json", "params.safetensors")
_NAMES = ["W_enc", "b_enc", "W_dec", "b_dec", "threshold"]
_RELEASE = re.compile(r"gemma-scope-(\d+b)-(pt|it)-(res|att|mlp|transcoders)\b")
_READS = {"res": "resid_post", "att": "z", "mlp": "mlp_out"}
_PLACES = {"output": "resid_post", "self_attn.o_proj.input": "z", "post_feedforward_layernorm.output": "mlp_out"}


def read_gemma_scope(files: Files, *, declare: Declared = None, name: str = "") -> Read:
    """Read params.npz; `name` is the whole path, such as .../gemma-scope-2b-pt-res/.../layer_20/width_16k/....

    Raises:
        InvalidInput: the path does not say what it reads and neither `site` nor `d_out` is declared, or it is an SAE
            on the embedding, whose scale is not that of any site.
        CorruptArtifact: not an npz file of numbers.
    """
    weights = parse_arrays(files["params.npz"], "params.npz")
    refuse_keys(weights, _NAMES, what="params.npz")
    release, layer = _RELEASE.search(name), re.search(r"\blayer_(\d+)\b", name)
    if re.search(r"(?:^|/)embedding(?:/|$)", name):
        raise InvalidInput(
            "this SAE of Gemma Scope reads the embedding before Gemma multiplies it by the root of its width; no site "
            "holds that."
        )
    stated = _jumprelu(weights)
    if release and layer:
        stated["model_name"] = f"gemma-2-{release[1]}" + ("-it" if release[2] == "it" else "")
        stated |= _place(release[3], int(layer[1]), weights)
    elif not {"site", "d_out"} & set(declare or {}):
        raise InvalidInput(
            "params.npz does not say whether it is an SAE or a transcoder, nor where it reads, and the path has no "
            "gemma-scope-...-res, -att, -mlp or -transcoders with a layer_N below it. Keep that path, or declare "
            "site (of an SAE), or d_out, site and site_out (of a transcoder)."
        )
    elif "d_out" in (declare or {}):
        stated["skip_connection"] = False  # there is no such array
    return build(stated, weights, declare, "params.npz"), weights


def read_gemma_scope_2(files: Files, *, declare: Declared = None, name: str = "") -> Read:
    """Read config.json + params.safetensors; a transcoder states where it writes, with or without a skip connection.

    Raises:
        InvalidInput: not jump_relu, an array is missing or unknown, or config.json does not state what it reads.
        CorruptArtifact: not JSON, not safetensors.
    """
    config = parse_json(files["config.json"], "config.json")
    if config.get("architecture") != "jump_relu":
        raise InvalidInput(f"config.json (Gemma Scope 2): architecture jump_relu, not {config.get('architecture')!r}.")
    if not isinstance(config.get("hf_hook_point_in"), str):
        raise InvalidInput("config.json (Gemma Scope 2) has no hf_hook_point_in: it does not say what it reads.")
    raw = parse_weights(files["params.safetensors"], "params.safetensors")
    out = config.get("hf_hook_point_out")
    transcoder = isinstance(out, str) and out != config["hf_hook_point_in"]
    skip = bool(config.get("affine_connection"))
    names = [key.lower() if key.startswith("W") else key for key in _NAMES]
    refuse_keys(raw, names + (["affine_skip_connection"] if skip else []), what="params.safetensors")
    weights = {key: raw[lower] for key, lower in zip(_NAMES, names, strict=True)}
    stated = _jumprelu(weights) | {"model_name": config.get("model_name")} | _hf_place(config["hf_hook_point_in"])
    if skip:
        weights["W_skip"] = raw["affine_skip_connection"].T
    if transcoder:
        written = {f"{key}_out": value for key, value in _hf_place(str(out)).items()}
        stated |= {"d_out": weights["W_dec"].shape[1], "skip_connection": skip, **written}
    return build(stated, weights, declare, "config.json (Gemma Scope 2)"), weights


def _jumprelu(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    d_in, d_sae = weights["W_enc"].shape
    # both releases: latents = jumprelu(x W_enc + b_enc), nothing taken from x
    return common("jumprelu", d_in, d_sae) | {"apply_b_dec_to_input": False, "normalize_activations": "none"}


def _place(kind: str, layer: int, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    if kind != "transcoders":
        return at_site(_READS[kind], layer)
    written = {f"{key}_out": value for key, value in at_site("mlp_out", layer).items()}
    read = {"hook_name": f"blocks.{layer}.ln2.hook_normalized", "site": None}
    return read | written | {"d_out": weights["W_dec"].shape[1], "skip_connection": False}


def _hf_place(module: str) -> dict[str, Any]:
    """Return site and hook of the input or output of a Hugging Face module, where there is one."""
    match = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", module)
    return at_site(_PLACES[match[2]], int(match[1])) if match and match[2] in _PLACES else {}
