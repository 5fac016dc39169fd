"""Can the published score be made better? Variants of it on three skills, and which one goes on to the other five.

Run with one thread: OMP_NUM_THREADS=1 python benchmarks/bench_selection_variants.py
Skills, pools and SAEs are those of bench_selection_worth.py: variants are tried on its first three skills, and nothing
of the other five is looked at. A variant is which tokens are pooled (all, or those of the answer; of plain text all),
the site whose SAE codes them, and a score. There is no tuning here: the measure is the share of the pick that has the
right skill and the right answer, at the same budget.

The rule, written before the run: of all variants of an SAE's codes the one with the largest mean share over 3 skills x
3 seeds goes on, the first of equals. So does, as its rival, the best of the scores without an SAE (mean activation,
centred or not, of the same sites and tokens), chosen in the same way. About 8 CPU minutes; the rows of a finished seed
are kept in --work. Writes benchmarks/results/selection_variants.json.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from bench_selection_worth import BUDGET, POOL, SAES, TASKS, tuning
from scipy.stats import spearmanr

from analyses.data_selection.finetuning import token_rows
from analyses.data_selection.methods import StandardMethods
from analyses.data_selection.picking import select
from analyses.data_selection.relevance import contrasted, mona_scores, prototype_of
from analyses.data_selection.worth_skills import FORM, skill_pool
from interp.atlas.facts import facts
from interp.models import load_model
from interp.sae import load_sae
from interp.store import atomic_write_bytes

RESULTS = Path(__file__).parent / "results" / "selection_variants.json"
SKILLS = TASKS[:3]
TOKENS = ("all", "answer")
SITES = ("resid_post.1", "resid_post.2", "resid_post.3", "resid_post.4", "mlp_out.2", "mlp_out.3", "z.2", "z.3")
SCORES = (
    "mona", "background", "matched", "contrast", "adjusted", "cosine", "each-target", "causal", "causal contrast",
    "contrast with other tasks",
)  # fmt: skip
DENSE = ("residual", "residual-centred")


def one_score(name: str, methods: StandardMethods, mine: list[Any], others: list[list[Any]], seed: int) -> np.ndarray:
    """Return the scores of the pool for the examples `mine`; others: the examples of the other tasks."""
    pool = methods.coded
    if name == "causal contrast":
        return mona_scores(pool, contrasted(methods.causal_prototype(mine), pool.mean))
    if name == "contrast with other tasks":
        own, *rest = (prototype_of(methods.code_examples(rows), pool.n_features) for rows in (mine, *others))
        return mona_scores(pool, contrasted(own, np.mean(rest, axis=0)))
    return methods.scores(name, mine, seed)


def one_seed(seed: int, models: Any) -> list[dict[str, Any]]:
    """Return one row a variant and skill: share of the pick that is relevant, and how the ranking hangs on length."""
    selector, trainee = models
    pool, targets = skill_pool(facts().corpus(), SKILLS, seed=seed, **POOL)
    examples = {task: list(target.examples) for task, target in targets.items()}
    read = token_rows(trainee, pool, tuning(1e-4))
    n_tokens = np.array([len(row[0]) for row in read if row is not None])
    rows = []
    for site in SITES:
        sae = load_sae(f"atlas/{SAES[seed % len(SAES)] if site == 'resid_post.2' else site}")
        for tokens in TOKENS:
            methods = StandardMethods(pool, selector, sae, template=FORM, seed=seed, tokens=tokens)
            for task, target in targets.items():
                others = [rows for other, rows in examples.items() if other != task]
                for name in (*SCORES, *DENSE):
                    scores = one_score(name, methods, examples[task], others, seed)
                    table = select(scores, BUDGET, n_tokens=n_tokens)
                    chosen = table["selected"].to_numpy()
                    best = scores if scores.ndim == 1 else scores.max(axis=1)
                    rho: Any = spearmanr(best, n_tokens)
                    rows.append({"site": site, "tokens": tokens, "score": name, "task": task, "seed": seed,
                                 "relevant": float(target.labels["relevant"][chosen].mean()),
                                 "rho_length": float(rho.statistic)})  # fmt: skip
        print(f"seed {seed}, {site}", flush=True)
    return rows


def summary(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return one row a variant, in the order in which they were tried: mean share, standard error, n, mean rho."""
    table = pd.DataFrame(rows)
    groups: Any = table.groupby(["site", "tokens", "score"], sort=False)
    found = (
        groups["relevant"].agg(["mean", "sem", "size"]).rename(columns={"mean": "relevant", "sem": "se", "size": "n"})
    )
    return found.assign(rho_length=groups["rho_length"].mean()).round(6).reset_index()


def chosen(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the best variant of codes and the best without an SAE, the first of equals."""
    dense = table["score"].isin(DENSE)
    out = {}
    for name, mine in (("sae", ~dense), ("dense", dense)):
        part: Any = table[mine]
        best = part.loc[part["relevant"].idxmax()]
        out[name] = {key: best[key] for key in ("site", "tokens", "score", "relevant")}
    return out


def main() -> None:
    """Run all variants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("runs/selection_worth"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    models = load_model("atlas"), load_model("atlas@step92")
    rows = []
    for seed in range(args.seeds):
        kept = args.work / f"variants-{seed}.json"
        if not kept.exists():
            atomic_write_bytes(kept, json.dumps(one_seed(seed, models)).encode())
        rows += json.loads(kept.read_text())
    table = summary(rows)
    record = {
        "skills": list(SKILLS), "seeds": args.seeds, "budget": BUDGET, "pool": POOL, "rule": "largest mean share",
        "chosen": chosen(table), "variants": table.to_dict("records"),
    }  # fmt: skip
    atomic_write_bytes(args.out, (json.dumps(record, indent=1) + "\n").encode())
    print(json.dumps(record["chosen"], indent=1))


if __name__ == "__main__":
    main()
