"""SAELens: cfg.json + sae_weights.safetensors, in its layout of 6.0; read and written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from interp.errors import CorruptArtifact, InvalidInput, SaeMismatch
from interp.sae.config import PURSUIT, SaeConfig, refuse_keys
from interp.sae.formats.parse import Declared, Files, Read, build, common, parse_json, parse_weights, site_of_hook
from interp.sae.formats.saelens_flat import flat_saelens, origin
from interp.sites import Site

SAELENS = ("cfg.json", "sae_weights.safetensors")
OWN_KEY = "interp"
"""Key of `metadata` in cfg.json under which this package states the whole config."""

_KEYS = [
    *("architecture", "d_in", "d_sae", "dtype", "device", "apply_b_dec_to_input", "normalize_activations"),
    *("reshape_activations", "metadata"),
]
_KEYS_OF = {"topk": ["k", "rescale_acts_by_decoder_norm"], "matching_pursuit": [*PURSUIT]}
"""Keys that one architecture has beside the common ones."""


def read_saelens(files: Files, *, declare: Declared = None, name: str = "") -> Read:
    """Read cfg.json + sae_weights.safetensors, as SAELens (before 6.0 too) and this package write them.

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
    stated = flat_saelens(cfg, declare or {}) if metadata is None else _nested(cfg, declare or {})
    weights = _without_scaling(weights)
    return build(stated, weights, declare, "cfg.json"), weights


def saelens_cfg(config: SaeConfig) -> dict[str, Any]:
    """Return the cfg.json of an SAE in the SAELens layout, with the whole config under metadata.interp.

    `dtype` is the type to compute in (float32): a reader of SAELens casts the 16-bit weights up to it. SAELens has
    transcoders of standard and jumprelu architecture alone; it refuses the name of another one.
    """
    cfg: dict[str, Any] = {"architecture": _their_name(config), "d_in": config.d_in, "d_sae": config.d_sae}
    cfg |= {"dtype": "float32", "device": "cpu", "apply_b_dec_to_input": config.apply_b_dec_to_input}
    head = None if config.site is None else Site.parse(config.site).head
    heads = head is None and config.hook_name is not None and config.hook_name.endswith("hook_z")
    cfg |= {
        "normalize_activations": config.normalize_activations,
        "reshape_activations": "hook_z" if heads else "none",
    }
    if config.architecture == "topk":
        cfg |= {"k": config.k, "rescale_acts_by_decoder_norm": config.rescale_acts_by_decoder_norm}
    if config.architecture == "matching_pursuit":
        cfg |= {name: getattr(config, name) for name in PURSUIT}
    bos = {"always": True, "never": False}.get(config.bos or "")
    metadata: dict[str, Any] = {
        "model_name": config.model_name,
        "hook_name": config.hook_name,
        "context_size": config.context_size,
        "prepend_bos": bos,
    }
    if head is not None:
        metadata["hook_head_index"] = head
    if config.is_transcoder:
        cfg["d_out"] = config.d_out
        metadata["hook_name_out"] = config.hook_name_out
    return cfg | {"metadata": metadata | {OWN_KEY: config.to_dict()}}


def _their_name(config: SaeConfig) -> str:
    if not config.is_transcoder:
        return config.architecture
    kind = "skip_transcoder" if config.skip_connection else "transcoder"
    return kind if config.architecture == "standard" else f"{config.architecture}_{kind}"


def _own_config(cfg: dict[str, Any], own: Any, declare: Declared) -> SaeConfig:
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


def _nested(cfg: dict[str, Any], declare: Mapping[str, Any]) -> dict[str, Any]:
    architecture, skip = _ours(cfg.get("architecture"))
    keys = [*_KEYS, *_KEYS_OF.get(str(architecture), []), *(["d_out"] if skip is not None else [])]
    filled = {**{key: declare[key] for key in keys if key in declare and key not in cfg}, **cfg}
    filled.setdefault("device", "cpu")
    refuse_keys(filled, keys, what="cfg.json (SAELens)")
    stated = common(architecture, filled["d_in"], filled["d_sae"]) | origin(filled["metadata"])
    stated |= {key: filled[key] for key in keys if key not in {*_KEYS, "d_out"}}
    stated |= {key: filled[key] for key in ("apply_b_dec_to_input", "normalize_activations")}
    if architecture == "matching_pursuit" and filled["max_iterations"] is None:
        stated["max_iterations"] = filled["d_in"]  # what null means there
    return stated if skip is None else stated | _transcoder(filled, skip)


def _ours(name: Any) -> tuple[Any, bool | None]:
    """Return our name of an architecture of SAELens and, of a transcoder, whether it has a skip connection."""
    for ending, skip in (("skip_transcoder", True), ("transcoder", False)):
        if isinstance(name, str) and name.endswith(ending):
            return name.removesuffix(ending).removesuffix("_") or "standard", skip
    return name, None


def _transcoder(filled: dict[str, Any], skip: bool) -> dict[str, Any]:
    hook = filled["metadata"].get("hook_name_out")
    site = site_of_hook(hook, filled["metadata"].get("hook_head_index_out"))
    return {"d_out": filled["d_out"], "skip_connection": skip, "hook_name_out": hook, "site_out": site}


def _without_scaling(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop the scaling_factor of older files where it is all ones; another one is not computed here."""
    scaling = weights.pop("scaling_factor", None)
    if scaling is not None and not bool((scaling == 1).all()):
        raise InvalidInput("sae_weights.safetensors: scaling_factor is not 1 everywhere; it is not computed here.")
    return weights
