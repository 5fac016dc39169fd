"""The main job on the bundled model, timed from a fresh process: seconds, and what it found.

python benchmarks/bench_report.py          # writes benchmarks/results/report.json
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from analyses.job import DEFAULT_SAE, RunConfig, run_job
from analyses.registry import ANALYSES
from interp.provenance import versions
from interp.store import atomic_write_bytes

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run `interp run` twice in a new folder (the second time everything is done) and write the figures."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "atlas"
        command = [sys.executable, "-c", "from analyses.cli import entry; entry()", "run", "--out", str(folder)]
        seconds = []
        for _ in range(2):
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds.append(time.perf_counter() - began)
        summary = pd.read_parquet(folder / "geospatial" / "summary.parquet")
        finished = run_job(RunConfig(), folder)  # everything is done: this reads what was found
        page = (folder / "report.html").stat().st_size
    results = {
        "what": "interp run on the bundled model in a fresh process, wall seconds",
        "seconds": round(seconds[0], 1),
        "seconds_when_finished": round(seconds[1], 1),
        "report_bytes": page,
        "site": DEFAULT_SAE["atlas"].split("/")[1],
        "headlines": [
            {"analysis": name, "question": ANALYSES[name].question, "text": head.text, "null": head.null}
            for name, head in finished.headlines.items()
        ],
        "summary": json.loads(summary.to_json(orient="records")),
        "machine": {"cores": os.cpu_count(), "machine": platform.machine(), "load": round(os.getloadavg()[0], 1)},
        "versions": {k: v for k, v in versions().items() if k != "commit"},
    }
    atomic_write_bytes(RESULTS / "report.json", (json.dumps(results, indent=2) + "\n").encode())
    print(json.dumps(results["summary"][0], indent=2), results["seconds"])


if __name__ == "__main__":
    main()
