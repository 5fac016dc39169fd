"""Read the folders in which others publish SAEs: SAELens (both layouts of its config) and sparsify.

A reader turns a folder into a `SaeConfig` and weights under our names, or refuses it by name: a convention that is
missing, a key that is unknown, an option that we do not compute. `declare` fills in what a file leaves out (it can
not contradict it). Nothing is unpickled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from interp.errors import CorruptArtifact, InvalidInput, SaeMismatch
from interp.sae.config import ACTIVATIONS, OPTIONAL, SaeConfig, refuse_keys
from interp.sites import Site

Files = Mapping[str, bytes]
Read = tuple[SaeConfig, dict[str, Tensor]]

SAELENS = ("cfg.json", "sae_weights.safetensors")
SPARSIFY = ("cfg.json", "sae.safetensors")
OWN_KEY = "interp"
"""Key of `metadata` in cfg.json under which this package states the whole config."""

_SAELENS_KEYS = [
    *("architecture", "d_in", "d_sae", "dtype", "device", "apply_b_dec_to_input", "normalize_activations"),
    *("reshape_activations", "metadata"),
]
# Of the flat layout (before 6.0): keys that say how the SAE was trained or where it came from, not how it computes.
_FLAT_IGNORED = {
    *("device", "hook_layer", "dataset_path", "dataset_trust_remote_code", "sae_lens_training_version"),
    *("sae_lens_version", "neuronpedia_id", "model_from_pretrained_kwargs", "seqpos_slice", "model_class_name"),
    *("exclude_special_tokens", "expansion_factor", "from_pretrained_path", "hook_point_layer", "finetuning_method"),
}
_SPARSIFY_KEYS = ["d_in", "activation", "expansion_factor", "normalize_decoder", "num_latents", "k", "multi_topk"]
_SPARSIFY_KEYS += ["skip_connection", "transcode"]
_SPARSIFY_OFF = ("transcode", "skip_connection", "signed", "embed_skip", "gram_lookup")
_SPARSIFY_IGNORED = {"lookup_max_order", "gram_table_hash"}  # mean something only with gram_lookup


def find_reader(names: set[str]) -> tuple[tuple[str, ...], Callable[..., Read]]:
    """Return the files a folder's format has and its reader.

    Raises:
        InvalidInput: none of the formats, or a format that is a pickle.
    """
    if set(SAELENS) <= names:
        return SAELENS, read_saelens
    if set(SPARSIFY) <= names:
        return SPARSIFY, read_sparsify
    if "ae.pt" in names:
        raise InvalidInput(
            "this is a dictionary_learning folder; ae.pt is a pickle, which can run code when opened, so it is not "
            "read. Where you trust it, open it with torch.load('ae.pt', weights_only=True), take "
            "W_enc = encoder.weight.T, b_enc = encoder.bias, W_dec = decoder.weight.T, b_dec = bias (or b_dec) and "
            "write them with interp.sae.save_sae."
        )
    raise InvalidInput(
        f"no SAE in this folder: expected {' + '.join(SAELENS)} (SAELens) or {' + '.join(SPARSIFY)} (sparsify); "
        f"it holds {', '.join(sorted(names)) or 'nothing'}."
    )


def read_saelens(files: Files, *, declare: Mapping[str, Any] | None = None, name: str = "") -> Read:
    """Read cfg.json + sae_weights.safetensors, as SAELens and this package write them.

    Raises:
        InvalidInput: a convention is missing, unknown or not computed here; each is named.
        SaeMismatch: the file contradicts itself or `declare`.
        CorruptArtifact: not JSON, not safetensors.
    """
    cfg = parse_json(files["cfg.json"], "cfg.json")
    weights = parse_weights(files["sae_weights.safetensors"], "sae_weights.safetensors")
    metadata = cfg.get("metadata")
    if isinstance(metadata, dict) and OWN_KEY in metadata:
        return _own_config(cfg, metadata[OWN_KEY], declare), weights
    stated = _flat_saelens(cfg) if metadata is None else _nested_saelens(cfg, declare or {})
    weights = _without_scaling(weights)
    return _build(stated, weights, declare, "cfg.json"), weights


def read_sparsify(files: Files, *, declare: Mapping[str, Any] | None = None, name: str = "") -> Read:
    """Read cfg.json + sae.safetensors of sparsify: TopK with the decoder bias taken from the input.

    `name` is the folder's, from which sparsify's readers know the layer ("layers.5": output of block 5).

    Raises:
        InvalidInput: a key is missing or unknown, or it is a transcoder, has a skip connection or groupmax.
        CorruptArtifact: not JSON, not safetensors.
    """
    cfg = parse_json(files["cfg.json"], "cfg.json")
    known = {k: v for k, v in cfg.items() if k not in _SPARSIFY_IGNORED and k not in _SPARSIFY_OFF[2:]}
    declared = dict(declare or {})
    known |= {key: declared.pop(key) for key in list(declared) if key in _SPARSIFY_KEYS and key not in known}
    refuse_keys(known, _SPARSIFY_KEYS, what="sparsify cfg.json")
    on = [key for key in _SPARSIFY_OFF if cfg.get(key, known.get(key))]
    if on or known["activation"] != "topk":
        what = f"{on[0]} true" if on else f"activation {known['activation']!r}"
        raise InvalidInput(f"sparsify cfg.json: {what} is not an SAE that this package computes (topk alone).")
    raw = parse_weights(files["sae.safetensors"], "sae.safetensors")
    refuse_keys(raw, ["encoder.weight", "encoder.bias", "W_dec", "b_dec"], what="sae.safetensors")
    weights = {"W_enc": raw["encoder.weight"].T, "b_enc": raw["encoder.bias"]}
    weights |= {"W_dec": raw["W_dec"], "b_dec": raw["b_dec"]}
    layer = re.search(r"(?:^|\.)(?:layers|h)\.(\d+)$", name)
    stated = {
        **_common("topk", known["d_in"], known["num_latents"] or known["d_in"] * known["expansion_factor"]),
        "k": known["k"],
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "rescale_acts_by_decoder_norm": False,
        "site": f"resid_post.{layer[1]}" if layer else None,
        "hook_name": f"blocks.{layer[1]}.hook_resid_post" if layer else None,
    }
    return _build(stated, weights, declared, "sparsify cfg.json"), weights


def saelens_cfg(config: SaeConfig) -> dict[str, Any]:
    """Return the cfg.json of an SAE in the SAELens layout, with the whole config under metadata.interp.

    `dtype` is the type to compute in (float32): a reader of SAELens casts the 16-bit weights up to it.
    """
    cfg: dict[str, Any] = {name: getattr(config, name) for name in ("architecture", "d_in", "d_sae")}
    cfg |= {"dtype": "float32", "device": "cpu", "apply_b_dec_to_input": config.apply_b_dec_to_input}
    heads = config.hook_name is not None and config.hook_name.endswith("hook_z")
    cfg |= {
        "normalize_activations": config.normalize_activations,
        "reshape_activations": "hook_z" if heads else "none",
    }
    if config.architecture == "topk":
        cfg |= {"k": config.k, "rescale_acts_by_decoder_norm": config.rescale_acts_by_decoder_norm}
    bos = {"always": True, "never": False}.get(config.bos or "")
    metadata = {
        "model_name": config.model_name,
        "hook_name": config.hook_name,
        "context_size": config.context_size,
        "prepend_bos": bos,
    }
    return cfg | {"metadata": metadata | {OWN_KEY: config.to_dict()}}


def site_of_hook(hook_name: str | None, head: int | None = None) -> str | None:
    """Return the site of a TransformerLens hook name, or None where it is none that has a site.

    >>> site_of_hook("blocks.3.attn.hook_z", 5)
    'z.3.h5'
    """
    from interp.models import HOOKS

    for component, pattern in HOOKS.items():
        expression = re.escape(pattern).replace(re.escape("{layer}"), r"(\d+)")
        match = re.fullmatch(expression, hook_name or "")
        if match:
            return str(Site(component, int(match[1]) if match.groups() else None, head))
    return None


def parse_json(data: bytes, name: str) -> dict[str, Any]:
    """Return the object in a JSON file. Raises CorruptArtifact naming the file."""
    try:
        value = json.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise CorruptArtifact(f"{name} is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise CorruptArtifact(f"{name} holds {type(value).__name__}, not an object.")
    return value


def parse_weights(data: bytes, name: str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file. Raises CorruptArtifact naming the file."""
    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise CorruptArtifact(f"{name} is not a whole safetensors file: {error}.") from None


def _own_config(cfg: dict[str, Any], own: Any, declare: Mapping[str, Any] | None) -> SaeConfig:
    if not isinstance(own, dict):
        raise CorruptArtifact("metadata.interp in cfg.json is not an object.")
    config = SaeConfig.from_dict(own)
    for key, value in (declare or {}).items():
        if own.get(key) != value:
            raise SaeMismatch(f"declared {key} {value!r}; cfg.json says {own.get(key)!r}.")
    expected = saelens_cfg(config)
    for key in sorted(set(cfg) | set(expected)):
        if cfg.get(key) != expected.get(key):
            raise SaeMismatch(
                f"cfg.json contradicts itself: {key} is {cfg.get(key)!r}, but metadata.interp implies "
                f"{expected.get(key)!r}."
            )
    return config


def _common(architecture: Any, d_in: Any, d_sae: Any) -> dict[str, Any]:
    unsaid = dict.fromkeys(("model_name", "model_fingerprint", "bos", "context_size", "k"))
    return unsaid | {
        "architecture": architecture,
        "activation": ACTIVATIONS.get(architecture) if isinstance(architecture, str) else None,
        "d_in": d_in,
        "d_sae": d_sae,
        "input_scale": 1.0,
        "decoder_norm": "free",  # nothing is assumed about the lengths of the rows
        "rescale_acts_by_decoder_norm": False,
    }


def _nested_saelens(cfg: dict[str, Any], declare: Mapping[str, Any]) -> dict[str, Any]:
    topk = ["k", "rescale_acts_by_decoder_norm"] if cfg.get("architecture") == "topk" else []
    filled = {**{key: declare[key] for key in (*_SAELENS_KEYS, *topk) if key in declare and key not in cfg}, **cfg}
    filled.setdefault("device", "cpu")
    refuse_keys(filled, _SAELENS_KEYS + topk, what="cfg.json (SAELens)")
    metadata = filled["metadata"]
    stated = _common(filled["architecture"], filled["d_in"], filled["d_sae"]) | _origin(metadata)
    return stated | {key: filled[key] for key in ("apply_b_dec_to_input", "normalize_activations", *topk)}


def _flat_saelens(cfg: dict[str, Any]) -> dict[str, Any]:
    renamed = {"hook_point": "hook_name", "hook_point_head_index": "hook_head_index", "activation_fn_str": "activation"}
    flat = {renamed.get(key, key): value for key, value in cfg.items() if key not in _FLAT_IGNORED}
    if flat.pop("finetuning_scaling_factor", False):
        raise InvalidInput("cfg.json (SAELens before 6.0): finetuning_scaling_factor true is not computed here.")
    activation = flat.pop("activation", flat.pop("activation_fn", None))
    k = (flat.pop("activation_fn_kwargs", None) or {}).get("k")
    flat.pop("reshape_activations", None)
    flat.pop("dtype", None)
    if activation not in ("relu", "topk"):
        raise InvalidInput(f"cfg.json (SAELens before 6.0): activation_fn_str is relu or topk, not {activation!r}.")
    architecture = "topk" if activation == "topk" else flat.pop("architecture", None)
    flat.pop("architecture", None)
    stated = _common(architecture, flat.pop("d_in", None), flat.pop("d_sae", None)) | _origin(flat)
    stated["k"] = k
    for key in ("hook_name", "hook_head_index", "model_name", "prepend_bos", "context_size"):
        flat.pop(key, None)
    return stated | flat  # apply_b_dec_to_input, normalize_activations; anything else is refused later by name


def _origin(metadata: Mapping[str, Any]) -> dict[str, Any]:
    hook = metadata.get("hook_name")
    bos = {True: "always", False: "never"}.get(metadata.get("prepend_bos"))  # type: ignore[arg-type]
    return {
        "model_name": metadata.get("model_name"),
        "hook_name": hook,
        "site": site_of_hook(hook, metadata.get("hook_head_index")),
        "context_size": metadata.get("context_size"),
        "bos": bos,
    }


def _without_scaling(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop the scaling_factor of older files where it is all ones; another one is not computed here."""
    scaling = weights.pop("scaling_factor", None)
    if scaling is not None and not bool((scaling == 1).all()):
        raise InvalidInput("sae_weights.safetensors: scaling_factor is not 1 everywhere; it is not computed here.")
    return weights


def _build(
    stated: dict[str, Any], weights: dict[str, Tensor], declare: Mapping[str, Any] | None, what: str
) -> SaeConfig:
    dtypes = {value.dtype for value in weights.values()}
    if len(dtypes) != 1:
        raise SaeMismatch(f"the weights are of {len(dtypes)} types: {', '.join(sorted(map(str, dtypes)))}.")
    stated = {**stated, "dtype": str(dtypes.pop()).removeprefix("torch.")}
    scale = stated.get("normalize_activations")
    if scale not in (None, "none", "layer_norm"):
        raise InvalidInput(
            f"{what}: normalize_activations {scale!r} needs a factor that the file does not hold. Fold it into the "
            "weights where the SAE was trained and save again."
        )
    for key, value in (declare or {}).items():
        if key in stated and stated[key] not in (None, value) and key in _STATED_BY_FILE:
            raise SaeMismatch(f"declared {key} {value!r}; {what} says {stated[key]!r}.")
    merged = {**stated, **(declare or {})}
    refuse_keys({**dict.fromkeys(OPTIONAL), **merged}, [f.name for f in fields(SaeConfig)], what=what)
    return SaeConfig.from_dict(merged)


_STATED_BY_FILE = {f.name for f in fields(SaeConfig)} - {"input_scale", "decoder_norm"}
