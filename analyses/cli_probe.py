"""`interp probe`: what can be read out of each layer."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from analyses.terminal import print_table, say


def probe(
    *,
    labels: Path,
    model: str = "atlas",
    site: list[str] | None = None,
    bos: Literal["always", "never", "tokenizer"] | None = None,
    kind: Literal["ridge", "logistic", "mass_mean", "mlp"] = "ridge",
    task: Literal["auto", "classes", "numbers"] = "auto",
    pool: Literal["last", "mean", "max"] = "last",
    permutations: int | None = None,
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Probe every layer for the labels of texts, beside random weights, the embedding and permuted labels.

    Examples:
      interp probe --labels countries.csv
      interp probe --labels labels.csv --model ./my-model --bos always --site resid_post.3 --site resid_post.6
      interp probe --labels years.tsv --task numbers --kind mlp --permutations 19 --out runs/years

    Parameters
    ----------
    labels
        CSV, TSV or parquet file with the columns text and label, and maybe group: its rows are held out together.
    model
        "atlas", a folder in Hugging Face format, or a Hugging Face name.
    site
        Where to read; repeatable. Default resid_post of every layer.
    bos
        BOS policy; default that of the model card. A model without a card needs one.
    kind
        Probe. ridge is fast; mass_mean and logistic tell classes alone.
    task
        Whether labels are classes or numbers, where the file leaves it open.
    pool
        Over the tokens of a text.
    permutations
        Refits with permuted labels; default 199 for ridge and mass_mean, 19 for logistic and mlp.
    seed
        Of every random choice.
    out
        Folder for tables (parquet, JSON) and the figure (pdf, png).
    """
    from analyses.probing import probe_command

    result = probe_command(
        labels=labels, model=model, site=site, bos=bos, kind=kind, task=task, pool=pool, n_perm=permutations, seed=seed,
        out=out,
    )  # fmt: skip
    shared = ["score", "ci_low", "ci_high", "baseline", "null_mean", "p", "q"]
    more = ["score_row_folds", "control_score", "selectivity", "variance_explained", "n", "n_groups", "status"]
    title = f"{labels}, {result.table['metric'].iloc[0]}"
    table = result.table.loc[:, ["condition", "unit", *shared, *more]]
    print_table(table, f"{title} in the groups that choose the site")
    print()
    chosen = result.tables["chosen"].loc[:, ["condition", "unit", "role", *shared, "n", "n_groups", "status"]]
    print_table(chosen, f"{title} on the test groups")
    say(f"tables and the figure are in {out}" if out else "--out FOLDER keeps the tables and a figure")
