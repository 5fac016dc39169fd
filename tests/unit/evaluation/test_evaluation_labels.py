"""Texts with labels: of the bundled facts and from files, none with two labels, none too rare to probe."""

from __future__ import annotations

from collections import Counter

import pandas as pd
import pytest

from analyses.evaluation.label_sets import MIN_ROWS, OTHER, label_sets_of, labelled, read_label_set
from interp.atlas import facts
from interp.errors import InvalidInput


@pytest.fixture(scope="module")
def sets():
    return label_sets_of(facts(), seed=0)


def test_facts_give_every_set_with_labels_to_probe(sets):
    assert len(sets) == 5
    for texts, labels in sets.values():
        counts = Counter(labels)
        assert len(texts) == len(labels) == len(set(texts))
        assert sum(n >= MIN_ROWS for n in counts.values()) >= 3
        assert all(n >= MIN_ROWS for label, n in counts.items() if label != OTHER)


def test_cities_have_their_own_continent_and_country(sets):
    continent = dict(zip(*sets["continent of the city"], strict=True))
    country = dict(zip(*sets["country of the city"], strict=True))
    assert (continent["Osaka"], country["Osaka"]) == ("Asia", "Japan")


def test_instructions_end_before_their_answer(sets):
    plural = [t for t, s in zip(*sets["skill of the instruction"], strict=True) if s == "plural"]
    pairs = facts().pairs["plural"]
    answers = [text for text in plural if any(text.endswith(answer) for answer in pairs.values())]
    assert plural
    assert len(answers) < len(plural) / 4  # a word whose plural is itself may stand last


def test_seed_draws_the_instructions():
    one, same, other = (label_sets_of(facts(), seed=s)["skill of the instruction"].texts for s in (0, 0, 1))
    assert one == same
    assert one != other


def test_text_with_two_labels_is_left_out_and_a_copy_is_kept_once():
    rest = [str(i) for i in range(40)]
    texts, labels = labelled(["a", "b", "a", "b", *rest], ["x", "x", "y", "x"] + ["x"] * 20 + ["y"] * 20)
    assert texts == ["b", *rest]
    assert Counter(labels) == {"x": 21, "y": 20}


def test_rare_labels_become_one():
    labels = labelled([str(i) for i in range(30)], ["x"] * 20 + ["y"] * 5 + ["z"] * 5).labels
    assert Counter(labels) == {"x": 20, OTHER: 10}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_file_is_read_as_it_is_written(tmp_path, suffix):
    frame = pd.DataFrame({"text": [f"NA {i}" for i in range(40)], "label": ["NA", "FR"] * 20})
    path = tmp_path / f"l{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, sep="," if suffix == ".csv" else "\t", index=False)
    texts, labels = read_label_set(path)
    assert texts == frame["text"].tolist()
    assert labels.tolist() == ["NA", "FR"] * 20  # Namibia is no missing value


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "texts,label\nx,y\n", "nearest: texts"),
        ("a.csv", "text,label\n", "no row"),
        ("a.csv", "text,label\nx,y\n", "a label needs 20"),
        ("a.csv", "text,label\n ,y\n", "empty text"),
        ("a.txt", "", r"\.csv"),
        ("a.parquet", "nonsense", "cannot be read"),
    ],
)
def test_file_that_holds_no_labels_is_refused(tmp_path, name, content, says):
    (tmp_path / name).write_text(content)
    with pytest.raises(InvalidInput, match=says):
        read_label_set(tmp_path / name)
