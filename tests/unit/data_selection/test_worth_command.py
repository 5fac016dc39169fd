"""`interp select evaluate` from files to verdicts, on a tiny model."""

import json

import numpy as np
import pytest

from analyses.cli import app
from analyses.data_selection import worth_command
from analyses.data_selection.finetuning import Tuning
from analyses.data_selection.selection_config import SelectionConfig
from analyses.data_selection.worth_command import DEFAULT, WorthConfig, evaluate_command
from interp.errors import InvalidInput
from interp.result import load_result

TUNING = Tuning(tokens=160, batch_tokens=40, lr=0.02)


def write(path, answer, n, seed):
    rng = np.random.default_rng(seed)
    said = [" ".join(rng.choice(["London", "city", "is", "the", "of", "and"], size)) for size in rng.integers(2, 6, n)]
    path.write_text("".join(json.dumps({"prompt": one, "completion": f" {answer}"}) + "\n" for one in said))
    return str(path)


@pytest.fixture(autouse=True)
def tiny(model, sae, monkeypatch):
    monkeypatch.setattr(worth_command, "load", lambda config: (model, sae))


def test_files_give_verdicts_a_report_and_a_result_and_the_second_run_trains_nothing(tmp_path, monkeypatch):
    from analyses.data_selection import worth_runs

    pool = (write(tmp_path / "a.jsonl", "France", 8, 1), write(tmp_path / "b.jsonl", "Berlin", 40, 2))
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write(json.dumps({"prompt": "is " * 99, "completion": " Paris"}) + "\n")
    target = tuple(write(tmp_path / f"t{i}.jsonl", "France", 12, 3 + i) for i in (1, 2))
    config = WorthConfig(
        SelectionConfig(pool=pool, target=target, budget="15% tokens", tokens="answer"), TUNING,
        ("bm25", "shuffled-target"), n_seeds=3, deciles=("bm25",), against=("shuffled-target",),
    )  # fmt: skip
    said = []
    table = evaluate_command(config, tmp_path / "out", say=said.append)
    found = table.set_index("method")
    assert found.loc["bm25", "verdict"] == "better than random"  # the answer is a word of the target
    assert found.loc["oracle", "ci_high"] < 0
    assert set(found["measure"]) == {"loss, held-out examples"}
    assert any(line.startswith("pool: 1 of 49 samples have no token") for line in said)
    assert any("better than random: bm25" in line for line in said)
    page = (tmp_path / "out" / "worth.html").read_text()
    assert "better than random picks on held-out examples: bm25" in page
    assert "oracle -" in page
    kept = load_result(tmp_path / "out" / "result")
    assert kept.table["method"].tolist() == table["method"].tolist()
    assert set(kept.tables["contrasts"]["reference"]) == {"shuffled-target"}
    assert kept.tables["deciles"]["method"].tolist() == ["bm25"]

    monkeypatch.setattr(worth_runs, "finetune", None)  # a training now would fail
    again = evaluate_command(config, tmp_path / "out")
    assert again.equals(table)


@pytest.mark.parametrize(
    ("method", "n_seeds", "said"),
    [("monna", 3, "Nearest: 'mona'"), ("mona", 0, "seeds is 0")],
)
def test_mistakes_are_named_before_anything_is_trained(tmp_path, method, n_seeds, said):
    pool, target = write(tmp_path / "a.jsonl", "France", 8, 1), write(tmp_path / "t.jsonl", "France", 6, 3)
    config = WorthConfig(SelectionConfig(pool=(pool,), target=(target,)), TUNING, (method,), n_seeds=n_seeds)
    with pytest.raises(InvalidInput, match=said):
        evaluate_command(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_line_and_python_give_the_same_configuration(monkeypatch):
    seen = []
    monkeypatch.setattr(
        worth_command, "evaluate_command", lambda config, out, say: seen.append((config, out)) or _none()
    )
    app(
        ["select", "evaluate", "p.jsonl", "--target", "t.jsonl", "--lr", "3e-4", "--seeds", "2"],
        result_action="return_value",
    )
    config, out = seen[0]
    assert config.selection.pool == ("p.jsonl",)
    assert (config.methods, config.n_seeds, config.tuning.lr, str(out)) == (DEFAULT, 2, 3e-4, "runs/worth")


def _none():
    import pandas as pd

    return pd.DataFrame()
