"""Work units: what is finished is kept, what is not is done, and nobody can tell by whom."""

from __future__ import annotations

import logging
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from interp.errors import CorruptArtifact, InvalidInput
from interp.store import Store, make_key
from interp.work import load_units, merge_tables, pending, rank_and_world, run_units, shard

UNITS = [f"layer_{i:02d}" for i in (3, 0, 2, 1, 4)]


def name_of(unit: str) -> str:
    return f"probe/{unit}.parquet"


def key_of(unit: str, k: int = 8):
    return make_key({"unit": unit, "k": k}, {}, code_version="1")


class Counting:
    """Computes a small table and remembers for which units."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, unit: str) -> pd.DataFrame:
        self.asked.append(unit)
        return pd.DataFrame({"unit": [unit, unit], "r2": np.arange(2) / 3})


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path) as opened:
        yield opened


def run(store, compute, units=UNITS, **options):
    return run_units(units, compute, store=store, name_of=name_of, key_of=key_of, rank=0, world=1, **options)


def test_each_unit_is_computed_once_and_never_again(store):
    compute = Counting()
    first, second = run(store, compute), run(store, compute)
    assert compute.asked == sorted(UNITS)
    assert (first.computed, first.skipped) == (tuple(sorted(UNITS)), ())
    assert (second.computed, second.skipped, second.redone) == ((), tuple(sorted(UNITS)), {})


def test_values_may_come_from_elsewhere_in_any_order(store):
    here, asked = Counting(), []

    def elsewhere(units):
        asked.append(list(units))
        for unit in reversed(units):
            yield unit, Counting()(unit)

    run(store, here, units=UNITS[:2])
    report = run(store, here, values=elsewhere)
    assert asked == [sorted(UNITS[2:])]
    assert report.computed == tuple(sorted(UNITS[2:]))
    assert here.asked == sorted(UNITS[:2])
    assert run(store, here, values=elsewhere).computed == ()


def test_a_source_of_values_is_closed_where_one_cannot_be_stored(store):
    closed = []

    def elsewhere(units):
        try:
            for unit in units:
                yield unit, (1, 2)
        finally:
            closed.append(True)

    with pytest.raises(InvalidInput, match="gave 2 values for 1 names"):
        run(store, Counting(), values=elsewhere)
    assert closed == [True]


def test_order_of_the_units_does_not_change_the_merged_table(tmp_path):
    merged = []
    for i, units in enumerate((UNITS, UNITS[::-1])):
        with Store(tmp_path / str(i)) as store:
            run(store, Counting(), units)
            merged.append(merge_tables(units, store=store, name_of=name_of, key_of=key_of))
    pd.testing.assert_frame_equal(merged[0], merged[1], check_exact=True)
    assert merged[0]["unit"].tolist() == [unit for unit in sorted(UNITS) for _ in range(2)]
    assert merged[0].index.tolist() == list(range(10))


def test_a_corrupt_unit_is_named_and_it_alone_is_redone(store, caplog):
    run(store, Counting())
    path = store.root / name_of("layer_02")
    before = path.read_bytes()
    path.write_bytes(before[:-9])
    compute = Counting()
    with caplog.at_level(logging.WARNING):
        report = run(store, compute)
    assert compute.asked == ["layer_02"]
    assert list(report.redone) == ["layer_02"]
    assert "corrupt" in report.redone["layer_02"]
    assert "layer_02" in caplog.text
    assert "layer_02" in report.text()
    assert path.read_bytes() == before


def test_deleting_any_file_of_a_finished_run_reruns_exactly_that_unit(store):
    run(store, Counting())
    for unit in UNITS:
        (store.root / name_of(unit)).unlink()
        compute = Counting()
        run(store, compute)
        assert compute.asked == [unit]


def test_a_changed_key_makes_the_unit_stale_and_says_what_changed(store):
    run(store, Counting())
    reasons = pending(UNITS, store, name_of=name_of, key_of=lambda u: key_of(u, 16 if u == "layer_01" else 8))
    assert reasons == {"layer_01": "stale: config.k: 8 -> 16"}


def test_an_interrupt_leaves_the_finished_units(store):
    def compute(unit):
        if unit == "layer_02":
            raise KeyboardInterrupt
        return Counting()(unit)

    with pytest.raises(KeyboardInterrupt):
        run(store, compute)
    rest = Counting()
    run(store, rest)
    assert rest.asked == ["layer_02", "layer_03", "layer_04"]


def test_an_error_names_its_unit(store):
    def compute(unit):
        raise ZeroDivisionError("no")

    with pytest.raises(ZeroDivisionError) as caught:
        run(store, compute)
    assert "layer_00" in "".join(caught.value.__notes__)


def test_a_unit_of_two_artefacts_is_done_when_both_are(store):
    def names(unit):
        return (f"{unit}.parquet", f"{unit}.json")

    def compute(unit):
        return Counting()(unit), {"unit": unit}

    about = {"store": store, "name_of": names, "key_of": key_of}
    run_units(["a", "b"], compute, **about, rank=0, world=1)
    (store.root / "a.json").unlink()
    assert list(pending(["a", "b"], store, name_of=names, key_of=key_of)) == ["a"]
    run_units(["a", "b"], compute, **about, rank=0, world=1)
    assert load_units(["b", "a"], **about)["a"][1] == {"unit": "a"}
    with pytest.raises(InvalidInput, match="1 values for 2 names"):
        run_units(["c"], Counting(), **about, rank=0, world=1)


def test_merging_refuses_a_missing_a_stale_and_a_corrupt_unit(store):
    run(store, Counting(), UNITS[:4])
    about = {"store": store, "name_of": name_of}
    with pytest.raises(InvalidInput, match=r"layer_04 \(missing"):
        merge_tables(UNITS, **about, key_of=key_of)
    with pytest.raises(InvalidInput, match=r"stale: config\.k"):
        merge_tables(UNITS[:4], **about, key_of=lambda u: key_of(u, 16))
    (store.root / name_of("layer_00")).write_bytes(b"PAR1")
    with pytest.raises(CorruptArtifact, match="layer_00"):
        merge_tables(UNITS[:4], **about, key_of=key_of)


def test_merging_refuses_tables_of_other_columns(store):
    def compute(unit):
        return pd.DataFrame({"a" if unit == "layer_00" else "b": [1]})

    run(store, compute)
    with pytest.raises(InvalidInput, match="cannot be merged"):
        merge_tables(UNITS, store=store, name_of=name_of, key_of=key_of)


def test_ids_and_names_must_be_unique(store):
    with pytest.raises(InvalidInput, match="occur more than once"):
        run(store, Counting(), ["a", "a"])
    with pytest.raises(InvalidInput, match="would both be stored"):
        run_units(["a", "b"], Counting(), store=store, name_of=lambda u: "x.json", key_of=key_of, rank=0, world=1)


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_shards_cover_every_unit_once_whatever_the_order(world):
    shards = [shard(UNITS[::-1], rank, world) for rank in range(world)]
    assert sorted(unit for part in shards for unit in part) == sorted(UNITS)
    assert shards == [shard(UNITS, rank, world) for rank in range(world)]
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize(("rank", "world"), [(-1, 2), (2, 2), (0, 0)])
def test_a_rank_outside_its_world_is_refused(rank, world):
    with pytest.raises(InvalidInput, match="does not exist"):
        shard(UNITS, rank, world)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (0, 1)),
        ({"RANK": "1", "WORLD_SIZE": "4"}, (1, 4)),
        ({"SLURM_PROCID": "2", "SLURM_NTASKS": "3"}, (2, 3)),
        ({"RANK": "0", "WORLD_SIZE": "2", "SLURM_PROCID": "5", "SLURM_NTASKS": "9"}, (0, 2)),
        ({"SLURM_NTASKS": "3"}, (0, 1)),
    ],
)
def test_rank_comes_from_torchrun_then_srun(environment, expected):
    assert rank_and_world(environment) == expected


@pytest.mark.parametrize(
    "environment",
    [{"RANK": "1"}, {"WORLD_SIZE": "2"}, {"RANK": "x", "WORLD_SIZE": "2"}, {"RANK": "2", "WORLD_SIZE": "2"},
     {"SLURM_PROCID": "0"}, {"RANK": "-1", "WORLD_SIZE": "2"}],
)  # fmt: skip
def test_half_a_rank_is_refused(environment):
    with pytest.raises(InvalidInput, match="do not describe a rank"):
        rank_and_world(environment)


def test_several_ranks_need_a_store_opened_for_each(store):
    with pytest.raises(InvalidInput, match="rank=1"):
        run_units(UNITS, Counting(), store=store, name_of=name_of, key_of=key_of, rank=1, world=2)


def test_two_processes_at_once_leave_one_sound_store(tmp_path):
    code = """
import sys
from interp.store import Store, make_key
from interp.work import run_units
with Store(sys.argv[1], rank=int(sys.argv[2])) as store:
    input()
    run_units([f"u{i:03d}" for i in range(60)], lambda u: {"unit": u}, store=store, rank=int(sys.argv[2]), world=2,
              name_of=lambda u: f"{u}.json", key_of=lambda u: make_key({"u": u}, {}, code_version="1"))
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(rank)], stdin=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0]
    with Store(tmp_path, readonly=True) as store:
        values = load_units(
            [f"u{i:03d}" for i in range(60)],
            store=store,
            name_of=lambda u: f"{u}.json",
            key_of=lambda u: make_key({"u": u}, {}, code_version="1"),
        )
        assert values == {f"u{i:03d}": {"unit": f"u{i:03d}"} for i in range(60)}
        assert set(store.status()["state"]) == {"done"}
    assert len(list(tmp_path.glob("manifest.rank*.jsonl"))) == 2
