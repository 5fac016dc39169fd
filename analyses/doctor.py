"""What can be wrong before a run begins: each check is a function of what was found, and returns rows."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analyses.sizes import human_bytes
from interp.errors import CorruptArtifact, InterpError

if TYPE_CHECKING:
    import pandas as pd

OK, WARNING, PROBLEM = "ok", "warning", "problem"
OPTIONAL = {"numba": "permutation tests then run on scipy, several times slower"}
"""Packages that a run can do without, and what it then lacks."""
RUN_BYTES = 2e8  # what a run on the bundled model leaves, with room; `interp run --dry-run` counts it for any other
_HASHED_BYTES = 1_000_000  # larger files of the package are compared by length; `interp atlas verify` hashes all
_PYTHON = (3, 11)
_LOOSE = ("cities.parquet", "coastline.npz", "countries.json", "report.css", "report.html.j2", "report.js")
_REINSTALL = "install the package again"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: state is ok, warning or problem; `do` is what mends it."""

    area: str
    name: str
    state: str
    found: str
    do: str = ""


def table_of(checks: Iterable[Check]) -> pd.DataFrame:
    """Return checks as a frame: area, name, state, found, do."""
    import pandas as pd

    return pd.DataFrame([asdict(check) for check in checks], columns=["area", "name", "state", "found", "do"])


def python_check(version: tuple[int, ...]) -> Check:
    """Compare the version of Python with the oldest that is supported."""
    text = ".".join(map(str, version[:3]))
    if version[:2] >= _PYTHON:
        return Check("versions", "python", OK, text)
    return Check("versions", "python", PROBLEM, text, f"install Python {_PYTHON[0]}.{_PYTHON[1]} or newer")


def package_checks(requirements: Iterable[str], version_of: Callable[[str], str | None]) -> list[Check]:
    """Compare what is installed with what the package requires.

    Args:
        requirements: as in a package's metadata, such as "torch>=2.6"; those of extras are passed over.
        version_of: name -> installed version, or None.
    """
    from packaging.requirements import Requirement

    checks = []
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found, install = version_of(requirement.name), f"pip install '{requirement}'"
        if found is None and requirement.name in OPTIONAL:
            checks.append(
                Check("versions", requirement.name, WARNING, "absent", f"{OPTIONAL[requirement.name]}: {install}")
            )
        elif found is None:
            checks.append(Check("versions", requirement.name, PROBLEM, "absent", install))
        elif not requirement.specifier.contains(found, prereleases=True):
            what = f"{found}, expected {requirement.specifier}"
            checks.append(Check("versions", requirement.name, PROBLEM, what, install))
        else:
            checks.append(Check("versions", requirement.name, OK, found))
    return checks


def installed_checks() -> list[Check]:
    """Check Python and every package that this one requires, as installed here."""

    def version_of(name: str) -> str | None:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None

    found = tuple(int(part) for part in re.findall(r"\d+", platform.python_version())[:3])
    return [python_check(found), *package_checks(importlib.metadata.requires("interp") or [], version_of)]


def hub_check(wanted: Iterable[str], *, out_of_reach: bool) -> Check:
    """Say what would have to come from the Hugging Face hub, and whether it can.

    Args:
        wanted: names that are neither bundled nor a folder.
        out_of_reach: whether the hub cannot be reached, or may not.
    """
    names = ", ".join(wanted)
    state = "the hub is out of reach" if out_of_reach else "the hub can be reached"
    if not names:
        return Check("offline", "hub", OK, f"nothing is needed from the hub ({state})")
    if out_of_reach:
        do = (
            "download it where there is a network, and give its folder (what was downloaded here before is still found)"
        )
        return Check("offline", "hub", WARNING, f"{names}: {state}", do)
    return Check("offline", "hub", OK, f"{names} is read from the hub once and kept")


def space_check(area: str, free: float, needed: float, *, what: str, do: str) -> Check:
    """Compare what is free with what a run needs: a problem below the need, a warning below twice the need."""
    state = PROBLEM if free < needed else WARNING if free < 2 * needed else OK
    found = f"{human_bytes(free)} free, a run needs about {human_bytes(needed)}"
    return Check(area, what, state, found, "" if state == OK else do)


def free_memory(meminfo: str, limits: Iterable[tuple[str, str, str]] = ()) -> float | None:
    """Return the bytes of memory that a new process can have.

    Args:
        meminfo: contents of /proc/meminfo.
        limits: (limit, in use, statistics) of the control groups around the process, as text; "max" is no limit.
            What the statistics call inactive_file is a cache of files, which gives way.
    """
    found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo, re.MULTILINE)
    free = [1024.0 * int(found[1])] if found else []
    for most, used, statistics in limits:
        cached = re.search(r"^(?:total_)?inactive_file (\d+)", statistics, re.MULTILINE)
        if most.strip().isdecimal() and used.strip().isdecimal():
            free.append(float(int(most) - int(used) + (int(cached[1]) if cached else 0)))
    return max(0.0, min(free)) if free else None


def memory_here() -> float | None:
    """Return the bytes of memory that a new process can have on this machine, None where that cannot be told."""

    def read(path: str) -> str:
        try:
            return Path(path).read_text()
        except OSError:
            return ""

    names = (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    )
    limits = [tuple(read(f"/sys/fs/cgroup/{name}") for name in group) for group in names]
    return free_memory(read("/proc/meminfo"), limits)  # type: ignore[arg-type]


def disk_here(folder: Path) -> float:
    """Return the free bytes of the disk that will hold a folder, whether or not it exists yet."""
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    return float(shutil.disk_usage(there).free)


def thread_check(cores: int, environment: Mapping[str, str]) -> Check:
    """Say how many cores there are and what the environment makes of them."""
    asked = {name: environment[name] for name in _THREADS if name in environment}
    wrong = {name: n for name, n in asked.items() if not n.isdecimal() or int(n) < 1}
    more = {name: n for name, n in asked.items() if name not in wrong and int(n) > cores}
    said = ", ".join(f"{name}={n}" for name, n in asked.items()) or "no variable limits the threads"
    found = f"{cores} core{'' if cores == 1 else 's'}; {said}"
    if wrong:
        return Check("machine", "threads", PROBLEM, found, f"unset {', '.join(wrong)}, or give a number from 1")
    if more:
        do = f"{', '.join(more)}: more threads than cores wait for each other; at most {cores}"
        return Check("machine", "threads", WARNING, found, do)
    return Check("machine", "threads", OK, found)


def cores_here() -> int:
    """Return the cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def folder_check(folder: Path) -> Check:
    """Compare a sealed folder with its manifest: every length, and the sha256 of the files under 1 MB."""
    from interp.store import sha256_file
    from interp.store.sealed import read_manifest

    name, do = folder.name, _REINSTALL
    if folder.parent.parent.name == "saes":
        name = f"{folder.parent.name}/{folder.name}"
    try:
        listed = read_manifest(folder)["files"]
    except CorruptArtifact as error:
        return Check("assets", name, PROBLEM, str(error), do)
    hashed = 0
    for file, expected in listed.items():
        path = folder / file
        if not path.is_file() or path.stat().st_size != expected["bytes"]:
            there = f"{path.stat().st_size} bytes" if path.is_file() else "missing"
            return Check("assets", name, PROBLEM, f"{file}: {there}, expected {expected['bytes']} bytes", do)
        if expected["bytes"] <= _HASHED_BYTES:
            hashed += 1
            if sha256_file(path) != expected["sha256"]:
                return Check("assets", name, PROBLEM, f"{file} is not what was shipped", do)
    return Check("assets", name, OK, f"length of {len(listed)} files, sha256 of {hashed}")


def asset_checks(assets: Path) -> list[Check]:
    """Check the bundled model and SAEs (see `folder_check`; whole SAEs are one row), and that other files are there."""
    saes = [folder_check(path) for path in sorted(assets.glob("saes/*/*")) if path.is_dir()]
    whole = sum(check.state == OK for check in saes)
    checks = [folder_check(assets / "atlas"), *(check for check in saes if check.state != OK)]
    about = f"{whole} whole: length of every file, sha256 of those under 1 MB"
    checks.append(Check("assets", "saes", OK, about) if whole else Check("assets", "saes", PROBLEM, "none", _REINSTALL))
    missing = [name for name in _LOOSE if not (assets / name).is_file()]
    if missing:
        return [*checks, Check("assets", "files", PROBLEM, f"missing: {', '.join(missing)}", _REINSTALL)]
    return [*checks, Check("assets", "files", OK, f"{len(_LOOSE)} files of places, maps and reports")]


def fit_checks(model: str, sae: str | None, bos: str | None) -> list[Check]:
    """Load a model (its identities are checked) and compare an SAE with it: width, site, fingerprint, BOS."""
    from interp.models import load_model
    from interp.sae import check_fit, load_sae

    try:
        loaded = load_model(model, bos=bos)  # type: ignore[arg-type]
    except (InterpError, MemoryError, OSError) as error:
        return [Check("fit", "model", PROBLEM, _one_line(error), "see interp run --help, --model")]
    about = f"{loaded.n_layers} layers of {loaded.d_model}, {len(loaded.checks)} identities hold, bos {loaded.bos}"
    checks = [Check("fit", "model", OK, f"{model}: {about}")]
    if loaded.bos is None:
        checks = [Check("fit", "model", WARNING, f"{model}: {about}", "no BOS policy is known: give --bos")]
    if sae is None:
        return checks
    try:
        read = load_sae(sae)
        fit = check_fit(loaded, read, allow_mismatch=True)
    except (InterpError, OSError) as error:
        return [*checks, Check("fit", "sae", PROBLEM, _one_line(error), "use the model and site it was trained on")]
    if fit.mismatches:
        do = "use the model, site and BOS policy it was trained on"
        return [*checks, Check("fit", "sae", PROBLEM, "; ".join(fit.mismatches), do)]
    same = "width, site, fingerprint and BOS policy are those of the model"
    return [*checks, Check("fit", "sae", OK, f"{sae} at {fit.site}: {same}")]


def _one_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
