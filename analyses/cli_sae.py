"""`interp train-sae` and `eval-sae`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from analyses.terminal import print_table, say


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
