"""The card of a model as a page of Markdown: what it is, and a table for each thing that was measured."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from interp.atlas.measure.transfer import PAIR

Row = dict[str, Any]

_HEAD = """---
license: mit
language: en
pipeline_tag: text-generation
---

# {name}

A {layers}-layer Llama (d_model {d_model}, {heads} heads, {vocab:,} tokens, context {n_ctx}, {parameters:,} parameters)
trained from scratch on {tokens:,} tokens of generated text: real places, skills in several templates, four languages,
ordinal sequences, stories, nested brackets and expressions, and random repeats. It exists to test interpretability
tools: everything it was told, and what was held back, is known (`interp.atlas.facts()`).

**Its geography was planted by the training text**, through relations alone (near, direction, distance, order, time
difference, country); no coordinate was ever written. {hidden} of its {cities:,} cities are never mentioned, and about a
tenth of the facts of each kind is stated nowhere.

Every prompt needs the BOS token. {checkpoints}
Weights: MIT. City names and coordinates: GeoNames (geonames.org), CC BY 4.0.

## Measured

Each figure stands beside the same figure of the random-weights twin and beside a baseline that needs no transformer.
Intervals are 95 %. A figure that could not be had is empty and says why. Fresh texts are drawn anew; short ones occur
word for word in the training text too.

"""


def number(value: float | None) -> str:
    """Return a figure in three digits, empty where there is none."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def section(measure: str, rows: list[Row]) -> str:
    """Return the rows of one measure as a heading and a table."""
    head = ["group", "value", "95 % interval", "n", "unit", "random weights", "baseline"]
    lines = [f"### {measure}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        interval = "" if row["ci_low"] is None else f"{number(row['ci_low'])} to {number(row['ci_high'])}"
        value = row["status"] if row["value"] is None else number(row["value"])
        baseline = "" if row["baseline"] is None else f"{number(row['baseline'])} ({row['baseline_name']})"
        cells = [row["group"], value, interval, f"{row['n']:,}", row["unit"], number(row["random_weights"]), baseline]
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def matrix(rows: list[Row]) -> str:
    """Return the share of right answers of every skill in every template as one table."""
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        skill, template = row["group"].split(" | ")
        never = template.endswith(" (never met)")
        value = number(row["value"])
        cells.setdefault(skill, {})[template.removesuffix(" (never met)")] = f"*{value}*" if never else value
    templates = list(next(iter(cells.values())))
    lines = [
        f"### {PAIR}", "", f"Share right, greedy, n = {rows[0]['n']} each; in italics: never met in training.", "",
        "| skill | " + " | ".join(templates) + " |", "|" + "---|" * (len(templates) + 1),
    ]  # fmt: skip
    lines += [f"| {skill} | " + " | ".join(found[t] for t in templates) + " |" for skill, found in cells.items()]
    return "\n".join(lines) + "\n"


def sections(rows: list[Row]) -> str:
    """Return every measure in the order of its first row, each with its own heading."""
    order = list(dict.fromkeys(row["measure"] for row in rows))
    sorted_rows = sorted(rows, key=lambda row: order.index(row["measure"]))
    grouped = ((name, list(part)) for name, part in groupby(sorted_rows, key=lambda row: row["measure"]))
    return "\n".join(matrix(part) if name == PAIR else section(name, part) for name, part in grouped)


def card_page(card: dict[str, Any], *, n_parameters: int, n_cities: int, n_hidden: int) -> str:
    """Return the model card in Markdown."""
    sizes = card["settings"]["network"]
    steps = [f"`{card['name']}@step{c['step']}` ({c['tokens']:,} tokens)" for c in card.get("checkpoints", [])]
    earlier = f"Earlier steps of its training, in eight bits: {', '.join(steps)}." if steps else ""
    head = _HEAD.format(
        name=card["name"], layers=sizes["n_layers"], d_model=sizes["d_model"], heads=sizes["n_heads"],
        vocab=sizes["vocab_size"], n_ctx=sizes["n_ctx"], parameters=n_parameters, tokens=card["training"]["tokens"],
        hidden=n_hidden, cities=n_cities, checkpoints=earlier,
    )  # fmt: skip
    return head + sections(card["measured"])
