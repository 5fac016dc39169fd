"""`interp select`: which samples of a pool are relevant to a task."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from analyses.terminal import print_table, say

Method = Literal[
    "adjusted", "mona", "background", "matched", "contrast", "cosine", "causal", "each-target", "coverage", "neurons",
    "residual", "residual-centred", "rds+", "gradient", "transport", "bm25", "tf-idf", "dsir", "dsir-gumbel", "random",
    "length-matched", "longest", "random-sae", "shuffled-target",
]  # fmt: skip
"""Those of `method_names`, which a test compares; spelt out here because help and completion import nothing heavy."""


def select(
    *pool: str,
    target: list[str],
    budget: str = "5%",
    out: Path | None = None,
    test: list[str] | None = None,
    model: str = "atlas",
    sae: str | None = None,
    bos: Literal["always", "never", "tokenizer"] | None = None,
    schema: Literal["auto", "messages", "sharegpt", "prompt_completion", "alpaca", "text"] = "auto",
    template: str = "plain",
    tokens: str = "all",
    pooling: Literal["mean", "weighted", "max", "sum", "frequency"] = "mean",
    max_length: int | None = None,
    keep: Literal["start", "end"] = "start",
    method: Method = "adjusted",
    weigh: list[str] | None = None,
    per_source: float | None = None,
    source_quota: list[str] | None = None,
    task_quota: list[str] | None = None,
    temperature: float = 0.0,
    duplicates: Literal["near", "exact", "none"] = "near",
    contaminated: Literal["drop", "report"] = "drop",
    overlap_words: int = 13,
    top: int | None = None,
    random_control: bool | None = None,
    causal_check: Annotated[bool, Parameter(negative="")] = False,
    shard_rows: int = 4096,
    engine: Literal["local", "ray"] = "local",
    workers: int | None = None,
    seed: int = 0,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Pick the training samples that are most like examples of a task; run again to resume.

    The picked rows come out as they went in (selected.jsonl), with a ranking, reasons, an audit of length, controls
    and one offline report. Rows that cannot be used are listed, never dropped in silence.

    Under torchrun or srun each rank codes its share of the pool and stops; the same command without them then scores
    what they wrote. With --engine ray one command does both.

    Examples:
      interp select pool.jsonl --target gsm8k.jsonl --budget 5% --out runs/gsm8k
      interp select "pool/*.jsonl.gz" --target a.jsonl --target b.jsonl --budget "2m tokens" --out runs/two
      interp select pool.parquet --target t.jsonl --test test.jsonl --tokens answer --method mona --out runs/mona
      interp select pool.jsonl --target t.jsonl --weigh 1106=0 --out runs/without-1106
      interp select pool.jsonl --target t.jsonl --method bm25 --out runs/words
      interp select "pool/*.jsonl" --target a.jsonl --target b.jsonl --task-quota a=0.7 --per-source 0.3 --out runs/mix
      interp select pool.jsonl --target t.jsonl --dry-run
      interp select pool.jsonl --target t.jsonl --engine ray --out runs/ray
      torchrun --nproc-per-node 8 --no-python interp select pool.jsonl --target t.jsonl --out runs/ranks

    Parameters
    ----------
    pool
        Files (JSONL, JSON, CSV, TSV, also .gz; Parquet), globs, or folders saved by datasets.
    target
        File with examples of a task; repeatable, one task a file, and tasks pick in turn.
    budget
        500, 5%, "200k tokens" or "5% tokens".
    out
        Folder for everything that is written; default runs/select.
    test
        File of texts that must not be in the pick, beside the targets; repeatable.
    model
        "atlas" (bundled), a folder in Hugging Face format, or a Hugging Face name.
    sae
        "atlas/resid_post.2" (bundled) or a folder with an SAE.
    bos
        BOS policy; default that of the model card.
    schema
        Layout of the rows; auto looks at each row and says what it found.
    template
        plain, tulu, chatml, tokenizer (its chat template), or a form such as "{role}: {content}\\n".
    tokens
        Which tokens are pooled: all, prompt, answer or last:N. BOS never is.
    pooling
        How they are.
    max_length
        Tokens read of a sample; default the context of the model. What is cut is counted.
    keep
        Which end of a longer sample is read.
    method
        Scores of codes: adjusted (what the target has more than the pool, among samples of like length), mona (as
        published; prefers long samples), background (mona less the likeness to the pool; prefers short ones), matched
        (against random targets of the same size), contrast, cosine, causal (features alone whose ablation harms the
        target), each-target (examples in turn), coverage (greedy). Without the SAE: neurons, residual,
        residual-centred, rds+, gradient (LESS at one checkpoint), transport (optimal, with a density penalty), bm25,
        tf-idf, dsir, dsir-gumbel. Controls: random, length-matched, longest, random-sae, shuffled-target.
    weigh
        FEATURE=FACTOR, to mute (0) or boost a latent and pick again; repeatable. Codes that are there are used.
    per_source
        Share of the budget that each source may take.
    source_quota
        SOURCE=SHARE of a source (a file of the pool) that may take another share; repeatable.
    task_quota
        TASK=SHARE of the budget that a task (a target file, without its ending) may take; repeatable. Tasks without one
        have no limit; they pick in turn.
    temperature
        Gumbel noise in standard deviations of the score; 0 is the top.
    duplicates
        Which repeats of better samples are left out.
    contaminated
        What to do with samples that hold a run of words of target or test.
    overlap_words
        Length of such a run.
    top
        Latents kept of a sample, under mona, background and contrast; the pick is that of whole codes all the same.
    random_control
        Also code the pool with an SAE of random directions (twice the time); default: if it has at most 5,000 samples.
    causal_check
        Set the features that explain the pick to 0 and say whether the loss on the target rises more than with others.
    shard_rows
        Samples of a work unit.
    engine
        What codes the pool: this process, or the workers of Ray (the cluster of RAY_ADDRESS, or this machine's cores);
        pip install 'interp[ray]'. The shards are the same.
    workers
        Workers of Ray; default one a GPU, or as many as the CPUs have room for.
    seed
        Of every random choice.
    dry_run
        Say what a run would take, and write nothing.
    """
    from analyses.data_selection.command import dry_run as plan
    from analyses.data_selection.command import select_command, share_command
    from analyses.data_selection.selection_config import SelectionConfig
    from interp.work import rank_and_world

    config = SelectionConfig(
        pool=pool, target=tuple(target), budget=budget, test=tuple(test or ()), model=model, sae=sae, bos=bos,
        schema=schema, template=template, tokens=tokens, pooling=pooling, max_length=max_length, keep=keep, top=top,
        shard_rows=shard_rows, method=method, weigh=tuple(weigh or ()), per_source=per_source,
        source_quota=tuple(source_quota or ()), task_quota=tuple(task_quota or ()), temperature=temperature,
        duplicates=duplicates, contaminated=contaminated, overlap_words=overlap_words,
        random_control=random_control, causal_check=causal_check, seed=seed,
    )  # fmt: skip
    if dry_run:
        print_table(plan(config, say), "what a run would take")
        return
    folder = out if out is not None else Path("runs") / "select"
    if rank_and_world()[1] > 1:
        print_table(share_command(config, folder, say=say), str(folder))
        say("when all ranks are through, the same command without torchrun or srun scores what they wrote")
        return
    how: dict[str, Any] = {"engine": engine, "workers": workers, "command": shlex.join(sys.argv), "say": say}
    print_table(select_command(config, folder, **how), str(folder))
    say(f"selected.jsonl, ranking.parquet and report.html are in {folder}")
