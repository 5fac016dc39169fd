"""The card of a saved SAE: what was measured of it, beside its controls, as JSON and as a page of Markdown."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp.errors import InvalidInput
from interp.plot.numbers import format_number

if TYPE_CHECKING:
    from interp.result import Result
    from interp.sae import SAE

CARD, PAGE = "card.json", "README.md"
_CONTROLS = ("null_mean_predictor", "null_random_sae", "null_random_weights")
_SHOWN = {
    "table": ["metric", "value", "ci_low", "ci_high", "n", *_CONTROLS, "status"],
    "classes": ["family", "group", "fvu", "ci_low", "ci_high", "n", "null_random_sae"],
    "labels": [
        "set",
        "k",
        "auc",
        "auc_lowest",
        "auc_highest",
        "null_random_sae",
        "null_activations",
        "n_significant",
        "n_labels",
        "n",
    ],
    "absorption": ["set", "absorbed_share", "highest", "null_random_sae", "n_main", "n_labels", "n"],
    "stability": ["a", "b", "metric", "band", "value", "ci_low", "ci_high", "null_mean", "null_sd", "p", "n"],
}
_HEADINGS = {
    "table": "Fidelity, losses, density and shape",
    "classes": "By class of token",
    "labels": "Labels read with few latents, mean over the labels of a set",
    "absorption": "Splitting and absorption of labels, mean over the labels of a set",
    "stability": "Agreement with SAEs of other seeds",
}


def sae_card(result: Result, name: str, stability: pd.DataFrame | None = None) -> dict[str, Any]:
    """Return the card of an SAE as JSON values, a table as its columns; of labels a row a set, not a row a label.

    Args:
        result: of `analyses.evaluation.evaluate`.
        stability: of `interp.sae.stability`, of this SAE and those of other seeds.
    """
    tables = {"table": result.table, **result.tables}
    if "labels" in tables:
        tables |= {"labels": _label_sets(tables["labels"]), "absorption": _absorbed_sets(tables["absorption"])}
    if stability is not None:
        tables["stability"] = stability
    return {
        "name": name,
        "notes": list(result.notes),
        "provenance": dict(result.provenance),
        "tables": {key: _columns(table) for key, table in tables.items()},
    }


def card_page(card: Mapping[str, Any], sae: SAE) -> str:
    """Return the card as Markdown: what the SAE is, and a table for each thing that was measured."""
    config = sae.config
    about = {
        "architecture": config.architecture, "site": config.site, "model": config.model_name,
        "d_in": config.d_in, "latents": config.d_sae, "stored as": config.dtype,
        "BOS": config.bos, "context": config.context_size,
    }  # fmt: skip
    lines = [f"# {card['name']}", "", "| | |", "|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in about.items() if value is not None]
    lines += ["", "Every figure stands beside the same figure of an SAE of random directions that is on as often, and "
              "where there is one of an SAE of the random-weights twin of the model. Intervals are 95 %. Losses are in "
              "nats a token.", ""]  # fmt: skip
    for key, heading in _HEADINGS.items():
        if card["tables"].get(key):
            lines += [f"## {heading}", "", *_markdown(pd.DataFrame(card["tables"][key]), _SHOWN.get(key)), ""]
    lines += [f"- {note}" for note in card["notes"]]
    return "\n".join(lines) + "\n"


def write_sae_card(folder: Path, result: Result, *, name: str, stability: pd.DataFrame | None = None) -> dict[str, Any]:
    """Write card.json and README.md into the folder of a saved SAE, sealed with its other files; return the card.

    Raises:
        CorruptArtifact: a file of the folder is not what was written.
    """
    from interp.sae import load_sae
    from interp.sae.folder import read_folder
    from interp.store import write_folder

    sae, files = load_sae(folder), read_folder(folder)
    card = sae_card(result, name, stability)
    files |= {CARD: json.dumps(card, separators=(",", ":")).encode(), PAGE: card_page(card, sae).encode()}
    write_folder(folder, files, overwrite=True)
    return card


def card_saes(
    model_folder: Path, saes: Path, *, n_texts: int = 512, seed: int = 0, again: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:  # fmt: skip
    """Evaluate every SAE below `saes` and write its card; return one row an SAE (name, state, FVU, loss recovered).

    Args:
        model_folder: a model made as the bundled one was, with its facts.
        saes: folder with <model>/<name> and <model>-random/<name>.
        again: whether SAEs that have a card are evaluated once more.
    """
    folders = sorted(path.parent for path in saes.glob("*/*/cfg.json"))
    if not folders:
        raise InvalidInput(f"{saes} has no SAE; expected folders <model>/<name> with a cfg.json.")
    bench, rows = _Bench(model_folder, saes, n_texts, seed), []
    for folder in folders:
        name = folder.relative_to(saes).as_posix()
        kept = (folder / CARD).is_file() and not again
        if not kept:
            say(f"evaluating {name}")
            write_sae_card(folder, bench.evaluated(folder), name=name, stability=bench.stability(folder))
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        value = dict(zip(card["tables"]["table"]["metric"], card["tables"]["table"]["value"], strict=True))
        rows.append((name, "kept" if kept else "done", value["fvu"], value["l0"], value["recovered_vs_zero"]))
    return pd.DataFrame(rows, columns=["name", "state", "fvu", "l0", "recovered_vs_zero"])


class _Bench:
    """What the evaluations of several SAEs of one model share: models, held-out texts, label sets."""

    def __init__(self, model_folder: Path, saes: Path, n_texts: int, seed: int) -> None:
        from itertools import islice

        from analyses.evaluation.label_sets import label_sets_of
        from interp.atlas.facts import load_facts
        from interp.atlas.saes import SAE_TEXT_SEED, TWIN, FreshTexts
        from interp.models import load_model

        facts = load_facts(model_folder)
        self.saes, self.seed, self._twin_name = saes, seed, TWIN
        self.model, self.twin = (load_model(model_folder, weights=w, seed=0) for w in ("trained", "random"))
        self.texts = list(islice(FreshTexts(facts, SAE_TEXT_SEED + 1), n_texts))  # SAEs are trained on other draws
        self.labels = label_sets_of(facts, seed=seed)

    def evaluated(self, folder: Path) -> Result:
        from analyses.evaluation.run import evaluate
        from interp.sae import load_sae

        sae, of_twin = load_sae(folder), folder.parent.name.endswith(self._twin_name)
        beside = folder.parent.with_name(folder.parent.name + self._twin_name) / str(sae.config.site)
        control = None if of_twin or not beside.is_dir() else (load_sae(beside), self.twin)
        return evaluate(
            sae, self.twin if of_twin else self.model, self.texts, seed=self.seed, control=control,
            label_sets=self.labels,
        )  # fmt: skip

    def stability(self, folder: Path) -> pd.DataFrame | None:
        """Return the agreement of an SAE with those of the same site that were trained with other seeds, if any."""
        from interp.sae import load_sae, stability

        others = sorted(folder.parent.glob(f"{folder.name}-seed*"))
        if not others:
            return None
        paths = [folder, *others]
        table = stability([load_sae(path) for path in paths], seed=self.seed)
        return table.assign(**{side: [paths[i].name for i in table[side]] for side in ("a", "b")})


def _label_sets(table: pd.DataFrame) -> pd.DataFrame:
    """Return the sparse probes of each set of labels and each k as one row."""
    groups = table[table["status"] == "ok"].assign(significant=table["q"] < 0.05).groupby(["set", "k"], sort=False)
    return groups.agg(
        auc=("auc", "mean"), auc_lowest=("auc", "min"), auc_highest=("auc", "max"),
        null_random_sae=("null_random_sae", "mean"), null_activations=("null_activations", "mean"),
        null_shuffled=("null_shuffled", "mean"), n_significant=("significant", "sum"), n_labels=("label", "size"),
        n=("n", "first"),
    ).reset_index()  # fmt: skip


def _absorbed_sets(table: pd.DataFrame) -> pd.DataFrame:
    """Return the absorption of each set of labels as one row."""
    groups = table[table["status"] == "ok"].groupby("set", sort=False)
    return groups.agg(
        absorbed_share=("absorbed_share", "mean"), highest=("absorbed_share", "max"),
        null_random_sae=("null_random_sae", "mean"), n_main=("n_main", "mean"), n_labels=("label", "size"),
        n=("n", "sum"),
    ).reset_index()  # fmt: skip


def _columns(table: pd.DataFrame) -> dict[str, list[Any]]:
    return {str(name): [_plain(value) for value in table[name]] for name in table.columns}


def _plain(value: Any) -> Any:
    """Return a JSON value: six digits of a number, None for a missing one."""
    if value is None or value is pd.NA:
        return None
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value


def _markdown(table: pd.DataFrame, columns: list[str] | None) -> list[str]:
    known = [str(column) for column in table.columns[table.notna().any()]]
    shown = [column for column in (columns or known) if column in known]
    lines = ["| " + " | ".join(c.replace("_", " ") for c in shown) + " |", "|" + "---|" * len(shown)]
    for row in table[shown].itertuples(index=False):
        cells = (cell if isinstance(cell, str) else format_number(cell) for cell in row)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines
