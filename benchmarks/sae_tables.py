"""The tables of interp/sae/README.md, as Markdown, from the records of the SAE benchmarks; see update_readme.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench_sae_recovery import RESONANCE, WIDTH, recipes

SEEDS = (0, 1, 2)
BUNDLED = ("fvu", "l0", "dead_share", "recovered_vs_zero", "encoder_decoder_cosine")
Cell = tuple[str, str]
"""Head of a column, and the figure of a row that stands in it."""
EVERYWHERE: tuple[Cell, ...] = (
    ("recall at cosine .9", "recall"),
    ("MCC", "mcc"),
    ("F1 of firing", "f1, true features"),
    ("FVU", "fvu"),
    ("L0", "l0"),
    ("dead share", "dead share"),
)
IN_TREES: tuple[Cell, ...] = (("recall of children", "recall, children"), ("absorption", "absorption score"))
OF_RESONANCE: tuple[Cell, ...] = (*EVERYWHERE[:3], ("L0", "l0"), ("dead share", "dead share"))


def table(head: Iterable[str], lines: Iterable[Iterable[str]]) -> list[str]:
    """Return a Markdown table."""
    names = list(head)
    rows = [names, ["---"] * len(names), *map(list, lines)]
    return [f"| {' | '.join(row)} |" for row in rows]


def spread(values: list[float | None]) -> str:
    """Return the mean and the range over seeds; one number where they show the same."""
    known = [value for value in values if value is not None]
    if not known:
        return "none"
    mean, low, high = (_short(value) for value in (sum(known) / len(known), min(known), max(known)))
    return mean if low == high else f"{mean} ({low} to {high})"


def _short(value: float) -> str:
    if abs(value) < 0.0005:
        return "0.000"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def seeds_of(part: dict[str, Any], name: str, family: str) -> list[dict[str, Any]]:
    """Return the rows of one recipe on one family of data."""
    return [part[key] for seed in SEEDS if (key := f"{name} | {family} | {seed}") in part]


def recovery_tables(record: dict[str, Any]) -> list[str]:
    """Return a table for each family of data with what was run, and what is missing."""
    lines, missing = [], {}
    for family in WIDTH:
        cells = EVERYWHERE + (IN_TREES if family in ("tree", "forest") else ())
        found = {name: seeds_of(record["rows"], name, family) for name in recipes(family)}
        missing[family] = [f"{name} ({len(rows)})" for name, rows in found.items() if len(rows) < len(SEEDS)]
        shown = {name: rows for name, rows in found.items() if rows}
        if not shown:
            continue
        every = [row for rows in shown.values() for row in rows]
        null = {name: max(row[f"null {name}"] for row in every) for name in ("recall", "mcc")}
        lines += [
            f"**{family}** ({every[0]['data']}; {WIDTH[family]} latents). As many random directions: recall "
            f"{null['recall']:.2f}, MCC {null['mcc']:.2f} at most.",
            "",
            *table(
                ["SAE", *(head for head, _ in cells), "seeds"],
                (
                    [f"`{name}`", *(spread([row[key] for row in rows]) for _, key in cells), str(len(rows))]
                    for name, rows in shown.items()
                ),
            ),
            "",
        ]
    said = "; ".join(f"on {family} {', '.join(names)}" for family, names in missing.items() if names)
    return [*lines, f"Missing, with the seeds there are of {len(SEEDS)}: {said}."] if said else lines[:-1]


def resonance_table(record: dict[str, Any]) -> list[str]:
    """Return what GBA with one group finds of flat data as its ceiling moves past the frequency of the features."""
    found = {ratio: seeds_of(record["resonance"], f"ceiling / frequency = {ratio}", "flat") for ratio in RESONANCE}
    missing = [f"{ratio:g} ({len(rows)})" for ratio, rows in found.items() if len(rows) < len(SEEDS)]
    lines = table(
        ["ceiling / frequency", *(head for head, _ in OF_RESONANCE), "seeds"],
        (
            [f"{ratio:g}", *(spread([row[key] for row in rows]) for _, key in OF_RESONANCE), str(len(rows))]
            for ratio, rows in found.items()
            if rows
        ),
    )
    said = [f"Missing, with the seeds there are of {len(SEEDS)}: {'; '.join(missing)}."] if missing else []
    return [*lines, "", *said] if said else lines


def training_tables(record: dict[str, Any]) -> list[str]:
    """Return the speed and the memory of training, a table for each device that was measured."""
    lines: list[str] = []
    for device, part in record.items():
        job, cases = part["job"], part["cases"]
        machine = part["machine"]
        clock = "second of CPU time" if device == "cpu" else "second"
        where = machine.get("gpu") or f"{machine['cpu']}, {machine['threads']} thread"
        versions = {n: v for row in cases["none dead"].values() for n, v in row["versions"].items()}
        lines += [
            f"{job['d_sae']:,} latents on {job['d_in']} dimensions, k = {job['k']}, batches of {job['batch_size']:,}, "
            f"float32; {where}; medians of {job['rounds']} runs ({', '.join(f'{n} {versions[n]}' for n in versions)}):",
            "",
            *table(
                [
                    "trainer",
                    *(text for case in cases for text in (f"vectors a {clock}, {case}", "its time / ours")),
                    "memory above the start",
                ],
                (_training_row(name, cases, device) for name in cases["none dead"]),
            ),
            "",
        ]
    return lines[:-1]


def _training_row(name: str, cases: dict[str, Any], device: str) -> list[str]:
    out = [name]
    for case in cases.values():
        row = case[name]
        lowest, highest = row["time_over_ours_lowest"], row["time_over_ours_highest"]
        between = "" if name == "interp" else f" ({lowest:.2f} to {highest:.2f})"
        out += [f"{row['vectors_a_second']:,.0f}", f"{row['time_over_ours']:.2f}{between}"]
    most = "peak_gpu_mb" if device == "cuda" else "peak_growth_mb"
    return [*out, f"{max(case[name][most] for case in cases.values()):,.0f} MB"]


def bundled_table(cards: dict[str, dict[str, Any]]) -> list[str]:
    """Return the SAEs of one site beside each other, from their cards; below, the controls of the first."""
    lines = []
    for name, card in cards.items():
        of = {
            row[0]: row[1:] for row in _rows(card, "table", "metric", "value", "null_random_sae", "null_random_weights")
        }
        labels = _rows(card, "labels", "k", "auc", "null_random_sae")
        auc = [sum(row[i] for row in labels if row[0] == 1) / sum(row[0] == 1 for row in labels) for i in (1, 2)]
        lines.append([f"`{name}`", *(_cell(of[metric][0]) for metric in BUNDLED), _cell(auc[0])])
        if len(lines) == 1:
            random = ["of random directions", *(_cell(of[metric][1]) for metric in BUNDLED), _cell(auc[1])]
            twin = ["of the random-weights twin", *(_cell(of[metric][2]) for metric in BUNDLED), "–"]
    head = (
        "SAE",
        "FVU",
        "L0",
        "dead share",
        "loss recovered",
        "encoder-decoder cosine",
        "AUC of one latent for a label",
    )
    return table(head, [*lines, random, twin])


def _rows(card: dict[str, Any], name: str, *columns: str) -> list[tuple[Any, ...]]:
    found = card["tables"][name]
    return list(zip(*(found.get(column, [None] * len(found[columns[0]])) for column in columns), strict=True))


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}" if 0.99 < value < 1 else _short(value)
