"""Save and load SAEs as folders: the SAELens layout, golden vectors, a record of the training, and a manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from interp.errors import CorruptArtifact, InvalidInput
from interp.sae import golden, hub
from interp.sae.coder import SAE
from interp.sae.config import SaeConfig
from interp.sae.folder import read_folder
from interp.sae.formats import OWN_KEY, SAELENS, find_reader, parse_json, saelens_cfg
from interp.sae.gated import GatedSAE
from interp.sae.jumprelu import JumpReluSAE
from interp.sae.matching_pursuit import MatchingPursuitSAE
from interp.sae.relu import StandardSAE
from interp.sae.topk import TopKSAE
from interp.store import write_folder

ARCHITECTURES: dict[str, type[SAE]] = {
    c.architecture: c for c in (TopKSAE, StandardSAE, JumpReluSAE, GatedSAE, MatchingPursuitSAE)
}
BUNDLED = Path(__file__).parent.parent / "assets" / "saes"
TRAINING = "training.json"
MANIFEST = "manifest.json"


def build_sae(config: SaeConfig, weights: Mapping[str, Tensor]) -> SAE:
    """Return the SAE of a config's architecture with these weights (taken over as float32)."""
    return ARCHITECTURES[config.architecture](config, weights)


def rounded_sae(sae: SAE, *, dtype: str | None = None) -> SAE:
    """Return the SAE as it will be read back: each weight rounded to the stored type, on the CPU.

    Raises:
        InvalidInput: a weight is too large for the type.
    """
    config = sae.config if dtype is None else sae.config.with_(dtype=dtype)
    return build_sae(config, {name: _rounded(name, value, config.dtype) for name, value in sae.weights().items()})


def save_sae(
    sae: SAE,
    path: str | Path,
    *,
    training: Mapping[str, Any] | None = None,
    golden_inputs: np.ndarray | Tensor | None = None,
    dtype: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write an SAE as a folder that this package and SAELens read, whole or not at all.

    The folder has cfg.json, sae_weights.safetensors, golden.safetensors (a few inputs and what the rounded weights
    must give for them), training.json and manifest.json (sha256 and length of each).

    Args:
        training: what is worth keeping of how it was trained (JSON values).
        golden_inputs: [n, d_in] activations to draw the golden inputs from; best are real ones of the site.
        dtype: float16, bfloat16 or float32 of the stored weights; default what the config says.
        overwrite: replace a folder that was written here before; nothing else is ever replaced.

    Raises:
        InvalidInput: a weight is too large for the type, no input is fit to be golden, or the folder exists.
        ResourceExhausted: no space or no permission; an earlier folder of that name is untouched.
    """
    rounded = rounded_sae(sae, dtype=dtype)
    kind = getattr(torch, rounded.config.dtype)
    files = {
        "cfg.json": _json(saelens_cfg(rounded.config)),
        "sae_weights.safetensors": save({name: value.to(kind) for name, value in rounded.weights().items()}),
        golden.FILE: golden.make_golden(rounded, golden_inputs),
        TRAINING: _json(dict(training or {})),
    }
    write_folder(Path(path), files, overwrite=overwrite)
    return Path(path)


def load_sae(name_or_path: str | Path, *, declare: Mapping[str, Any] | None = None) -> SAE:
    """Load a bundled SAE by name ("atlas/resid_post.2"), any SAE from a folder, or one of the Hugging Face hub.

    An SAE that this package saved is verified: sha256 and length of every file, then the golden vectors. Folders
    of SAELens, sparsify, Gemma Scope and dictionary_learning are read as they are (`sae.golden_checked` is then
    False). On the hub an SAE is "hub:org/repo/path", or "gpt2-small-res-jb/blocks.8.hook_resid_pre" for a release in
    `interp.sae.hub.RELEASES`, which also says what the files of that release leave out.

    Args:
        declare: conventions that the folder of someone else leaves out, by the names of `SaeConfig`, for instance
            {"apply_b_dec_to_input": True}. What a file states cannot be overruled.

    Raises:
        UnknownName: no bundled SAE and no folder of that name (the nearest are named), or the hub has none.
        InvalidInput: a convention is missing, unknown, or not computed here.
        CorruptArtifact: a file is missing or has other bytes than were written; it is named.
        SaeMismatch: the SAE does not give what it gave when it was saved.
    """
    found = _find(name_or_path)
    folder, known = found.folder, {**found.declare, **(declare or {})}
    names = {path.name for path in folder.iterdir() if path.is_file()}
    ours = MANIFEST in names or golden.FILE in names
    files = read_folder(folder) if ours else {}
    wanted, reader = find_reader(set(files) if ours else names)
    if not ours:
        files = {name: (folder / name).read_bytes() for name in wanted}
    config, weights = reader(files, declare=known, name=found.name)
    if ours or _says_ours(files):
        _require(files, folder)
        sae = build_sae(config, weights)
        golden.check_golden(sae, files[golden.FILE])
        sae.golden_checked = True
        return sae
    return build_sae(config, hub.centred_input(config, weights) if found.centred else weights)


def list_saes() -> list[str]:
    """Return the names of the bundled SAEs, such as "atlas/resid_post.2"."""
    return sorted(f"{path.parent.parent.name}/{path.parent.name}" for path in BUNDLED.glob("*/*/cfg.json"))


def training_record(name_or_path: str | Path) -> dict[str, Any]:
    """Return what training.json of a saved SAE says about how it was trained and evaluated."""
    return parse_json(read_folder(_find(name_or_path).folder)[TRAINING], TRAINING)


def _find(name_or_path: str | Path) -> hub.HubSae:
    name = str(name_or_path)
    folder = BUNDLED / name if name in list_saes() else Path(name_or_path)
    if folder.is_dir():
        return hub.HubSae(folder, folder.as_posix(), {}, False)
    if isinstance(name_or_path, str) and hub.is_hub_name(name):
        return hub.fetch(name)
    raise hub.unknown(name, list_saes())


def _says_ours(files: Mapping[str, bytes]) -> bool:
    if "cfg.json" not in files:
        return False
    metadata = parse_json(files["cfg.json"], "cfg.json").get("metadata")
    return isinstance(metadata, dict) and OWN_KEY in metadata


def _require(files: Mapping[str, bytes], folder: Path) -> None:
    missing = sorted({*SAELENS, golden.FILE, TRAINING} - set(files))
    if missing:
        raise CorruptArtifact(f"{folder}: {', '.join(missing)} is missing; this SAE was saved with it.")


def _rounded(name: str, value: Tensor, dtype: str) -> Tensor:
    out = value.detach().cpu().to(getattr(torch, dtype)).contiguous()
    if not bool(torch.isfinite(out).all()):
        raise InvalidInput(
            f"{name} reaches {float(value.abs().max()):.3g}, too large for {dtype}; give dtype='float32'."
        )
    return out


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
