"""SAEs by name from the Hugging Face hub: "hub:org/repo/path", or "release/id" of a few releases that many use.

Only the files of the formats that this package reads are fetched, and only from the one folder that is named. A
release may need what its files do not say; it stands in the table here, with the repository, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from torch import Tensor

from interp.errors import InvalidInput, UnknownName, nearest
from interp.sae import golden
from interp.sae.config import SaeConfig
from interp.sae.formats import FORMATS
from interp.sae.formats.dictionary_learning import PICKLE
from interp.sources import _hub_is_out_of_reach

PREFIX = "hub:"


class Release(NamedTuple):
    """Where a release is on the hub, and what its files leave out."""

    repo: str
    path: str = "{id}"
    """Folder of an SAE in the repository; {layer} is the number in an id such as blocks.8.hook_resid_post."""
    declare: Mapping[str, Any] = {}
    centred: bool = False
    """Whether it was trained on a model whose writes to the residual stream had been made to have mean 0."""


class HubSae(NamedTuple):
    """The folder of a fetched SAE, its name on the hub, and what its release adds to its files."""

    folder: Path
    name: str
    declare: Mapping[str, Any]
    centred: bool


_FIRST_SAELENS = {
    "architecture": "standard",
    "activation": "relu",
    "apply_b_dec_to_input": True,
    "normalize_activations": "none",
}
_SCOPE = ("27b-pt-res", "2b-pt-att", "2b-pt-mlp", "2b-pt-res", "2b-pt-transcoders", "9b-it-res", "9b-pt-att")
_SCOPE += ("9b-pt-mlp", "9b-pt-res")
RELEASES: dict[str, Release] = {
    "gpt2-small-res-jb": Release("jbloom/GPT2-Small-SAEs-Reformatted", declare=_FIRST_SAELENS, centred=True),
    "gpt2-small-res-jb-feature-splitting": Release(
        "jbloom/GPT2-Small-Feature-Splitting-Experiment-Layer-8", declare=_FIRST_SAELENS, centred=True
    ),
    **{
        f"gpt2-small-{place}-v5-{width}": Release(
            f"jbloom/GPT2-Small-OAI-v5-{width}-{place}-SAEs", f"v5_{width}_layer_{{layer}}"
        )
        for place in ("attn-out", "mlp-out", "resid-mid")
        for width in ("32k", "128k")
    },
    **{f"gemma-scope-{which}": Release(f"google/gemma-scope-{which}") for which in _SCOPE},
    "gemma-2-2b-res-matryoshka-dc": Release(
        "chanind/gemma-2-2b-batch-topk-matryoshka-saes-w-32k-l0-40", "standard/{id}"
    ),
    "gemma-2-9b-res-matryoshka-dc": Release("chanind/gemma-2-9b-batch-topk-matryoshka-saes-w-32k-l0-60"),
    "gemma-3-1b-res-matryoshka-dc": Release("chanind/gemma-3-1b-batch-topk-matryoshka-saes-w-32k-l0-40"),
    "llama-3-8b-it-res-jh": Release("Juliushanhanhan/llama-3-8b-it-res"),
}
"""By the names under which SAELens lists them."""

_PART = r"[\w.\-]+"
_HUB = re.compile(rf"({_PART}/{_PART})(?:@({_PART}))?(?:/({_PART}(?:[/:]{_PART})*))?/?")
_FILES = sorted({file for files, _ in FORMATS.values() for file in files})
_OURS = ("manifest.json", golden.FILE, "training.json")


def is_hub_name(name: str) -> bool:
    """Return whether a name is one of the hub's: "hub:..." or "release/id" of a release in the table."""
    return name.startswith(PREFIX) or name.partition("/")[0] in RELEASES


def fetch(name: str) -> HubSae:
    """Return an SAE of the hub as a folder, from the hub or from what it delivered earlier.

    Args:
        name: "hub:org/repo/path", "hub:org/repo@revision/path", or "release/id" of `RELEASES`.

    Raises:
        InvalidInput: the name has another form.
        UnknownName: the hub has no such SAE or cannot be reached; how to download it by hand is said.
    """
    repo, _, path, release = _located(name)
    offline = _hub_is_out_of_reach()
    folder = _snapshot(name, offline) / path
    there = {file for file in _FILES if (folder / file).is_file()}
    if there == {"config.json"}:  # the weights, if there are any, are of a kind that is not fetched
        raise InvalidInput(
            f"{name!r}: {repo}/{path} holds no weights in safetensors or npz. If it has ae.pt, {PICKLE}."
        )
    if not there:
        raise _not_had(name, offline, f"it has none of {', '.join(_FILES)}")
    return HubSae(folder, f"{repo}/{path}", release.declare, release.centred)


def centred_input(config: SaeConfig, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights that take from each raw vector its mean first, for an SAE of a centred residual stream.

    Centring the weights that write to a residual stream takes the mean of its values from every vector and changes
    no later LayerNorm. With P = I - 11^T/d, (P x - b_dec) W_enc + b_enc = (x - b_dec) P W_enc + b_enc', so the
    latents are exactly those that the SAE had there. What it reconstructs has mean 0, as it had there.
    """
    W_enc = weights["W_enc"].float()
    mean = W_enc.mean(dim=0, keepdim=True)
    out = {key: value.float() for key, value in weights.items()} | {"W_enc": W_enc - mean}
    if config.apply_b_dec_to_input:
        out["b_enc"] = out["b_enc"] - out["b_dec"].sum() * mean[0]
    return out


def _located(name: str) -> tuple[str, str | None, str, Release]:
    """Return repository, revision, path in it, and what is known of the release."""
    if not name.startswith(PREFIX):
        release, _, sae_id = name.partition("/")
        known = RELEASES[release]
        layer = re.search(r"blocks\.(\d+)\.", sae_id)
        if not sae_id or ("{layer}" in known.path and layer is None):
            raise InvalidInput(f"an SAE of a release is named as {release}/blocks.8.hook_resid_pre, not {name!r}.")
        path = known.path.format(id=sae_id, layer=layer[1] if layer else "")
        return known.repo, None, _inside(path, name), known
    match = _HUB.fullmatch(name.removeprefix(PREFIX))
    if match is None:
        raise InvalidInput(f"an SAE on the hub is hub:org/repo/path or hub:org/repo@revision/path, not {name!r}.")
    repo, revision, path = match.groups()
    known = next((r for r in RELEASES.values() if r.repo == repo), Release(repo))
    return repo, revision, _inside(path or "", name), known


def _inside(path: str, name: str) -> str:
    if ".." in PurePosixPath(path).parts or path.startswith("/"):
        raise InvalidInput(f"{name!r} leads out of its repository.")
    return path


def _snapshot(name: str, offline: bool) -> Path:
    from huggingface_hub import snapshot_download

    repo, revision, path, _ = _located(name)
    patterns = [str(PurePosixPath(path) / file) for file in (*_FILES, *_OURS)]
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=patterns, local_files_only=offline))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()
        raise _not_had(name, offline, reason[0] if reason else type(error).__name__) from error


def _not_had(name: str, offline: bool, reason: str) -> UnknownName:
    repo, revision, path, release = _located(name)
    local = repo.rpartition("/")[2]
    command = f"hf download {repo} --include '{path + '/' if path else ''}*'"
    command += f" --revision {revision}" if revision else ""
    why = "the hub is out of reach, and no earlier download holds it" if offline else reason
    by_hand = f"copy the cache of the hub (HF_HOME) here and call load_sae({name!r}) again"
    if not release.centred:  # a folder alone does not say that
        given = f", declare={dict(release.declare)!r}" if release.declare else ""
        target = f"{local}/{path}" if path else local
        by_hand += f", or add --local-dir {local}, copy that folder and call load_sae({target!r}{given})"
    return UnknownName(
        f"{name!r} could not be had: folder {path or '.'!r} of {repo} on the Hugging Face hub ({why}). "
        f"Download it where there is a network: {command}; {by_hand}."
    )


def unknown(name: str, bundled: list[str]) -> UnknownName:
    """Return the error for a name that is no bundled SAE, no folder and not on the hub, with the nearest that are."""
    near = ", ".join(nearest(name, bundled)) or "none are bundled"
    release = ", ".join(nearest(name.partition("/")[0], RELEASES))
    return UnknownName(
        f"no bundled SAE and no folder {name!r}. Nearest bundled: {near}. Give a name, a folder, hub:org/repo/path, or "
        f"an SAE of a release as release/id (nearest releases: {release})."
    )
