"""Where a model comes from: the bundled folder, a local folder, a Hugging Face name or a module in memory.

Every source ends in a Hugging Face module, a tokenizer (or none) and a card. Weights are read from
safetensors alone: a pickle runs code when it is opened, so a folder that has nothing else is refused.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import json
import logging
import os
import re
import socket
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

import numpy as np
import torch

from interp.errors import CorruptArtifact, InvalidInput, UnknownName, nearest

ASSETS = Path(__file__).parent / "assets"
BUNDLED = ("atlas",)
log = logging.getLogger(__name__)
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


@dataclass(frozen=True)
class Source:
    """What to load and what is known about it before its weights are read."""

    name: str
    kind: str
    """bundled, folder, hub or module."""
    config: Any
    location: str | None = None
    """Folder or hub name that transformers reads."""
    module: torch.nn.Module | None = None
    card: dict[str, Any] = field(default_factory=dict)
    local_only: bool = False
    """The hub cannot be reached: read what it delivered earlier, or nothing."""
    revision: str = "main"
    """Branch, tag or commit on the hub."""
    checkpoint: Mapping[str, np.ndarray] | None = None
    """Weights of an earlier step of the training, in place of those of the folder."""


def find_source(source: Any) -> Source:
    """Return what a name, a path or a module stands for, with its configuration read.

    "atlas@step100" is the bundled model as it was after 100 steps (`interp.atlas.checkpoints()` lists them),
    "folder@step100" the same of a folder that has checkpoints, "org/name@revision" a revision on the hub.

    Raises:
        UnknownName: no bundled model, no checkpoint, no folder and no model that can be fetched has that name.
        InvalidInput: it exists and is not something that can be loaded.
        CorruptArtifact: a file of the bundled model is not what was shipped.
    """
    if isinstance(source, torch.nn.Module):
        return _from_module(source)
    if not isinstance(source, str | os.PathLike) or not str(source):
        raise InvalidInput(
            f"a model is a bundled name ({', '.join(BUNDLED)}), a folder, a Hugging Face name or a module, "
            f"not {type(source).__name__}."
        )
    path = Path(source).expanduser()
    if (found := _local(str(source), path)) is not None:
        return found
    name, at, step = str(path).rpartition("@")
    if at and (found := _local(name, Path(name))) is not None:
        return _at_step(found, step)
    if path.exists():
        raise InvalidInput(f"{str(source)!r} is a file; give the folder that holds config.json and *.safetensors.")
    looks_like_path = isinstance(source, os.PathLike) or str(source).startswith((".", "/", "~"))
    if looks_like_path or str(source).count("/") > 1:
        raise UnknownName(f"no folder {str(source)!r}. Give a folder that holds config.json and *.safetensors.")
    return _from_hub(str(source))


def build_module(
    source: Source, *, weights: str, seed: int, dtype: torch.dtype | None, device: torch.device
) -> torch.nn.Module:
    """Return the Hugging Face module in eval mode, with eager attention, on its device.

    A module that was handed in is never changed: the returned one is another tree of modules over the
    same weights. `weights="random"` gives a new module of the same configuration, initialised in float32
    on the CPU by transformers' own rule from `seed`, without touching the random state of the caller.
    """
    if weights == "random":
        module = _random_twin(source, seed)
        return module.to(device=device, dtype=dtype or torch.float32).eval()
    if source.module is None:
        read = _read_weights if source.checkpoint is None else _with_weights
        module = read(source, dtype or torch.float32).to(device)
    else:
        module = copy.deepcopy(source.module, {id(p): p for p in source.module.parameters()})
        module.set_attn_implementation("eager")  # type: ignore[operator]
    return module.eval()


def load_tokenizer(source: Source, tokenizer: Any = None) -> Any:
    """Return the tokenizer that the caller gave (object or folder), else that of the source, else None."""
    if tokenizer is not None and not isinstance(tokenizer, str | os.PathLike):
        return tokenizer
    location, revision = (str(tokenizer), "main") if tokenizer is not None else (source.location, source.revision)
    if location is None:
        return None
    is_folder = Path(location).is_dir()
    names = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "tokenizer.model", "spiece.model", "vocab.txt")
    if is_folder and not any((Path(location) / name).exists() for name in names):
        if tokenizer is not None:
            raise InvalidInput(f"{location!r} holds no tokenizer; expected tokenizer.json or one of {names[2:]}.")
        return None
    from transformers import AutoTokenizer

    try:
        with quiet():
            return AutoTokenizer.from_pretrained(location, local_files_only=source.local_only, revision=revision)
    except (OSError, ValueError, KeyError) as error:
        kind = CorruptArtifact if is_folder else InvalidInput
        raise kind(f"the tokenizer of {location!r} cannot be read: {_first_line(error)}.") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep imports and loaders from printing, and give back the warning filters and log levels they change."""
    from transformers.utils import logging as hf_logging

    logger = logging.getLogger("transformers")
    level, bars = logger.level, hf_logging.is_progress_bar_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        hf_logging.disable_progress_bar()
        try:
            yield
        finally:
            logger.setLevel(level)
            if bars:
                hf_logging.enable_progress_bar()


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the garbage collector from running, and leave it as it was.

    The first load imports half a million objects that all stay; walking them again and again is a third of its time.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _local(name: str, path: Path) -> Source | None:
    if name in BUNDLED:
        return _from_bundled(name)
    return _from_folder(path) if path.is_dir() else None


def _at_step(source: Source, step: str) -> Source:
    from interp.atlas.eight_bit import decode

    folder = Path(str(source.location)) / "checkpoints"
    there = [p.stem for p in folder.glob("step*.safetensors") if p.stem[4:].isdecimal()]
    steps = [f"{source.name}@{s}" for s in sorted(there, key=lambda name: int(name[4:]))]
    name = f"{source.name}@{step}"
    if name not in steps:
        have = f"it has {', '.join(steps)}. Nearest: {nearest(name, steps)[0]}" if steps else "it has none"
        raise UnknownName(f"no checkpoint {name!r} of {source.name!r}; {have}.")
    file = folder / f"{step}.safetensors"
    try:
        weights, when = decode(file.read_bytes())
    except CorruptArtifact as error:
        raise CorruptArtifact(f"{file} is damaged: {error}. Restore the folder from where it came.") from error
    # what was measured is of the final weights
    card = {key: v for key, v in source.card.items() if key not in ("measured", "tables", "figures")}
    return replace(source, name=name, card=card | {"checkpoint": when}, checkpoint=weights)


def _from_module(module: torch.nn.Module) -> Source:
    config = getattr(module, "config", None)
    if not hasattr(module, "set_attn_implementation") or not hasattr(config, "to_dict"):
        raise InvalidInput(
            f"a module must be a Hugging Face causal language model, not {type(module).__name__}; "
            "give for instance transformers.AutoModelForCausalLM.from_pretrained(folder)."
        )
    name = Path(str(getattr(config, "_name_or_path", "") or type(module).__name__)).name
    return Source(name=name, kind="module", config=copy.deepcopy(config), module=module)


def _from_bundled(name: str) -> Source:
    folder = ASSETS / name
    if not (folder / "config.json").is_file():
        raise UnknownName(f"the bundled model {name!r} is not in this installation; install the package again.")
    from interp.store import verify_folder

    verify_folder(folder)
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    return Source(name=name, kind="bundled", config=_config(str(folder)), location=str(folder), card=card)


def _from_folder(folder: Path) -> Source:
    names = sorted(p.name for p in folder.iterdir())
    if "config.json" not in names:
        raise InvalidInput(f"{str(folder)!r} has no config.json; a model folder is in the Hugging Face format.")
    card = {}
    if {"card.json", "manifest.json"} <= set(names):  # a folder that was written and sealed as the bundled model is
        from interp.store import verify_folder

        verify_folder(folder)
    if "card.json" in names:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    return Source(name=folder.name, kind="folder", config=_config(str(folder)), location=str(folder), card=card)


def _from_hub(name: str) -> Source:
    local_only = _hub_is_out_of_reach()
    location, _, revision = name.partition("@")
    where: dict[str, Any] = {"local_only": local_only, "revision": revision or "main"}
    try:
        return Source(name=name, kind="hub", config=_config(location, **where), location=location, **where)
    except InvalidInput as error:
        near = ", ".join(nearest(name, BUNDLED))
        raise UnknownName(
            f"no bundled model and no folder {name!r}, and Hugging Face did not deliver one ({error}). "
            f"Bundled: {near}. "
            f"Without a network, download the model elsewhere and give its folder: load_model('/path/to/{name}')."
        ) from error


def _hub_is_out_of_reach() -> bool:
    # The hub client retries for half a minute before it admits this; a mistyped name should not cost that.
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return True
    if getproxies():
        return False
    try:
        socket.getaddrinfo(urlparse(constants.ENDPOINT).hostname, None)
    except OSError:
        return True
    return False


def _config(location: str, *, local_only: bool = False, revision: str = "main") -> Any:
    from transformers import AutoConfig

    try:
        with quiet():
            config = AutoConfig.from_pretrained(location, local_files_only=local_only, revision=revision)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"the configuration of {location!r} cannot be read: {_first_line(error)}") from error
    if getattr(config, "is_encoder_decoder", False):
        raise InvalidInput(f"{location!r} is an encoder-decoder; only causal language models have these sites.")
    return config


def _random_twin(source: Source, seed: int) -> torch.nn.Module:
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(source.config)
    # Only the CPU generator is seeded: torch.manual_seed would also move those of every accelerator.
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if source.module is not None:
            config._attn_implementation = "eager"
            return type(source.module)(config).float()
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")


def _read_weights(source: Source, dtype: torch.dtype) -> torch.nn.Module:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    location = str(source.location)
    if source.kind != "hub":
        _refuse_pickles(Path(location))
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                location,
                dtype=dtype,
                attn_implementation="eager",
                use_safetensors=True,
                local_files_only=source.local_only,
                revision=source.revision,
                output_loading_info=True,
            )
    except (SafetensorError, RuntimeError) as error:
        raise CorruptArtifact(f"the weights of {source.name!r} cannot be read: {_first_line(error)}") from error
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInput(f"{source.name!r} cannot be loaded: {_first_line(error)}") from error
    module, info = loaded
    _refuse_misfit(source, info)
    return module


def _with_weights(source: Source, dtype: torch.dtype) -> torch.nn.Module:
    from transformers import AutoModelForCausalLM

    with quiet(), torch.random.fork_rng(devices=[]):
        module = AutoModelForCausalLM.from_config(source.config, dtype=dtype, attn_implementation="eager")
    assert source.checkpoint is not None
    state = {name: torch.from_numpy(array) for name, array in source.checkpoint.items()}
    try:
        missing, unexpected = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise CorruptArtifact(f"the weights of {source.name!r} do not fit its config.json: {error}") from error
    named = {name for name, _ in module.named_parameters()}  # a tied unembedding is listed once, and not stored
    _refuse_misfit(source, {"missing_keys": named & set(missing), "error_msgs": unexpected})
    return module


def _refuse_misfit(source: Source, info: dict[str, Any]) -> None:
    for problem in ("missing_keys", "mismatched_keys", "error_msgs"):
        if info.get(problem):
            # transformers would fill these with random numbers and go on
            raise CorruptArtifact(
                f"the weights of {source.name!r} do not fit its config.json ({problem.replace('_', ' ')}: "
                f"{', '.join(str(k) for k in sorted(info[problem], key=str)[:3])}); the folder is incomplete."
            )
    unused = [str(key) for key in info.get("unexpected_keys", ())]
    beyond = [key for key in unused if (n := re.search(r"\.(\d+)\.", key)) and int(n[1]) >= _n_layers(source.config)]
    if beyond:
        raise CorruptArtifact(
            f"the weights of {source.name!r} hold layers beyond the {_n_layers(source.config)} of its config.json "
            f"({sorted(beyond)[0]}): the two files are not of one model."
        )
    if unused:
        log.warning("%s: %d tensors of the weights are not used, as %s", source.name, len(unused), sorted(unused)[0])


def _n_layers(config: Any) -> int:
    return int(getattr(config, "num_hidden_layers", 0) or 10**9)


def _refuse_pickles(folder: Path) -> None:
    if any(folder.glob("*.safetensors")):
        return
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in _PICKLES)
    if pickles:
        raise InvalidInput(
            f"{str(folder)!r} holds its weights as a pickle ({pickles[0]}), which runs code when opened. Convert it "
            "where you trust it: AutoModelForCausalLM.from_pretrained(folder).save_pretrained(new_folder)."
        )
    raise InvalidInput(f"{str(folder)!r} holds no *.safetensors; expected config.json and model.safetensors.")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
