"""The `interp` command: parse, call a public function, print, exit.

Exit codes: 0 done; 2 a mistake the user can mend; 3 a file is not what was written; 4 the machine ran out
(disk, permission, memory); 130 interrupted. A mistake of the user gets one line, never a traceback.
Heavy imports stay inside the commands, so that `interp --help` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from analyses.cli_atlas import atlas
from analyses.cli_dashboard import dashboard
from analyses.cli_doctor import doctor
from analyses.cli_select import select
from analyses.cli_worth import evaluate
from analyses.terminal import print_table, say
from interp import __version__
from interp.errors import InterpError

EPILOGUE = """Examples:
  interp run                      all analyses on the bundled model
  interp run geospatial --places my.csv --out runs/mine
  interp run --model ./my-model --sae ./my-sae --places cities
  interp points atlas
  interp show-tokens atlas "Paris is near Lyon"
  interp status runs/atlas
  interp doctor"""

app = App(
    name="interp",
    help="Measure what a transformer represents, with the null beside every number.",
    help_epilogue=EPILOGUE,
    help_format="plaintext",
    version=__version__,
    suppress_keyboard_interrupt=False,  # main says what an interrupted run has kept
)
app.command(atlas)
selecting = App(name="select")
selecting.default(select)
selecting.command(evaluate)
app.command(selecting)
app.command(dashboard)
app.command(doctor)


@app.command
def run(
    *analyses: str,
    model: str | None = None,
    sae: str | None = None,
    bos: Literal["always", "never", "tokenizer"] | None = None,
    places: str | None = None,
    template: str | None = None,
    texts: Path | None = None,
    k: int | None = None,
    permutations: int | None = None,
    survey: bool | None = None,
    seed: int | None = None,
    out: Path | None = None,
    config: Path | None = None,
    write_config: Path | None = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Run analyses and leave tables, figures and one offline report in a folder; run again to resume.

    Examples:
      interp run
      interp run geospatial --places my.csv --template "{name} is a city in"
      interp run --model gpt2 --sae ./sae --texts corpus.txt --out runs/gpt2 --dry-run
      interp run --k 16 --write-config run.toml
      interp run --config run.toml --seed 1 --out runs/seed1

    Parameters
    ----------
    analyses
        Names of analyses; none means all: geospatial, decoding, probing, attention, polysemanticity.
    model
        "atlas" (bundled, the default), a folder in Hugging Face format, or a Hugging Face name.
    sae
        "atlas/resid_post.2" (bundled) or a folder with an SAE (SAELens or sparsify layout). Another model without one
        has its neurons tested alone.
    bos
        BOS policy; default that of the model card. A model without a card needs one: that of the SAE.
    places
        "atlas" (the cities of the bundled model, the default), "cities" (33,880 of GeoNames), or a file: CSV, TSV,
        parquet, GeoJSON.
    template
        Prompt of a place, default {name}. A field beside {name} puts its answer into the prompt and is flagged.
    texts
        File of texts, one a line, for attention and polysemanticity. Default for atlas: fresh text of its own corpus.
    k
        Nearest neighbours of a place on the globe that count as near; default 8.
    permutations
        Random relabellings of the places behind a permutation p; default 999.
    survey
        Also count the geographic features of every layer under several prompts (the default): most of the time of
        geospatial.
    seed
        Of every random choice; default 0.
    out
        Folder of the run; default runs/MODEL.
    config
        TOML file with any of these options by name; an option on the command line wins over it.
    write_config
        Write the options to this TOML file, and run nothing.
    dry_run
        Say what would be done (work units, prompts, tokens, bytes, memory, what is finished), and run nothing.
    """
    from analyses.config_file import config_text, join_options, read_config
    from analyses.job import run_job

    flags = {
        "analyses": analyses, "model": model, "sae": sae, "bos": bos, "places": places, "template": template,
        "texts": None if texts is None else str(texts), "k": k, "permutations": permutations, "survey": survey,
        "seed": seed, "out": out,
    }  # fmt: skip
    chosen, folder = join_options({} if config is None else read_config(config), flags)
    if write_config is not None:
        from interp.store import atomic_write_bytes

        atomic_write_bytes(write_config, config_text(chosen, folder).encode())
        say(f"written: {write_config}; run it: interp run --config {write_config}")
    if dry_run:
        from analyses.dry_run import dry_run as planned

        plan = planned(chosen, folder)
        print_table(plan.shown(), f"dry run into {folder}")
        say(plan.text())
    if write_config is None and not dry_run:
        print(run_job(chosen, folder).text())


@app.command
def points(model: str, /, *, all_layers: Annotated[bool, Parameter(negative="")] = False) -> None:
    """List every site of a model with its TransformerLens hook, axes and shape.

    Example: interp points atlas

    Parameters
    ----------
    model
        "atlas", a folder in Hugging Face format, or a Hugging Face name.
    all_layers
        Show every layer, not the first alone.
    """
    import interp

    table: Any = interp.points(interp.load_model(model))
    if not all_layers:
        table = table[~table["site"].str.contains(r"\.[1-9]\d*$")]
    print_table(table, f"sites of {model}" + ("" if all_layers else " (layer 0; --all-layers for the rest)"))


@app.command(name="show-tokens")
def show_tokens(model: str, text: str, /, *, bos: Literal["always", "never", "tokenizer"] | None = None) -> None:
    """Print the exact ids that a text becomes, with BOS and the characters of each token.

    Example: interp show-tokens atlas "Paris is near Lyon"

    Parameters
    ----------
    model
        "atlas", a folder in Hugging Face format, or a Hugging Face name.
    text
        Any text.
    bos
        BOS policy; default that of the model.
    """
    import interp

    print_table(interp.show_tokens(interp.load_model(model), text, bos=bos), repr(text))


@app.command
def status(folder: Path, /) -> int:
    """Say of every file of a run whether it is done, missing or corrupt (exit code 3 if any is corrupt).

    Example: interp status runs/atlas

    Parameters
    ----------
    folder
        Folder of a run.
    """
    from analyses.job import status_of

    table = status_of(folder)
    print_table(table, str(folder))
    return 3 if {"corrupt", "missing"} & set(table["state"]) else 0


@app.command
def report(folder: Path, /) -> None:
    """Draw the figures and report.html of a finished run again from its tables, without a model.

    Example: interp report runs/atlas

    Parameters
    ----------
    folder
        Folder of a run.
    """
    from analyses.job import rebuild_report

    print(rebuild_report(folder).text())


@app.command(name="train-sae")
def train_sae(
    *,
    site: str,
    out: Path,
    model: str = "atlas",
    weights: Literal["trained", "random"] = "trained",
    bos: Literal["always", "never", "tokenizer"] | None = None,
    arch: str = "topk",
    texts: Path | None = None,
    d_sae: int = 1024,
    k: int | None = None,
    option: list[str] | None = None,
    site_out: str | None = None,
    skip_connection: Annotated[bool, Parameter(negative="")] = False,
    lr: float | None = None,
    tokens: int = 3_000_000,
    seed: int = 0,
    device: str | None = None,
    precision: Literal["float32", "bfloat16"] = "float32",
) -> None:
    """Train an SAE on the activations of a model; run again to resume. On several GPUs: under torchrun.

    Examples:
      interp train-sae --model atlas --site resid_post.1 --out runs/sae
      interp train-sae --site resid_post.1 --arch relu --option l1=3 --out runs/relu
      interp train-sae --site resid_mid.1 --site-out mlp_out.1 --out runs/transcoder
      torchrun --nproc-per-node 2 -m analyses.cli train-sae --site resid_post.1 --out runs/sae

    Parameters
    ----------
    site
        Where to read, for instance resid_post.1 (see interp points).
    out
        Folder of the SAE (SAELens layout); checkpoints lie in it until the training is done.
    model
        "atlas", a folder in Hugging Face format, or a Hugging Face name.
    weights
        "random": the twin with random weights, the control of what an SAE finds anyway.
    bos
        BOS policy; default that of the model card.
    arch
        topk, batchtopk, matryoshka, relu, gated, jumprelu or another of interp.sae.learners.TRAINABLE.
    texts
        File of texts, one a line. Default for atlas: fresh text of its own corpus.
    d_sae
        Number of latents.
    k
        Latents that are active on a token, for the architectures that fix it; default 16.
    option
        NAME=VALUE, an option of the architecture (relu and gated: l1; jumprelu: l0, bandwidth, threshold; matryoshka:
        prefixes; ...); may be given several times.
    site_out
        Train a transcoder, which predicts this site from --site.
    skip_connection
        Of a transcoder: with a linear path beside the latents.
    lr
        Peak learning rate; default that of the library.
    tokens
        Activations to train on.
    seed
        Of weights and of the order of the data.
    device
        Where model and SAE are, such as cpu or cuda:1; default the first CUDA device (under torchrun each process
        its own), else the CPU.
    precision
        bfloat16: of the matrix products, for relu, gated, jumprelu, batchtopk and matryoshka; about twice as fast where
        the hardware multiplies it.
    """
    from analyses.training import train_sae_command

    summary = train_sae_command(
        site=site, out=out, model=model, weights=weights, bos=bos, arch=arch, texts=texts, d_sae=d_sae, k=k,
        options=option or [], site_out=site_out, skip_connection=skip_connection, lr=lr, tokens=tokens, seed=seed,
        device=device, precision=precision,
    )  # fmt: skip
    if summary is not None:
        print_table(summary, str(out))


@app.command(name="eval-sae")
def eval_sae(
    sae: str,
    /,
    *,
    model: str | None = None,
    weights: Literal["trained", "random"] = "trained",
    texts: Path | None = None,
    labels: Path | None = None,
    control: str | None = None,
    n_texts: int = 512,
    allow_mismatch: Annotated[bool, Parameter(negative="")] = False,
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Judge an SAE: fidelity, losses, density, token classes, labels, absorption, each beside its controls.

    Examples:
      interp eval-sae atlas/resid_post.2 --control atlas-random/resid_post.2
      interp eval-sae ./sae --model ./my-model --texts held-out.txt --labels labels.csv --out runs/sae-eval

    Parameters
    ----------
    sae
        "atlas/resid_post.2" (bundled) or a folder with an SAE.
    model
        "atlas", a folder in Hugging Face format, or a Hugging Face name; default the model that the SAE names.
    weights
        "random": the twin with random weights, for an SAE that was trained on it.
    texts
        File of held-out texts, one a line. Default for atlas: fresh text of its own corpus.
    labels
        CSV, TSV or parquet file with the columns text and label, read at the last token. Default for atlas: its facts.
    control
        An SAE of the same site of the random-weights twin; its numbers stand in null_random_weights.
    n_texts
        Texts to read at most.
    allow_mismatch
        Go on where the SAE does not fit the model; the notes say in what.
    seed
        Of every random choice.
    out
        Folder for tables (parquet, JSON) and the figure (pdf, png).
    """
    from analyses.evaluation import eval_sae_command

    result = eval_sae_command(
        sae, model=model, weights=weights, texts=texts, labels=labels, control=control, n_texts=n_texts,
        allow_mismatch=allow_mismatch, seed=seed, out=out,
    )  # fmt: skip
    print_table(result.table, sae)
    print()
    print_table(result.tables["classes"], f"{sae}, by class of token")
    say(f"{', '.join(result.tables)} and the figure are in {out}" if out else "--out FOLDER keeps every table")


@app.command(name="probe")
def probe_labels(
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


def main(tokens: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        return app(tokens, exit_on_error=False, print_error=True, result_action="return_value") or 0
    except CycloptsError:
        return 2
    except InterpError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; what is finished is kept: run the same command again to go on.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone, as with `| head`
        sys.stderr.close()
        return 0
    except MemoryError as error:
        print(f"error: not enough memory ({error}); use fewer places or sites at once.", file=sys.stderr)
        return 4
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 4


def entry() -> Any:
    """Console entry point."""
    raise SystemExit(main())


if __name__ == "__main__":  # python -m analyses.cli, as torchrun starts it
    entry()
