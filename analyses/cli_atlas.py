"""`interp atlas`: the commands about the bundled model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from analyses.terminal import print_table, say

atlas = App(name="atlas", help="The bundled model: card, check, and how to make it again.")


@atlas.command(name="card")
def atlas_card(*, folder: Path | None = None, write: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Print what was measured of the bundled model, beside its controls.

    Examples:
      interp atlas card
      interp atlas card --folder runs/atlas --write

    Parameters
    ----------
    folder
        Folder of a build (see interp atlas build); default the bundled model.
    write
        Measure everything first (minutes), and write card.json and README.md.
    """
    import json

    import pandas as pd

    from interp.errors import InvalidInput

    model, saes = _places_of(folder)
    if write:
        from interp.atlas.write_card import write_card

        card = write_card(model, saes, say=say)
    else:
        card = json.loads((model / "card.json").read_text(encoding="utf-8"))
    if not card.get("measured"):
        raise InvalidInput(f"nothing is measured of {model} yet; measure it: interp atlas card --folder ... --write")
    print_table(pd.DataFrame(card["measured"]), str(model))


@atlas.command(name="sae-cards")
def atlas_sae_cards(*, folder: Path | None = None, again: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Evaluate every SAE of the bundled model beside its controls, and write the card of each; resumes.

    Examples:
      interp atlas sae-cards
      interp atlas sae-cards --folder runs/atlas --again

    Parameters
    ----------
    folder
        Folder of a build (see interp atlas build); default the bundled SAEs, whose cards are there.
    again
        Also evaluate those that have a card.
    """
    from analyses.evaluation.card import card_saes

    model, saes = _places_of(folder)
    print_table(card_saes(model, saes, again=again, say=say), str(saes))


@atlas.command(name="verify")
def atlas_verify(*, folder: Path | None = None) -> int:
    """Check every file of the bundled model and SAEs, and measure a few figures of its card again.

    Exit code 3 if a file is not what was written or a figure differs, 2 if the card states none.
    Example: interp atlas verify

    Parameters
    ----------
    folder
        Folder of a build (see interp atlas build); default what is bundled.
    """
    from interp.atlas.verify import verify_figures, verify_files

    model, saes = _places_of(folder)
    print_table(verify_files(model, saes), str(model.parent))
    table = verify_figures(model)
    print_table(table, "figures of the card, measured again")
    states = set(table["state"])
    return 3 if "differs" in states else 2 if "not in the card" in states else 0


@atlas.command(name="build")
def atlas_build(
    *,
    folder: Path,
    small: Annotated[bool, Parameter(negative="")] = False,
    tokens: int | None = None,
    seed: int = 0,
    workers: int | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    until: Literal["tokenizer", "training", "model", "saes", "card"] = "card",
    install: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Make the bundled model again from nothing: tokenizer, training, export, SAEs, card; run again to resume.

    Examples:
      interp atlas build --folder runs/small --small
      interp atlas build --folder runs/atlas --device cuda

    Parameters
    ----------
    folder
        Where everything is written; a stage that is finished there is skipped.
    small
        A model of 2 layers and 400 cities that shows every stage in a minute or two on one core.
    tokens
        Tokens to train on; default those of the bundled model (200,000 with --small).
    seed
        Of the weights and the text. Equal seeds give equal weights on one machine.
    workers
        Processes that make text; their number changes nothing. Default the number of CPUs.
    device
        Where the network is trained.
    until
        Last stage to run.
    install
        Replace the bundled model and SAEs by these. Without it nothing outside the folder is touched.
    """
    import os

    from interp.atlas.build import build, full_plan, small_plan
    from interp.atlas.build import install as put_in_place

    plan = small_plan(tokens=tokens, seed=seed) if small else full_plan(tokens=tokens, seed=seed, device=device)
    table = build(folder, plan, until=until, device=device, workers=workers or os.cpu_count() or 1, say=say)
    if install:
        from interp.sources import ASSETS

        put_in_place(folder, ASSETS, say=say)
    print_table(table, str(folder))


def _places_of(folder: Path | None) -> tuple[Path, Path]:
    """Return the folders of the model and of the SAEs: of a build, or what is bundled."""
    from interp.errors import InvalidInput
    from interp.sources import ASSETS

    root = ASSETS if folder is None else folder
    if not (root / "atlas" / "card.json").is_file():
        raise InvalidInput(f"{root} holds no model in {root / 'atlas'}; expected the folder of interp atlas build.")
    return root / "atlas", root / "saes"
