"""Write the numbers of the READMEs from the files that other scripts wrote; a test fails when they are stale.

python benchmarks/update_readme.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sae_tables import bundled_table, recovery_tables, resonance_table, training_tables

from interp.atlas import card
from interp.atlas.card_page import number
from interp.atlas.measure.directions import FOUR, STATED
from interp.atlas.measure.transfer import SEEN as MET
from interp.atlas.measure.transfer import UNSEEN as NEVER_MET
from interp.store import atomic_write_bytes

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- {}: written by benchmarks/update_readme.py -->\n", "<!-- end of {} -->"
COMPARED = "resid_post.2"
BEST = "last token in 'Question: Which country"
REPEATS, OBJECT = "loss on random repeats, after it", "indirect object, object over subject"


def read(name: str) -> dict[str, Any]:
    """Return one file of benchmarks/results."""
    return json.loads((ROOT / "benchmarks" / "results" / name).read_text())


_STUDY_COLUMNS = (
    "condition", "unit", "tested", "autocorrelated", "geographic", "explained by country", "by name or size",
    "undecided", "largest I",
)  # fmt: skip


def study_table(report: dict[str, Any]) -> list[str]:
    """Return the summary of the geospatial study as a Markdown table."""
    first = report["summary"][0]
    lines = [
        f"What it finds about places ({first['n_places']:,} cities, each the prompt of its name alone, "
        f"`{report['site']}`, false discovery rate {first['q_cut']:g}; the whole run takes {report['seconds']:.0f} s "
        f"on {report['machine']['cores']} cores):",
        "",
        "| " + " | ".join(_STUDY_COLUMNS) + " |",
        "|---" * len(_STUDY_COLUMNS) + "|",
    ]
    for row in report["summary"]:
        counts = (row[f"n_{name}"] for name in ("significant", "geographic", "by_country", "by_name", "undecided"))
        cells = " | ".join(f"{count:,}" for count in counts)
        lines.append(f"| {row['condition']} | {row['unit']}s | {row['n_tested']:,} | {cells} | {row['max_I']:.3f} |")
    return [*lines, "", *headline_lines(report["headlines"])]


def headline_lines(headlines: list[dict[str, str]]) -> list[str]:
    """Return the answer of every analysis with its null, as a list."""
    return [f"- **{h['question']}** {h['text']} *Null*: {h['null']}" for h in headlines]


def speed_lines(capture: dict[str, Any]) -> list[str]:
    """Return the benchmark ratios of capture as sentences."""
    lines = []
    for name, model in capture["models"].items():
        ways = model["ways"]
        lines.append(
            f"Capture of one site on {name}: {ways['capture_last']['time_over_hf_sliced']:.2f} times the bare forward "
            "pass to that layer; `run_with_cache` of one hook "
            f"{ways['run_with_cache_one_hook']['time_over_hf_sliced']:.2f} times."
        )
    return lines


def scale_lines(scale: dict[str, Any]) -> list[str]:
    """Return the large benchmark as a Markdown table."""
    rows, named = scale["rows"], {"moran": "Moran's I", "local": "local Moran's I", "moments": "I and its exact null"}
    lines = [
        f"At scale: {rows[0]['n_features']:,} features over {scale['n_places']:,} places, CPU seconds of one "
        f"thread, beside esda's own classes called once a feature (measured on {rows[0]['n_features_esda']}, scaled):",
        "",
        "| test | features | permutations | seconds | esda, seconds | ratio | peak memory, input included |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {named[row['case']]} | {row['kind']} | {row['permutations']} | {row['seconds']:.1f} | "
            f"{row['esda_seconds_scaled_to_all']:,.0f} | {row['ratio']:,.0f}x | {row['memory']['peak_mb']:,.0f} MB |"
        )
    return lines


_METHODS = (
    ("oracle", "the right samples (oracle)"),
    ("gradient", "cosine of gradients"),
    ("variant", "the variant of MoNA chosen on three other skills"),
    ("variant-no-sae", "its rival without an SAE, chosen alike"),
    ("variant-random-sae", "that variant with a random SAE"),
    ("adjusted", "`adjusted`, the default: contrast to the pool among equal lengths"),
    ("mona", "MoNA: Jaccard of mean SAE latents, as published"),
    ("background", "MoNA less the likeness to the pool"),
    ("matched", "MoNA against random targets of equal length"),
    ("each-target", "MoNA less the likeness to the pool, examples in turn"),
    ("causal", "MoNA with the latents alone that the task needs"),
    ("random-sae", "MoNA with a random SAE"),
    ("residual-centred", "mean residual, centred cosine"),
    ("rds+", "RDS+"),
    ("transport", "optimal transport with a density penalty"),
    ("neurons", "MLP neurons instead of latents"),
    ("bm25", "BM25"),
    ("tf-idf", "TF-IDF"),
    ("dsir", "DSIR"),
    ("coverage", "greedy coverage of the target's latents"),
    ("shuffled-target", "a shuffled target"),
    ("length-matched", "random, as long as the target"),
    ("longest", "the longest"),
    ("untouched model", "no tuning"),
)
_TUNED, _RELEVANT = "loss, other templates", "share_relevant"


def worth_lines(worth: dict[str, Any], variants: dict[str, Any]) -> list[str]:
    """Return whether selection was worth it, a row a method, and what the SAE and the variant add."""
    tuned = {row["method"]: row for row in worth["verdicts"] if row["measure"] == _TUNED}
    picked = {(row["method"], row["measure"]): row["value"] for row in worth["picks"]}
    setting, chosen = worth["settings"], worth["settings"]["variant"]["sae"]
    tried = [row for row in variants["variants"] if not row["score"].startswith("residual")]
    lines = [
        f"{len(setting['skills'])} skills ({', '.join(setting['skills'])}), {len(setting['seeds'])} seeds, "
        f"{setting['budget']} of the pool; `{setting['trainee']}` tuned on {setting['tokens']:,} tokens of each pick, "
        f"at the rate that was best on three other skills. The variant is the best of {len(tried)} on three more "
        f"({', '.join(variants['skills'])}; {variants['seeds']} seeds): tokens pooled: {chosen['tokens']}, SAE of "
        f"`{chosen['site']}`, score `{chosen['score']}`.",
        "",
        "| picked by | right skill and answer | Spearman with length | held-out loss in other templates, less that of "
        "random picks | q | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for method, words in _METHODS:
        row = tuned[method]
        q = "" if row["q"] is None else "<0.001" if row["q"] < 0.0005 else f"{row['q']:.3f}"
        known = [picked.get((method, name)) for name in (_RELEVANT, "rho_length")]
        relevant, rho = ("" if value is None else f"{value:.2f}" for value in known)
        change = f"{row['difference']:+.3f} ({row['ci_low']:+.3f} to {row['ci_high']:+.3f})"
        lines.append(f"| {words} | {relevant} | {rho} | {change} | {q} | {row['verdict']} |")
    return [*lines, "", *_beside(worth["summary"]), _whole_ranking(worth["deciles"])]


def _whole_ranking(deciles: list[dict[str, Any]]) -> str:
    """Return whether a whole ranking is one of relevance: losses after tuning on each tenth of it."""
    rows = [row for row in deciles if row["measure"] == _TUNED]
    found = ", ".join(f"`{r['method']}` {r['rho']:+.2f} ({r['ci_low']:+.2f} to {r['ci_high']:+.2f})" for r in rows)
    return f"- Each tenth of a whole ranking tuned on, one seed, Spearman's rho of tenth and that loss: {found}."


def _beside(summary: list[str]) -> list[str]:
    """Return what is better than MoNA, a random SAE and the variant, by the loss and by the share that is right."""
    out = []
    for measure, words in ((_TUNED, "By that loss"), ("relevant", "By the share that is right")):
        for reference in ("mona", "random-sae", "variant"):
            start = f"{measure}: better than {reference}: "
            found = next(line for line in summary if line.startswith(start)).removeprefix(start)
            out.append(f"- {words}, beside `{reference}`: better: {found}")
    return out


def trust_lines(trust: dict[str, Any]) -> list[str]:
    """Return the counts of `make trust` as a sentence."""
    return [
        f"`make trust`: {trust['artefacts_mutated']:,} damaged artefacts ({trust['reads_after_damage']:,} reads), "
        f"{trust['kills']:,} kills, {trust['disk_full_offsets']:,} full disks, {trust['names_mutated']:,} mutated "
        f"names, {trust['pool_files_mutated']:,} damaged pool files, {trust['attacks']:,} attacks: "
        f"{trust['silent_wrong_reads']} silent wrong reads, {trust['lost_units']} lost units, "
        f"{trust['pool_rows_lost']} lost rows, {trust['executions']} executions ({trust['seconds']:,} s)."
    ]


# what is said, the measure of the card, and what its group begins and ends with
KNOWS = (
    ("country of a city, name of one token", "country of a city", "told, one token", ""),
    ("country of a city, name of several tokens", "country of a city", "told, several tokens", ""),
    ("country of a city, stated in no text", "country of a city", "held out", ""),
    ("country of a city that is never mentioned", "country of a city", "never mentioned", ""),
    ("direction stated in no text, one of four, above 500 km", FOUR, "never stated, farther", STATED),
    ("direction stated in no text, one of four, below 500 km", FOUR, "never stated, nearer", STATED),
    ("longitude, R² with cells of 10 degrees held out", "R² of longitude", BEST, "10 degrees held out, seen cities"),
    ("latitude, R² with cells of 10 degrees held out", "R² of latitude", BEST, "10 degrees held out, seen cities"),
    ("random repeats behind the first period, nats (period 70)", REPEATS, "period 70", ""),
    ("indirect object, names never paired, ABBA", OBJECT, "names never paired in training, templates of", "ABBA"),
    ("indirect object, names never paired, BABA", OBJECT, "names never paired in training, templates of", "BABA"),
    (
        "indirect object, templates met in no text, ABBA",
        OBJECT,
        "names never paired in training, templates set",
        "ABBA",
    ),
    (
        "indirect object, templates met in no text, BABA",
        OBJECT,
        "names never paired in training, templates set",
        "BABA",
    ),
    ("closing bracket of the right type", "closing bracket of the right type", "all", ""),
)


def knowledge_table(card: dict[str, Any]) -> list[str]:
    """Return a dozen rows of the bundled model's card, and how many of its skills are learnt, as Markdown."""
    head = ("what `atlas` knows", "value", "95 % interval", "n", "random weights", "baseline")
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for label, measure, begins, ends in KNOWS:
        found = [
            row for row in card["measured"]
            if row["measure"] == measure and row["group"].startswith(begins) and row["group"].endswith(ends)
        ]  # fmt: skip
        assert len(found) == 1, (label, len(found))
        row = found[0]
        interval = f"{number(row['ci_low'])} to {number(row['ci_high'])}"
        baseline = f"{number(row['baseline'])} ({row['baseline_name']})"
        cells = (label, number(row["value"]), interval, f"{row['n']:,}", number(row["random_weights"]), baseline)
        lines.append("| " + " | ".join(cells) + " |")
    met, never = ([row["value"] for row in card["measured"] if row["measure"] == name] for name in (MET, NEVER_MET))
    said = (
        f"Of its {len(met)} skills {sum(v >= 0.9 for v in met)} are answered right nine times in ten in templates met "
        f"with that skill, {sum(v >= 0.9 for v in never)} in the template that never was."
    )
    return [*lines, "", said]


def front_page() -> dict[str, list[str]]:
    """Return what stands between each pair of markers of README.md."""
    numbers = [*study_table(read("report.json")), "", *speed_lines(read("capture.json")), ""]
    numbers += scale_lines(read("moran.json"))
    return {
        "numbers": numbers,
        "selection": worth_lines(read("selection_worth.json"), read("selection_variants.json")),
        "trust": trust_lines(read("trust.json")),
        "atlas": knowledge_table(card()),
    }


def sae_page() -> dict[str, list[str]]:
    """Return what stands between each pair of markers of interp/sae/README.md."""
    recovery = read("sae_recovery.json")
    return {
        "recovery": recovery_tables(recovery),
        "resonance": resonance_table(recovery),
        "training": training_tables(read("sae_training.json")),
        "bundled": bundled_table(cards_at(COMPARED)),
    }


def cards_at(site: str) -> dict[str, dict[str, Any]]:
    """Return the cards of the bundled SAEs of one site, by the end of their names."""
    folders = sorted((ROOT / "interp" / "assets" / "saes" / "atlas").glob(f"{site}*"))
    return {folder.name: json.loads((folder / "card.json").read_text()) for folder in folders}


PAGES = {"README.md": front_page, "interp/sae/README.md": sae_page}


def updated(page: str) -> str:
    """Return a README with every block replaced."""
    text = (ROOT / page).read_text()
    for name, lines in PAGES[page]().items():
        begin, end = BEGIN.format(name), END.format(name)
        before, rest = text.split(begin)
        text = before + begin + "\n".join(lines) + "\n" + end + rest.split(end, 1)[1]
    return text


def main() -> None:
    """Rewrite the READMEs."""
    for page in PAGES:
        atomic_write_bytes(ROOT / page, updated(page).encode())


if __name__ == "__main__":
    main()
