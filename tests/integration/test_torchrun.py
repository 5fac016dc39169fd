"""torchrun: two processes train the SAEs of a model; one of them judges, saves and speaks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from interp.sae.io import load_sae, training_record

SCRIPT = Path(__file__).with_name("grouped_training.py")


@pytest.mark.slow
def test_two_processes_train_the_saes_of_a_model(tmp_path):
    lines = [f"city {i % 7} is in country {i % 3} near river {i % 5} by road {i}" for i in range(1500)]
    (tmp_path / "texts.txt").write_text("\n".join(lines))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT)]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("metric\tvalue") == 1
    one, other = (json.loads((tmp_path / f"found-{rank}.json").read_text()) for rank in (0, 1))
    assert set(one) == {"residual", "mlp"}
    assert one == other
    for name in ("command", "residual", "mlp"):
        assert training_record(tmp_path / name)["identity"]["world"] == 2
        assert load_sae(tmp_path / name).golden_checked
    assert not list(tmp_path.glob("*.checkpoints"))
