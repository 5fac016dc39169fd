"""`interp probe`: files that can be probed are, and those that cannot are refused in one line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analyses.cli import main
from analyses.probing.label_files import read_labelled_texts
from interp.errors import InvalidInput
from interp.testing import tiny_model

WORDS = ("Paris", "London", "Berlin", "city", "France")


@pytest.fixture
def labels(tmp_path):
    rng = np.random.default_rng(0)
    texts = [" " + " ".join(rng.choice(WORDS, size=rng.integers(3, 9))) for _ in range(120)]
    table = pd.DataFrame({"text": texts, "label": [t.split()[-1] for t in texts], "group": np.arange(120) // 3})
    table.to_csv(tmp_path / "labels.csv", index=False)
    return tmp_path / "labels.csv"


@pytest.fixture
def tiny(monkeypatch):
    models = tiny_model(0), tiny_model(1)
    monkeypatch.setattr("interp.models.load_model", lambda name, **kw: models[kw.get("weights") == "random"])


def test_the_command_writes_tables_and_figure(labels, tiny, tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        main(["probe", "--labels", str(labels), "--site", "resid_post.1", "--permutations", "9", "--out", str(out)])
        == 0
    )
    assert {p.name for p in out.iterdir()} == {"tables", "probe.pdf", "probe.png"}
    printed = capsys.readouterr().out
    assert "resid_post.1" in printed
    assert "selectivity" in printed
    assert set(pd.read_parquet(out / "tables" / "chosen.parquet")["role"]) >= {"chosen", "embedding"}


def test_help_has_examples(capsys):
    assert main(["probe", "--help"]) == 0
    assert "interp probe --labels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--labels", "nowhere.csv"], "there is no file"),
        (["--labels", "L", "--site", "resid_pots.1"], "Nearest: resid_post,"),
        (["--labels", "L", "--permutations", "0"], "--permutations is 0"),
        (["--labels", "L", "--task", "numbers"], "no numbers"),
        (["--labels", "L", "--out", "L"], "is a file"),
    ],
)
def test_mistakes_get_one_line_and_exit_2(words, message, labels, tiny, capsys):
    assert main(["probe", *(str(labels) if w == "L" else w for w in words)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def write(tmp_path, text, name="l.csv"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("txt,label\n" + "a,b\n" * 12, "no column 'text'"),
        ("text,label\n" + "a,b\n" * 12 + ",b\n", "1 of 13 rows have no text"),
        ("text,label\n" + "a,\n" * 12, "12 of 12 rows have no label"),
        ("text,label,group\n" + "a,b,\n" * 12, "no group"),
        ("text,label\na,b\n", "has 1 rows"),
        ("text,label\n" + "".join(f"a,{i}\n" for i in range(30)), "--task classes or --task numbers"),
        ("", "cannot be read"),
        ("text,label\n" + "a,b\n" * 12 + "a,b,c,d\n", "cannot be read"),
    ],
)
def test_files_that_leave_something_open_are_refused(tmp_path, text, message):
    with pytest.raises(InvalidInput, match=message) as error:
        read_labelled_texts(write(tmp_path, text))
    assert "\n" not in str(error.value)


def test_labels_are_numbers_or_classes_as_the_file_or_the_caller_says(tmp_path):
    whole = write(tmp_path, "text,label\n" + "".join(f"a,{i % 12}\n" for i in range(36)))
    assert read_labelled_texts(whole).labels.dtype == object
    assert read_labelled_texts(whole, "numbers").labels.dtype == np.float64
    fractions = write(tmp_path, "text,label\n" + "".join(f"a,{i}.5\n" for i in range(36)))
    assert read_labelled_texts(fractions).labels.dtype == np.float64
    assert read_labelled_texts(fractions, "classes").labels.dtype == object
    namibia = write(tmp_path, "text,label\n" + "a,NA\nb,DE\n" * 6)
    assert set(read_labelled_texts(namibia).labels) == {"NA", "DE"}


def test_tsv_and_parquet_are_read_alike(tmp_path, labels):
    table = pd.read_csv(labels, dtype=str)
    table.to_csv(tmp_path / "l.tsv", sep="\t", index=False)
    table.to_parquet(tmp_path / "l.parquet")
    found = [read_labelled_texts(p) for p in (labels, tmp_path / "l.tsv", tmp_path / "l.parquet")]
    for other in found[1:]:
        assert other.texts == found[0].texts
        assert (other.labels == found[0].labels).all()
        assert other.groups is not None
        assert (other.groups == found[0].groups).all()
    with pytest.raises(InvalidInput, match=r"\.txt"):
        read_labelled_texts(write(tmp_path, "x", "l.txt"))
