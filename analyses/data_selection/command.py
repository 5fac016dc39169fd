"""What `interp select` does: read, select, and leave rows, ranking, reasons, report and manifest in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses.data_selection.budgets import parse_budget
from analyses.data_selection.encoding import CODE_VERSION, encode_share
from analyses.data_selection.explanations import why_tables
from analyses.data_selection.reading import read_samples
from analyses.data_selection.samples import Samples
from analyses.data_selection.selection_config import SelectionConfig, check_config
from analyses.data_selection.study import Selection, run_selection
from analyses.data_selection.token_windows import TokenChoice, check_choice, find_windows
from interp.errors import InvalidInput

if TYPE_CHECKING:
    from interp.models import Model

_SAE = {"atlas": "atlas/resid_post.2"}


def select_command(
    config: SelectionConfig, out: Path, *, engine: str = "local", workers: int | None = None, command: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:  # fmt: skip
    """Select and write `out`; return a short table of what was picked for each task.

    Files: selected.jsonl (the picked rows as they stood, in the order of the pool), ranking.parquet, listed.parquet
    (rows that were not scored), reasons, lacking, features, tokens, causal, length, format, controls, stability
    and contaminated (.parquet), selection.json (configuration, hashes, versions, command line), report.html, and
    the shards of codes, from which a killed run goes on, whatever `engine` made them (see `encode_pool`).

    Raises:
        InterpError: whatever the user can mend.
    """
    from interp.store import Store

    _check(config, out)
    pool, targets, tests = read_inputs(config, say)
    model, sae = load(config)
    selection = run_selection(
        config, pool, targets, tests, model, sae, out=out, engine=engine, workers=workers
    )  # fmt: skip
    tables = _tables(selection, config, pool, model, sae)
    about = _about(config, pool, targets, selection, command)
    from analyses.data_selection.view import report_page

    with Store(out) as store:
        rows = [s.raw for s, chosen in zip(selection.samples, selection.selected, strict=True) if chosen]
        store.put_bytes("selected.jsonl", b"".join(row + b"\n" for row in rows))
        for name, table in {"ranking": tables.pop("ranking"), **tables}.items():
            store.put_table(f"{name}.parquet", table.reset_index(drop=True))
        store.put_json("selection.json", about)
        store.put_bytes("report.html", report_page(selection, config, tables, about).encode())
    return summary(selection)


def share_command(config: SelectionConfig, out: Path, *, say: Callable[[str], None] = lambda _: None) -> pd.DataFrame:
    """Code this rank's share of the pool into `out` and score nothing; return one row: rank, ranks, shards done.

    Raises:
        InterpError: whatever the user can mend.
    """
    _check(config, out)
    pool, _, _ = read_inputs(config, say)
    model, sae = load(config)
    report = encode_share(pool.require_some(), model, sae, out=out, top=config.top, **config.encoding())
    row = {"rank": report.rank, "ranks": report.world, "shards_coded": len(report.computed),
           "shards_already_done": len(report.skipped)}  # fmt: skip
    return pd.DataFrame([row])


def _check(config: SelectionConfig, out: Path) -> None:
    check_config(config)
    if out.exists() and not out.is_dir():
        raise InvalidInput(f"--out {out} is a file; give a folder.")


def summary(selection: Selection) -> pd.DataFrame:
    """Return one row a task: picked, tokens, mean score of the picked and of the pool, and what was left out."""
    tokens = selection.pool.rows["n_tokens"].to_numpy()
    rows = []
    for task in selection.targets:
        table: Any = selection.ranking[selection.ranking["task"] == task]
        mine = (table["selected"] & (table["picked_for"] == task)).to_numpy()
        scores = table["score"].to_numpy()
        rows.append((task, int(mine.sum()), len(table), int(tokens[mine].sum()),
                     scores[mine].mean() if mine.any() else float("nan"), scores.mean()))  # fmt: skip
    return pd.DataFrame(rows, columns=pd.Index(["task", "picked", "pool", "tokens", "mean_score", "pool_mean_score"]))


def read_inputs(
    config: SelectionConfig, say: Callable[[str], None]
) -> tuple[Samples, dict[str, Samples], Samples | None]:
    """Return pool, targets by task and tests, saying what was found in each."""
    if not config.target:
        raise InvalidInput("there is no target; give --target FILE with examples of the task.")
    pool = read_samples(list(config.pool), schema=config.schema)
    say(f"pool: {pool.summary()}")
    targets: dict[str, Samples] = {}
    for path in config.target:
        name = Path(path).name.split(".")[0] or path
        task = name if name not in targets else path
        targets[task] = read_samples(path, schema=config.schema)
        say(f"target {task}: {targets[task].summary()}")
    return pool, targets, read_samples(list(config.test), schema=config.schema) if config.test else None


def load(config: SelectionConfig) -> tuple[Model, Any]:
    """Return model and SAE, checked against each other."""
    from interp.models import load_model
    from interp.sae import check_fit, load_sae

    name = config.sae or _SAE.get(config.model)
    if name is None:
        raise InvalidInput(f"there is no bundled SAE for {config.model!r}; give --sae FOLDER, or train one.")
    bos: Any = config.bos
    model, sae = load_model(config.model, bos=bos), load_sae(name)
    check_fit(model, sae)
    return model, sae


def dry_run(config: SelectionConfig, say: Callable[[str], None] = lambda _: None) -> pd.DataFrame:
    """Return what a run would take, without running it: samples, tokens, bytes, seconds from a timed sample."""
    import time

    from analyses.data_selection.encoding import encode_pool

    check_config(config)
    pool, targets, _ = read_inputs(config, say)
    model, sae = load(config)
    choice = TokenChoice(config.template, config.tokens, config.max_length, config.keep, config.bos)
    check_choice(choice, model)
    rows = pool.require_some().samples
    windows = find_windows(model, rows, choice)
    n_tokens = 0 if windows.encoded is None else len(windows.encoded.ids)
    n_cut = 0 if windows.encoded is None else int((windows.encoded.truncated > 0).sum())
    few = rows[:: max(1, len(rows) // 64)][:64]
    encode_pool(few[:4], model, sae, **config.encoding())  # the first pass is slower than the others
    began = time.perf_counter()
    timed = encode_pool(few, model, sae, **config.encoding())
    seconds = (time.perf_counter() - began) / max(1, len(few)) * len(rows)
    entries = timed.rows["n_features"].to_numpy().mean() if len(timed) else 0
    kept = min(entries, config.top or entries)
    budget = parse_budget(config.budget, n_samples=len(windows.rows), n_tokens=int(n_tokens))
    values = {
        "rows in the pool": pool.n_rows, "samples that can be scored": len(windows.rows),
        "rows that cannot": pool.n_rows - len(windows.rows), "target examples": sum(map(len, targets.values())),
        "tokens to read": n_tokens, "samples that are cut": n_cut,
        "budget": str(budget), "active features of a sample": round(float(entries), 1),
        "MB of codes": round(8e-6 * kept * len(rows), 2), "seconds to code the pool": round(seconds, 1),
    }  # fmt: skip
    return pd.DataFrame({"what": values.keys(), "value": [str(value) for value in values.values()]})


def _tables(
    selection: Selection, config: SelectionConfig, pool: Samples, model: Model, sae: Any
) -> dict[str, pd.DataFrame]:
    tables = dict(selection.tables)
    listed = pd.concat([pool.listed, selection.pool.listed], ignore_index=True)
    tables["listed"] = listed.astype({"source": "str", "number": "int64", "reason": "str", "detail": "str"})
    tables["contaminated"] = selection.exclusions.contaminated
    empty = pd.DataFrame({"row": [], "id": [], "feature": [], "task": []})
    tables |= dict.fromkeys(("reasons", "lacking", "tokens", "causal"), empty)  # over what another run left
    tables |= why_tables(selection, config, model, sae)
    tables["ranking"] = _with_top(selection.ranking, tables["reasons"])
    return {name: _texts(table) for name, table in tables.items()}


def _with_top(ranking: pd.DataFrame, reasons: pd.DataFrame) -> pd.DataFrame:
    """Add the features that contribute most, as "feature:contribution ...", to the rows that were explained."""
    top: dict[tuple[str, str], str] = {}
    if len(reasons) and "contribution" in reasons:
        named: Any = reasons[reasons["feature"] >= 0]
        for (task, name), part in named.groupby(["task", "id"]):
            best = part.head(5)
            pairs = zip(best["feature"], best["contribution"], strict=True)
            top[str(task), str(name)] = " ".join(f"{feature}:{value:.3g}" for feature, value in pairs)
    keys = zip(ranking["task"], ranking["id"], strict=True)
    return ranking.assign(top_features=pd.array([top.get(key, "") for key in keys], dtype="str"))


def _texts(table: pd.DataFrame) -> pd.DataFrame:
    objects = [name for name in table.columns if table[name].dtype == object]
    return table.astype(dict.fromkeys(objects, "str"))


def _about(
    config: SelectionConfig, pool: Samples, targets: dict[str, Samples], selection: Selection, command: str
) -> dict[str, Any]:
    from interp.provenance import provenance
    from interp.store import make_key

    hashes = {f"pool/{row['source']}": row["sha256"] for row in pool.files.to_dict("records")}
    for task, given in targets.items():
        hashes |= {f"target/{task}/{row['source']}": row["sha256"] for row in given.files.to_dict("records")}
    key = make_key(config, hashes, code_version=CODE_VERSION)
    counts = {
        "rows_in": pool.n_rows,
        "rows_scored": len(selection.pool),
        "rows_selected": int(selection.selected.sum()),
    }
    return provenance(key, seed=config.seed, command=command, codes=dict(selection.pool.about), counts=counts,
                      budget=selection.pick.attrs["budget"], notes=list(selection.notes))  # fmt: skip
