"""sparsify: cfg.json + sae.safetensors; TopK SAEs and transcoders, with or without a skip connection."""

from __future__ import annotations

import re
from typing import Any

from interp.errors import InvalidInput
from interp.sae.config import refuse_keys
from interp.sae.formats.parse import Declared, Files, Read, at_site, build, common, parse_json, parse_weights

FILES = ("cfg.json", "sae.safetensors")
_KEYS = ["d_in", "activation", "expansion_factor", "normalize_decoder", "num_latents", "k", "multi_topk"]
_KEYS += ["skip_connection", "transcode"]
_OFF = ("signed", "embed_skip", "gram_lookup")
_IGNORED = {"lookup_max_order", "gram_table_hash"}  # mean something only with gram_lookup


def read_sparsify(files: Files, *, declare: Declared = None, name: str = "") -> Read:
    """Read cfg.json + sae.safetensors of sparsify.

    An SAE takes the decoder bias from its input, a transcoder does not. `name` is the folder's, from which
    sparsify's readers know the layer of an SAE ("layers.5": output of block 5). Where a transcoder reads and writes
    is the input and output of a module, for which there is no site; state `site` and `site_out` where it is used.

    Raises:
        InvalidInput: a key is missing or unknown, the activation is groupmax, or an SAE has a skip connection.
        CorruptArtifact: not JSON, not safetensors.
    """
    cfg = parse_json(files["cfg.json"], "cfg.json")
    known = {k: v for k, v in cfg.items() if k not in _IGNORED and k not in _OFF}
    declared = dict(declare or {})
    known |= {key: declared.pop(key) for key in list(declared) if key in _KEYS and key not in known}
    refuse_keys(known, _KEYS, what="sparsify cfg.json")
    transcode, skip = bool(known["transcode"]), bool(known["skip_connection"])
    on = [key for key in _OFF if cfg.get(key)] + (["skip_connection"] if skip and not transcode else [])
    if on or known["activation"] != "topk":
        what = f"{on[0]} true" if on else f"activation {known['activation']!r}"
        raise InvalidInput(f"sparsify cfg.json: {what} is not an SAE that this package computes (topk alone).")
    raw = parse_weights(files["sae.safetensors"], "sae.safetensors")
    names = ["encoder.weight", "encoder.bias", "W_dec", "b_dec", *(["W_skip"] if skip else [])]
    refuse_keys(raw, names, what="sae.safetensors")
    weights = {"W_enc": raw.pop("encoder.weight").T, "b_enc": raw.pop("encoder.bias"), **raw}
    stated: dict[str, Any] = {
        **common("topk", known["d_in"], known["num_latents"] or known["d_in"] * known["expansion_factor"]),
        "k": known["k"],
        "apply_b_dec_to_input": not transcode,
        "normalize_activations": "none",
    }
    layer = re.search(r"(?:^|[./])(?:layers|h)\.(\d+)$", name)
    if transcode:
        stated |= {"d_out": known["d_in"], "skip_connection": skip}
    elif layer:
        stated |= at_site("resid_post", int(layer[1]))
    return build(stated, weights, declared, "sparsify cfg.json"), weights
