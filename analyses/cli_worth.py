"""`interp select evaluate`: whether selecting for a task is worth it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from analyses.terminal import print_table, say


def evaluate(
    *pool: str,
    target: list[str],
    budget: str = "5% tokens",
    out: Path | None = None,
    method: list[str] | None = None,
    model: str = "atlas",
    sae: str | None = None,
    trainee: str | None = None,
    bos: Literal["always", "never", "tokenizer"] | None = None,
    schema: Literal["auto", "messages", "sharegpt", "prompt_completion", "alpaca", "text"] = "auto",
    template: str = "plain",
    tokens: str = "all",
    pooling: Literal["mean", "weighted", "max", "sum", "frequency"] = "mean",
    deciles: list[str] | None = None,
    against: list[str] | None = None,
    train_tokens: int = 16_384,
    batch_tokens: int = 1024,
    lr: float = 1e-4,
    loss: Literal["answer", "all"] = "answer",
    seeds: int = 5,
    seed: int = 0,
) -> None:
    """Tune the model on what each method picks, at equal tokens, and say which beat random picks; run again to resume.

    Half of each target file is held out, and the loss on it is what counts. Beside the methods stand the untouched
    model, random picks, and the other half of the target itself: where even that is no better than random, the verdict
    is "no power". Verdicts can be "no gain over random".

    Examples:
      interp select evaluate pool.jsonl --target gsm8k.jsonl --budget "5% tokens" --out runs/worth
      interp select evaluate pool.jsonl --target t.jsonl --method mona --method bm25 --trainee ./small-model
      interp select evaluate pool.jsonl --target t.jsonl --method all --lr 3e-4
      interp select evaluate pool.jsonl --target t.jsonl --tokens answer --deciles mona --against residual

    Parameters
    ----------
    pool
        Files, globs or folders, as for interp select.
    target
        File with examples of a task, 4 or more; repeatable, one task a file.
    budget
        500, 5%, "200k tokens" or "5% tokens"; in tokens, no method gains by picking long samples.
    out
        Folder for everything that is written; default runs/worth.
    method
        Method to evaluate; repeatable; "all". Default: the SAE scores, residual and word baselines, and controls.
    model
        Model that selects.
    sae
        "atlas/resid_post.2" (bundled) or a folder with an SAE.
    trainee
        Model that is tuned; default the one that selects.
    bos
        BOS policy; default that of the model card.
    schema
        Layout of the rows.
    template
        plain, tulu, chatml, tokenizer (its chat template), or a form such as "{role}: {content}\\n".
    tokens
        Which tokens are pooled: all, prompt, answer (of plain text all) or last:N.
    pooling
        How they are.
    deciles
        Method whose ranking is cut into ten, each tuned on: a score of relevance has losses that rise; repeatable.
    against
        Method that the others are also compared with; repeatable.
    train_tokens
        Tokens of each training, whatever was picked.
    batch_tokens
        Tokens of a step.
    lr
        Learning rate; choose it on other tasks than those that are evaluated.
    loss
        On answers (of plain text: on all of it), or on all tokens.
    seeds
        How many seeds; each trains every method once more.
    seed
        The first of them.
    """
    from analyses.data_selection.finetuning import Tuning
    from analyses.data_selection.selection_config import SelectionConfig
    from analyses.data_selection.worth_command import DEFAULT, WorthConfig, evaluate_command

    selection = SelectionConfig(
        pool=pool, target=tuple(target), budget=budget, model=model, sae=sae, bos=bos, schema=schema,
        template=template, tokens=tokens, pooling=pooling, seed=seed,
    )  # fmt: skip
    tuning = Tuning(tokens=train_tokens, batch_tokens=batch_tokens, lr=lr, loss=loss, template=template)
    config = WorthConfig(
        selection, tuning, tuple(method or DEFAULT), trainee, seeds, tuple(deciles or ()), tuple(against or ())
    )
    folder = out if out is not None else Path("runs") / "worth"
    print_table(evaluate_command(config, folder, say=say), str(folder))
    say(f"worth.html and the tables are in {folder}")
