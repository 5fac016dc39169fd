"""Dashboards of latents of the bundled model: how many a CPU second of one thread, and how large they are.

Run with one thread: OMP_NUM_THREADS=1 python benchmarks/bench_dashboards.py
2,000 texts are read once a page; what a further latent costs is the difference of a large and a small page. CPU seconds
and not wall seconds, the least of three. Writes benchmarks/results/dashboards.json.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from analyses.attention import decoder_head_share, direct_feature_attribution
from analyses.dashboards import dashboard_data, dashboard_page
from interp.atlas import facts
from interp.atlas.saes import SAE_TEXT_SEED, FreshTexts
from interp.models import Model, load_model
from interp.provenance import versions
from interp.sae import load_sae
from interp.store import atomic_write_bytes

RESULTS = Path(__file__).parent / "results" / "dashboards.json"
SAES, FEW, MANY, N_TEXTS, REPEATS = ("atlas/resid_post.2", "atlas/z.2"), 20, 120, 2000, 3


def least(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the least CPU seconds of some calls, and what the last gave."""
    seconds, made = [], None
    for _ in range(REPEATS):
        began = time.process_time()
        made = call()
        seconds.append(time.process_time() - began)
    return min(seconds), made


def measure(name: str, model: Model, texts: list[str]) -> dict[str, Any]:
    """Return seconds and bytes of pages of a few and of many latents of an SAE."""
    sae, more = load_sae(name), {}
    if "/z." in name:
        more = {"attribution": direct_feature_attribution, "head_share": decoder_head_share(sae)}
    row: dict[str, Any] = {}
    for n in (FEW, MANY):
        chosen = range(0, sae.config.d_sae, sae.config.d_sae // n)[:n]
        data_seconds, data = least(lambda chosen=chosen: dashboard_data(sae, chosen, model=model, texts=texts, **more))
        page_seconds, page = least(lambda data=data: dashboard_page(data))
        row[str(n)] = {
            "data_seconds": round(data_seconds, 2), "page_seconds": round(page_seconds, 2), "bytes": len(page.encode()),
            "dashboards_per_second": round(n / (data_seconds + page_seconds), 2),
        }  # fmt: skip
    few, many = (row[str(n)]["data_seconds"] + row[str(n)]["page_seconds"] for n in (FEW, MANY))
    return row | {"seconds_a_further_latent": round((many - few) / (MANY - FEW), 4)}


def main() -> None:
    """Measure a residual SAE, and one on z with attribution, and write the figures."""
    torch.set_num_threads(1)
    model = load_model("atlas")
    texts = list(islice(FreshTexts(facts(), SAE_TEXT_SEED + 1), N_TEXTS))
    results = {
        "what": f"pages of {FEW} and {MANY} latents over {N_TEXTS} texts, CPU seconds of one thread",
        "saes": {name: measure(name, model, texts) for name in SAES},
        "machine": {"cores": os.cpu_count(), "machine": platform.machine(), "load": round(os.getloadavg()[0], 1)},
        "versions": {k: v for k, v in versions().items() if k in ("python", "torch", "numpy", "scipy", "pandas")},
    }
    atomic_write_bytes(RESULTS, (json.dumps(results, indent=2) + "\n").encode())
    print(json.dumps(results["saes"], indent=2))


if __name__ == "__main__":
    main()
