"""`interp dashboard`: one offline page on some latents of an SAE, with what other analyses add where they can."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from analyses.terminal import say


def dashboard(
    sae: str,
    /,
    *,
    latents: str,
    out: Path,
    model: str | None = None,
    bos: Literal["always", "never", "tokenizer"] | None = None,
    texts: Path | None = None,
    n_texts: int = 2000,
    allow_mismatch: Annotated[bool, Parameter(negative="")] = False,
    seed: int = 0,
) -> None:
    """Write one offline HTML page: what some latents of an SAE respond to, write and go with, beside nulls.

    Examples:
      interp dashboard atlas/resid_post.2 --latents 1,2,3 --out latents.html
      interp dashboard atlas/z.2 --latents 0-19 --out attention.html
      interp dashboard ./sae --model ./my-model --texts held-out.txt --latents 7 --out latent-7.html

    Parameters
    ----------
    sae
        "atlas/resid_post.2" (bundled) or a folder with an SAE. One on z also gets the tokens that it reads from.
    latents
        Numbers and ranges with commas between: 1,2,10-19.
    out
        HTML file; it is there whole or not at all.
    model
        "atlas", a folder in Hugging Face format, or a Hugging Face name; default the model that the SAE names.
    bos
        BOS policy; default that of the SAE.
    texts
        File of texts, one a line. Default for atlas: fresh text of its own corpus.
    n_texts
        Texts to read at most.
    allow_mismatch
        Go on where the SAE does not fit the model; the page says in what.
    seed
        Of the draw of examples and of random directions.
    """
    from analyses.dashboards import feature_dashboard, save_dashboard
    from analyses.dashboards.page import page_budget
    from analyses.latent_pages import of_attention
    from interp.errors import InvalidInput
    from interp.models import load_model
    from interp.sae import load_sae
    from interp.text_files import texts_for

    if not out.parent.is_dir():
        raise InvalidInput(f"there is no folder {out.parent} for {out.name}; make it, or choose another.")
    loaded_sae = load_sae(sae)
    chosen = parse_latents(latents, loaded_sae.config.d_sae)
    source = model if model is not None else loaded_sae.config.model_name
    if source is None:
        raise InvalidInput("the SAE does not say of which model it is; give --model.")
    policy: Any = bos if bos is not None else loaded_sae.config.bos
    loaded = load_model(source, bos=policy)
    page = feature_dashboard(
        loaded_sae, chosen, model=loaded, texts=texts_for(loaded.name, texts, n_texts), seed=seed,
        allow_mismatch=allow_mismatch, title=f"Latents of {sae}", **of_attention(loaded_sae, loaded),
    )  # fmt: skip
    save_dashboard(page, out)
    n = len(chosen)
    say(f"{out}: {n} latents, {len(page.encode()) / 1000:,.0f} kB of the {page_budget(n) / 1000:,.0f} kB it may take")


def parse_latents(text: str, d_sae: int) -> list[int]:
    """Return the latents of "1,2,10-19". Raises InvalidInput for anything else, or one that the SAE has not."""
    from analyses.dashboards.collect import checked_latents
    from interp.errors import InvalidInput

    found: list[int] = []
    for word in text.split(","):
        first, dash, last = word.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InvalidInput(f"--latents {text}: {word.strip()!r} is no latent; expected numbers such as 1,2,10-19.")
        checked_latents([int(last or first)], d_sae)  # before a range is written out
        found += range(int(first), int(last or first) + 1)
    if not found:
        raise InvalidInput(f"--latents {text} has no latent in it; a range goes upwards, such as 10-19.")
    return checked_latents(found, d_sae)
