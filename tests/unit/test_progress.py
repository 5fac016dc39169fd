"""Progress: a bar where somebody watches, a line now and then where nobody does."""

from __future__ import annotations

import sys

import pytest

from interp.errors import InvalidInput
from interp.progress import progress


def ticking(step: float):
    now = [0.0]

    def clock() -> float:
        now[0] += step
        return now[0]

    return clock


def test_nothing_is_written_where_nobody_watches_and_the_run_is_short(capsys):
    assert list(progress(range(100), desc="probe")) == list(range(100))
    assert capsys.readouterr() == ("", "")


def test_a_long_run_writes_one_line_every_n_seconds(capsys):
    list(progress(iter(range(10)), 10, desc="probe", unit="layer", every_seconds=3, clock=ticking(1.0)))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "probe: 2 of 10 layers, 0.67 layers/s, about 12 s left",
        "probe: 5 of 10 layers, 0.83 layers/s, about 6 s left",
        "probe: 8 of 10 layers, 0.89 layers/s, about 2 s left",
    ]


def test_an_unknown_total_is_not_invented(capsys):
    list(progress(iter(range(4)), unit="file", every_seconds=2, clock=ticking(1.0)))
    assert capsys.readouterr().err.splitlines()[0] == "1 files, 0.50 files/s"


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(progress([1, 2], desc="probe")) == [1, 2]
    assert "probe" in capsys.readouterr().err


def test_a_period_that_is_not_positive_is_refused():
    with pytest.raises(InvalidInput, match="every_seconds"):
        progress([], every_seconds=0)
