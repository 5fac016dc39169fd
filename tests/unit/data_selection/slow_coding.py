"""A selection whose coding takes long enough to be killed in the middle; run as a script, on two workers of Ray.

python slow_coding.py FOLDER TEMPORARY     # writes FOLDER/ray from FOLDER/pool.jsonl and FOLDER/task.jsonl
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 0.1


@dataclass(frozen=True)
class SlowCoder:
    """The latents of an SAE, late; its codes and its identity are those of the SAE."""

    coder: Any

    @property
    def site(self) -> str:
        return self.coder.site

    @property
    def width(self) -> int:
        return self.coder.width

    def codes(self, x: Any) -> Any:
        time.sleep(SECONDS)
        return self.coder.codes(x)

    def identity(self) -> dict[str, Any]:
        return self.coder.identity()


def config_of(folder: Path) -> Any:
    from analyses.data_selection import SelectionConfig

    return SelectionConfig(
        pool=(str(folder / "pool.jsonl"),), target=(str(folder / "task.jsonl"),), budget="20%", shard_rows=4
    )


def n_shards(folder: Path) -> int:
    """Shards that are written whole, or nearly so: enough to know that the work is under way."""
    return len(list(folder.glob("sums/*.safetensors")))


def children(of: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == of:
            found += [int(stat.parent.name), *children(int(stat.parent.name))]
    return found


def workers() -> list[int]:
    """Processes of the actors that code, below this one."""
    found = []
    for pid in children(os.getpid()):
        try:
            if b"_Actor" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return sorted(found)


def kill_one(out: Path, told: dict[str, Any]) -> None:
    before = n_shards(out)
    while n_shards(out) < before + 2 or len(workers()) < 2:
        time.sleep(0.02)
    told["workers"], told["shards"] = len(workers()), n_shards(out)
    os.kill(workers()[0], signal.SIGKILL)
    told["killed"] = 1


def main(folder: Path, temporary: str) -> None:
    import ray
    import torch
    from selection_pool import tiny_sae

    from analyses.data_selection import command
    from analyses.data_selection.coders import SaeCoder
    from interp.testing import tiny_model

    torch.set_num_threads(1)
    model, out, told = tiny_model(), folder / "ray", {}
    coder = SlowCoder(SaeCoder(tiny_sae(model)))
    command.load = lambda config: (model, coder)
    ray.init(num_cpus=1, include_dashboard=False, object_store_memory=2**27, log_to_driver=False, _temp_dir=temporary)
    killer = threading.Thread(target=kill_one, args=(out, told), daemon=True)
    killer.start()
    command.select_command(config_of(folder), out, engine="ray", workers=2)
    killer.join()
    told["in_the_middle"] = told["shards"] < n_shards(out)
    ray.shutdown()
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
