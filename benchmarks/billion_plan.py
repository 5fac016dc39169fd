"""The tables of docs/howto/billion-samples.md, from what bench_selection.py measured and from arithmetic.

python benchmarks/billion_plan.py          # writes them between the markers of the page
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from interp.store import atomic_write_bytes

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "howto" / "billion-samples.md"
MEASURED = ROOT / "benchmarks" / "results" / "selection.json"

ROWS, TOKENS = 1_000_000_000, 391  # tokens a row: the mean of OpenHermes (Ma et al. 2025)
SHARD_ROWS = 65_536
D_MODEL, D_SAE, PARAMETERS, DEPTH = 4_096, 131_072, 8.0e9, 0.5  # an 8B model, read at half depth; TopK SAE, 32x
PEAK_16, PEAK_32, USED = 989e12, 67e12, 0.4  # H100 SXM, dense: bfloat16 and float32 operations a second; share reached
HOURS, GPUS_A_MACHINE, CORES = 48, 8, 32


def tables(measured: dict[str, Any]) -> dict[str, str]:
    """Return the text between each pair of markers."""
    return {"constants": constants(measured), "gpu": gpu_hours(), "disk": disk(measured), "cpu": cpu_hours(measured),
            "again": again(measured)}  # fmt: skip


def constants(measured: dict[str, Any]) -> str:
    """Return what was measured here."""
    coding, shards, memory = (measured[name] for name in ("coding", "shards", "memory"))
    rate = coding["tokens_per_cpu_second"]
    growth = {name: part["bytes_more_a_row"] for name, part in memory.items()}
    scoring, coding_growth = growth.values()
    return _table(
        ("measured on one core, bundled model", "value"),
        [
            ("forward pass to the layer of the SAE, tokens/s", f"{rate['forward pass to the layer']:,}"),
            ("the same, with SAE and pooling", f"{rate['forward pass, SAE and pooling']:,}"),
            ("coding over the bare pass", f"{coding['coding_over_forward']}x"),
            ("tokenising, tokens/s", f"{rate['tokenising and choosing tokens']:,}"),
            ("bytes of an entry on the disk", f"{shards['bytes_an_entry']}"),
            ("bytes of a row of the table", f"{shards['bytes_a_row_of_the_table']:.0f}"),
            ("entries read and checked a second", f"{shards['million_entries_read_and_checked_per_cpu_second']:.0f} M"),
            ("entries scored a second, in memory", f"{_scored(measured) / 1e6:.0f} M"),
            ("memory that a row adds to scoring, bytes", f"{max(0.0, scoring):.0f}"),
            ("memory that a row adds to coding, bytes, with mean activations", f"{coding_growth:,.0f}"),
        ],
    )


def gpu_hours() -> str:
    """Return GPU hours and machines of the coding: estimates, for no GPU was at hand."""
    tokens = ROWS * TOKENS
    forward = 2 * PARAMETERS * DEPTH / (PEAK_16 * USED)
    encoder = 2.0 * D_MODEL * D_SAE
    ways = {
        "forward pass alone": forward,
        "with the encoder in float32, as it is on GPUs now": forward + encoder / (PEAK_32 * USED),
        "with the encoder screened in 16 bit, as on the CPU": forward + 1.1 * encoder / (PEAK_16 * USED),
    }
    rows = []
    for name, seconds in ways.items():
        hours = tokens * seconds / 3600
        machines = -(-hours // (HOURS * GPUS_A_MACHINE))
        rows.append((name, f"{1 / seconds:,.0f}", f"{hours:,.0f}", f"{machines:.0f}"))
    return _table(
        (
            "estimate: 8B, half depth, H100",
            "tokens/s a GPU",
            "GPU hours",
            f"machines of {GPUS_A_MACHINE} for {HOURS} h",
        ),
        rows,
    )


def disk(measured: dict[str, Any]) -> str:
    """Return bytes a row, terabytes and size of a shard by how many entries are kept."""
    an_entry, a_row = (measured["shards"][name] for name in ("bytes_an_entry", "bytes_a_row_of_the_table"))
    rows = []
    for kept, name in ((2_000, "all, say 2,000"), (512, "512"), (256, "256"), (128, "128")):
        size = an_entry * kept + a_row
        rows.append((name, f"{size:,.0f}", f"{ROWS * size / 1e12:.1f}", f"{SHARD_ROWS * size / 1e6:,.0f}"))
    rows.append(("mean activations, where kept", f"{4 * D_MODEL:,}", f"{ROWS * 4 * D_MODEL / 1e12:.1f}",
                 f"{SHARD_ROWS * 4 * D_MODEL / 1e6:,.0f}"))  # fmt: skip
    return _table(("entries kept (`--top`)", "bytes a row", "TB", f"MB a shard of {SHARD_ROWS:,} rows"), rows)


def cpu_hours(measured: dict[str, Any]) -> str:
    """Return the core hours of one pass of scoring, and the hours of one machine."""
    read = 1e6 * measured["shards"]["million_entries_read_and_checked_per_cpu_second"]
    many = 1e6 * measured["scoring"]["million_entries_per_second"]["numba, 64 prototypes, one pass"]
    rows = []
    for kept in (2_000, 256):
        for name, rate in (("1", _scored(measured)), ("64, one pass", many)):
            hours = ROWS * kept * (1 / read + 1 / rate) / 3600
            rows.append((f"{kept:,}", name, f"{hours:.1f}", f"{60 * hours / CORES:.0f}"))
    return _table(("entries a row", "prototypes", "core hours: read, check, score", f"minutes on {CORES} cores"), rows)


def again(measured: dict[str, Any]) -> str:
    """Return the share of the rows that had to be coded whole again, by how many entries were kept."""
    found, entries = measured["coded_again_of_cut_rows"], measured["shards"]["entries_a_row"]
    rows = []
    for name, counts in found["again"].items():
        kept, method = name.split(" entries kept, ")
        shares = (f"{100 * counts[how] / found['rows']:.0f} %" for how in ("all at once", "best first"))
        rows.append((f"{kept} of {entries:.0f}", method, *shares))
    picked = f"{100 * found['picks'] / found['rows']:.0f} %"
    return _table(("entries kept", "method", "coded again, all at once", f"best first, for a pick of {picked}"), rows)


def _scored(measured: dict[str, Any]) -> float:
    return 1e6 * measured["shards"]["million_entries_scored_per_cpu_second"]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---", *["---:"] * (len(head) - 1)), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def filled(page: str, parts: dict[str, str]) -> str:
    """Return the page with what stands between each pair of markers replaced."""
    for name, text in parts.items():
        begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
        before, found, rest = page.partition(begin)
        if not found or end not in rest:
            raise SystemExit(f"{PAGE} has no markers for {name!r}.")
        page = before + begin + text + end + rest.partition(end)[2]
    return page


if __name__ == "__main__":
    page = filled(PAGE.read_text(), tables(json.loads(MEASURED.read_text())))
    atomic_write_bytes(PAGE, page.encode())
