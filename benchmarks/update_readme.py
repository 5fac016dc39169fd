"""Write the numbers of the README from the files that other scripts wrote; a test fails when they are stale.

python benchmarks/update_readme.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from interp.store import atomic_write_bytes

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- numbers: written by benchmarks/update_readme.py -->\n", "<!-- end of numbers -->"


def read(name: str) -> dict[str, Any]:
    """Return one file of benchmarks/results."""
    return json.loads((ROOT / "benchmarks" / "results" / name).read_text())


def study_table(report: dict[str, Any]) -> list[str]:
    """Return the summary of the main job as a Markdown table."""
    lines = [
        f"What it finds ({report['summary'][0]['n_places']:,} cities, each the prompt of its name alone, "
        f"`resid_post.1`, false discovery rate {report['summary'][0]['q_cut']:g}; {report['seconds']:.0f} s on "
        f"{report['machine']['cores']} cores):",
        "",
        "| condition | unit | tested | significant | also within countries | median I | largest I |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["summary"]:
        counted = row["n_within_country"] is not None
        within = f"{row['n_within_country']:.0f}" if counted else row["within_country"]
        lines.append(
            f"| {row['condition']} | {row['unit']}s | {row['n_tested']:,} | {row['n_significant']:,} | {within} | "
            f"{row['median_I']:.3f} | {row['max_I']:.3f} |"
        )
    return lines


def speed_lines(moran: dict[str, Any], capture: dict[str, Any]) -> list[str]:
    """Return the benchmark ratios as sentences."""
    rows = moran["rows"]
    ratios = "; ".join(f"{name.replace('sparse', '1 % dense')}: {row['ratio']:.0f}x" for name, row in rows.items())
    lines = [
        f"Speed: Moran's I a feature beside a loop over `esda.Moran` ({moran['n_places']:,} places, CPU time, one "
        f"thread): {ratios}."
    ]
    for name, model in capture["models"].items():
        ways = model["ways"]
        lines.append(
            f"Capture of one site on {name}: {ways['capture_last']['time_over_hf_sliced']:.2f} times the bare forward "
            "pass to that layer; `run_with_cache` of one hook "
            f"{ways['run_with_cache_one_hook']['time_over_hf_sliced']:.2f} times."
        )
    return lines


def block() -> str:
    """Return what stands between the markers."""
    lines = [*study_table(read("report.json")), "", *speed_lines(read("moran.json"), read("capture.json"))]
    return "\n".join(lines) + "\n"


def updated(readme: str) -> str:
    """Return the README with the block replaced."""
    before, rest = readme.split(BEGIN)
    return before + BEGIN + block() + END + rest.split(END, 1)[1]


def main() -> None:
    """Rewrite README.md."""
    path = ROOT / "README.md"
    atomic_write_bytes(path, updated(path.read_text()).encode())


if __name__ == "__main__":
    main()
