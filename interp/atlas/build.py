"""Make the bundled model again from nothing: tokenizer, training, export, SAEs, card; each stage once.

`folder/build.json` records of each finished stage what it was made from and the sha256 of every file it
left. A stage whose record still holds is skipped; an interrupted training or SAE goes on where it was.
Nothing outside the folder is touched unless the result is installed.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from interp.atlas.network import NetworkConfig
from interp.atlas.saes import SaePlan, train_saes
from interp.atlas.train import TrainConfig, best_precision, train, write_settings
from interp.atlas.write_card import Effort, write_card
from interp.errors import CorruptArtifact, InvalidInput, nearest
from interp.store import atomic_write_bytes, canonical_json, sha256_bytes, sha256_file

STAGES = ("tokenizer", "training", "model", "saes", "card")
RECORD = "build.json"
_CARD_FILES = ("card.json", "README.md", "manifest.json")
Say = Callable[[str], None]
ON_GPU: dict[str, Any] = {
    "tokens": 300_000_000, "batch_rows": 256, "warmup": 0.01, "keep": (0.01, 0.05, 0.15),
    "phases": ((0.05, 0.1), (0.10, 0.5), (0.85, 0.08)), "checkpoint_every": 2000,
}  # fmt: skip
"""What a training of the bundled model has otherwise where there is a GPU: many times the tokens, larger batches."""
SAES_ON_GPU: dict[str, Any] = {"tokens": 6_000_000, "batch_size": 2048, "checkpoint_every": 10_000}
"""The same of its SAEs."""


@dataclass(frozen=True)
class Plan:
    """Every setting of a build."""

    train: TrainConfig
    network: NetworkConfig
    saes: SaePlan
    effort: Effort
    n_texts: int
    """Texts that the tokenizer is trained on."""

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return json.loads(json.dumps(asdict(self)))


def full_plan(*, tokens: int | None = None, seed: int = 0, device: str = "cpu") -> Plan:
    """Return the settings of the bundled model; with `tokens`, of a shorter or longer training.

    The bundled weights were trained on a GPU, their SAEs on a CPU. There a network reads a fifteenth of the tokens, in
    smaller batches: a narrower one learnt geography, skills and repeats from as many, but not the indirect object.
    """
    train, network = TrainConfig(seed=seed, precision=best_precision(device)), NetworkConfig()
    if device != "cpu":
        train = replace(train, **ON_GPU)
    saes = _sae_plan(network) if device == "cpu" else replace(_sae_plan(network), **SAES_ON_GPU)
    return Plan(_with_tokens(train, tokens), network, saes, Effort(), n_texts=120_000)


def small_plan(*, tokens: int | None = None, seed: int = 0) -> Plan:
    """Return settings that show every stage within about two minutes on one core: 400 cities, 2 layers of width 32."""
    network = NetworkConfig(vocab_size=1000, d_model=32, n_layers=2, n_heads=2, d_mlp=64)
    train = TrainConfig(tokens=200_000, batch_rows=16, seed=seed, n_cities=400, eval_every=20, checkpoint_every=20)
    saes = replace(
        _sae_plan(network), options={"k": 4}, widths={"resid_post": 128, "z": 64}, compared={}, seeds=(0,),
        tokens=40_000, eval_rows=64, batch_size=256, buffer=8192,
    )  # fmt: skip
    effort = Effort(n=20, n_train_rows=500, n_fresh_rows=16, n_pairs=40, n_exercises=4, permutations=99)
    return Plan(_with_tokens(train, tokens), network, saes, effort, n_texts=5000)


def build(
    folder: Path,
    plan: Plan,
    *,
    until: str = STAGES[-1],
    device: str = "cpu",
    workers: int = 1,
    say: Say = lambda _: None,
) -> pd.DataFrame:
    """Run every stage up to `until` that is not done yet; return one row a stage: stage, state, seconds.

    The model ends in `folder/atlas`, the SAEs in `folder/saes`, as they lie in the package.

    Args:
        device: where the network is trained.
        workers: processes that make rows of text and count what they told; their number changes nothing.
        say: is given a line now and then.

    Raises:
        InvalidInput: the folder was begun with other settings, or no such stage.
        CorruptArtifact: a file of a finished stage has been altered.
    """
    if until not in STAGES:
        raise InvalidInput(f"no stage {until!r}. Nearest: {nearest(until, STAGES)[0]}. Stages: {', '.join(STAGES)}.")
    folder.mkdir(parents=True, exist_ok=True)
    done = _read_record(folder, plan)
    runs = _runs(folder, plan, device, workers, say)
    rows, made_from = [], {"plan": sha256_bytes(canonical_json(plan.to_dict()).encode())}
    for stage in STAGES[: STAGES.index(until) + 1]:
        began, kept = time.perf_counter(), _holds(folder, stage, done.get(stage), made_from)
        if not kept:
            say(f"{stage}: begun")
            runs[stage]()
            for later in STAGES[STAGES.index(stage) :]:
                done.pop(later, None)
            done[stage] = {"from": dict(made_from), "files": _hashes(folder, _files(folder, stage))}
            record = {"plan": plan.to_dict(), "stages": done}
            atomic_write_bytes(folder / RECORD, json.dumps(record, indent=1, sort_keys=True).encode())
        made_from |= done[stage]["files"]
        seconds = time.perf_counter() - began
        rows.append((stage, "kept" if kept else "done", round(seconds, 1)))
        say(f"{stage}: {'kept' if kept else f'done in {seconds:.0f} s'}")
    return pd.DataFrame(rows, columns=["stage", "state", "seconds"])


def install(folder: Path, assets: Path, *, say: Say = lambda _: None) -> None:
    """Put the model and SAEs of a finished build in the place of those of the package.

    Raises:
        InvalidInput: the build has no card yet.
        CorruptArtifact: a file of the build has been altered.
    """
    from interp.atlas.verify import verify_files
    from interp.store import write_folder

    if not (folder / "atlas" / "README.md").is_file():
        raise InvalidInput(f"the build in {folder} is not finished: it has no {folder / 'atlas' / 'README.md'}.")
    for name in verify_files(folder / "atlas", folder / "saes")["name"]:
        source = folder / name if name == "atlas" else folder / "saes" / name
        target = assets / name if name == "atlas" else assets / "saes" / name
        listed = [path for path in sorted(source.rglob("*")) if path.is_file() and path.name != "manifest.json"]
        files = {path.relative_to(source).as_posix(): path.read_bytes() for path in listed}
        write_folder(target, files, overwrite=True)
        say(f"installed {target}")
    kept = {path.parent.relative_to(folder / "saes") for path in (folder / "saes").glob("*/*/cfg.json")}
    for path in sorted((assets / "saes").glob("*/*/cfg.json")):  # an SAE of earlier weights fits no model any more
        if path.parent.relative_to(assets / "saes") not in kept:
            shutil.rmtree(path.parent)
            say(f"removed {path.parent}")


def _with_tokens(train: TrainConfig, tokens: int | None) -> TrainConfig:
    return train if tokens is None else replace(train, tokens=tokens)


def _sae_plan(network: NetworkConfig) -> SaePlan:
    return SaePlan(n_layers=network.n_layers, compared_layer=max(0, network.n_layers // 2 - 1))


def _runs(folder: Path, plan: Plan, device: str, workers: int, say: Say) -> dict[str, Callable[[], object]]:
    from interp.atlas.export import export
    from interp.atlas.prepare import prepare

    c, n_ctx = plan.train, plan.network.n_ctx

    def report(line: Mapping[str, float]) -> None:
        say(
            f"training: step {line['step']:.0f} of {c.n_steps(n_ctx)}, {line['text_loss']:.3f} nats a token of fresh "
            f"text, {line['repeat_loss']:.3f} of repeats, {line['tokens_per_s']:,.0f} tokens/s"
        )

    def run_training() -> None:
        write_settings(folder, c, plan.network)
        train(folder, c, plan.network, device=device, workers=workers, report=report)

    def run_tokenizer() -> None:
        file, trained = folder / "tokenizer.json", (folder / "checkpoint.npz").exists()
        before = file.read_bytes() if trained and file.exists() else None
        prepare(folder, n_cities=c.n_cities, n_texts=plan.n_texts, vocab_size=plan.network.vocab_size)
        if before is not None and file.read_bytes() != before:
            atomic_write_bytes(file, before)
            raise InvalidInput(
                f"{folder} holds a training with another tokenizer than this plan makes. Give an empty "
                "folder, or write what is there with interp.atlas.export.export."
            )

    return {
        "tokenizer": run_tokenizer,
        "training": run_training,
        "model": lambda: export(folder, folder / "atlas", workers=workers),
        "saes": lambda: train_saes(
            folder / "atlas",
            folder / "saes",
            plan.saes,
            say=say,
            device=device,
            workers=1 if device == "cpu" else workers,
        ),
        "card": lambda: write_card(folder / "atlas", folder / "saes", effort=plan.effort, say=say),
    }


def _files(folder: Path, stage: str) -> Iterable[Path]:
    if stage == "tokenizer":
        return [folder / "tokenizer.json"]
    if stage == "training":
        named = [folder / name for name in ("checkpoint.npz", "log.jsonl", "settings.json")]
        return [*named, *sorted((folder / "kept").glob("*.npz"))]
    if stage == "saes":
        # a card may be added to an SAE later, and its manifest changes with it
        found = (path for path in (folder / "saes").rglob("*") if path.is_file() and path.name not in _CARD_FILES)
        return sorted(found)
    model = sorted(path for path in (folder / "atlas").rglob("*") if path.is_file())
    return [path for path in model if (path.name in _CARD_FILES) == (stage == "card")]


def _hashes(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


def _holds(folder: Path, stage: str, done: Mapping[str, Any] | None, made_from: Mapping[str, str]) -> bool:
    if done is None or done["from"] != made_from or not all((folder / name).is_file() for name in done["files"]):
        return False
    for name, sha256 in done["files"].items():
        if sha256_file(folder / name) != sha256:
            raise CorruptArtifact(
                f"{folder / name} is not what the stage {stage!r} wrote. Remove it to have the stage run again."
            )
    return True


def _read_record(folder: Path, plan: Plan) -> dict[str, Any]:
    path = folder / RECORD
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_bytes())
        was, stages = record["plan"], dict(record["stages"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptArtifact(f"{path} is damaged ({error}); give an empty folder.") from error
    if was != plan.to_dict():
        raise InvalidInput(f"{folder} was begun with other settings ({_changes(was, plan)}). Give an empty folder.")
    return stages


def _changes(was: Mapping[str, Any], plan: Plan) -> str:
    now = plan.to_dict()
    parts = {part: (was.get(part), value) for part, value in now.items()}
    out = []
    for part, (old, new) in parts.items():
        if not isinstance(old, dict) or not isinstance(new, dict):
            out += [f"{part}: {old!r} there, {new!r} now"] if old != new else []
            continue
        keys = [key for key in new if old.get(key) != new[key]]
        out += [f"{part}.{key}: {old.get(key)!r} there, {new[key]!r} now" for key in keys]
    return "; ".join(out)
