"""The trainers that are timed beside each other do what is said of them, on a small job.

Needs the environment of `test_saelens_parity` with eai-sparsify; elsewhere it is skipped.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]
pytest.importorskip("sae_lens")
pytest.importorskip("sparsify")
sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

from bench_sae_training import TRAINERS, timed  # noqa: E402


@pytest.mark.parametrize("name", TRAINERS)
def test_a_trainer_is_timed_with_the_latents_dead_that_were_asked_for(tmp_path: Path, name):
    rows = np.random.default_rng(0).standard_normal((2048, 24)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    job = {"data": str(tmp_path / "rows.npy"), "d_sae": 96, "k": 4, "batch_size": 64, "buffer": 512}
    job |= {"warmup": 2, "steps": 4, "n_dead": 10, "threads": 1, "device": "cpu"}
    run = timed(name, sys.executable, job)
    assert run["n_dead"] == 10
    assert 0 < run["cpu_seconds_a_step"] < 1
    assert 0 < run["peak_growth_mb"] < 500
    assert "torch" in run["versions"]
