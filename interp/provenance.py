"""Where a number comes from: versions, commit, key, seed, inputs. No time stamps: the same run, the same bytes."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from interp.store.keys import Key, plain

PACKAGES = (
    "interp", "torch", "transformers", "transformer-lens", "numpy", "scipy", "pandas", "pyarrow",
    "safetensors", "scikit-learn", "statsmodels", "esda", "libpysal", "numba", "matplotlib",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return versions of python, the platform and the packages that numbers depend on, importing none of them.

    A package that is not installed is left out; "commit" is there when the source is a git checkout.
    """
    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    commit = git_commit(Path(__file__).parent.parent)
    return found | ({"commit": commit} if commit else {})


def git_commit(folder: Path) -> str | None:
    """Return the commit that is checked out in `folder`, or None where that cannot be told; runs no program."""
    git = folder / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if (git / name).is_file():
            return (git / name).read_text().strip()
        packed = (
            line.split(" ") for line in (git / "packed-refs").read_text().splitlines() if not line.startswith("#")
        )
        return next((parts[0] for parts in packed if parts[1:] == [name]), None)
    except OSError:
        return None


def provenance(key: Key, *, seed: int | None, **more: Any) -> dict[str, Any]:
    """Return what a `Result` records of its making: key, config, input hashes, code version, seed, versions.

    Args:
        key: what the result was made from.
        seed: of every random draw, or None where there is none.
        more: further plain data.

    Raises:
        InvalidInput: `more` holds something without a JSON form.
    """
    record = {"key": key.digest, **key.parts(), "seed": seed, "versions": versions()}
    return plain(record | more, "provenance")
