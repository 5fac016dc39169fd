"""Run under torchrun by test_torchrun.py: SAEs of a model by several processes, through the command and from Python."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import torch

from analyses.cli import main
from interp.sae.ranks import find_ranks, process_group
from interp.sae.together import SaeJob, train_saes
from interp.testing import tiny_model

WORDS = "Paris is in France and Berlin is in Germany of the city to the country on a river by the sea".split()
JOBS = {
    "residual": SaeJob(site="resid_post.1", d_sae=48, options={"k": 4}),
    "mlp": SaeJob(site="resid_mid.1", site_out="mlp_out.1", d_sae=40, arch="batchtopk", options={"k": 3}),
}
SETTINGS = {"tokens": 1536, "seed": 0, "batch_size": 64, "buffer": 256, "eval_rows": 40, "checkpoint_every": 5}


def rows() -> list[str]:
    return [" ".join(WORDS[(i * j) % len(WORDS)] for j in range(3, 8 + i % 5)) for i in range(300)]


def run(folder: Path) -> None:
    texts = folder / "texts.txt"
    argv = ["train-sae", "--site", "resid_post.0", "--texts", str(texts), "--out", str(folder / "command")]
    assert main([*argv, "--d-sae", "64", "--k", "4", "--tokens", "4096", "--device", "cpu"]) == 0
    with process_group("cpu"):
        torch.set_num_threads(1)
        results = train_saes(tiny_model(), rows(), JOBS, out=folder, progress=True, device="cpu", **SETTINGS)
        found = {
            name: [
                hashlib.sha256(b"".join(w.numpy().tobytes() for w in result.sae.weights().values())).hexdigest(),
                result.evaluation.set_index("metric")["value"]["fvu"],
                len(result.history),
            ]
            for name, result in results.items()
        }
        (folder / f"found-{find_ranks().rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    run(Path(sys.argv[1]))
