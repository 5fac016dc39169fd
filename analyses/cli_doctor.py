"""`interp doctor`: look at everything that a run needs, before it begins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from analyses.terminal import print_table

if TYPE_CHECKING:
    from analyses.doctor import Check


def doctor(
    *,
    model: str = "atlas",
    sae: str | None = None,
    bos: Literal["always", "never", "tokenizer"] | None = None,
    out: Path | None = None,
) -> int:
    """Look at versions, offline state, disk, memory, bundled files, threads, and whether model and SAE fit.

    Exit code 2 if anything is a problem; warnings do not stop a run.
    Examples:
      interp doctor
      interp doctor --model ./my-model --sae ./my-sae --bos always

    Parameters
    ----------
    model
        "atlas" (bundled), a folder in Hugging Face format, or a Hugging Face name; it is loaded if memory holds it.
    sae
        "atlas/resid_post.2" (bundled) or a folder with an SAE; default the bundled one for atlas.
    bos
        BOS policy; default that of the model card.
    out
        Folder that a run would write to; default runs/MODEL.
    """
    from analyses.doctor import PROBLEM, table_of

    table = table_of(_checks(model, sae, bos, out or Path("runs") / Path(model).name))
    print_table(table, "interp doctor")
    return 2 if PROBLEM in set(table["state"]) else 0


def _checks(model: str, sae: str | None, bos: str | None, out: Path) -> list[Check]:
    import os

    from analyses import doctor as d

    checks = [*d.installed_checks(), d.thread_check(d.cores_here(), os.environ)]
    if any(check.state == d.PROBLEM for check in checks):
        return checks  # what follows imports what may be absent
    from analyses.job import DEFAULT_SAE
    from analyses.sizes import sizes_of
    from interp.errors import InterpError
    from interp.sources import ASSETS, BUNDLED, _hub_is_out_of_reach, find_source

    sae = sae or DEFAULT_SAE.get(model)
    checks += d.asset_checks(ASSETS)
    needs = [m for m in [model] if m.partition("@")[0] not in BUNDLED and not Path(m).expanduser().exists()]
    needs += [s for s in [sae] if s is not None and not (ASSETS / "saes" / s).is_dir() and not Path(s).is_dir()]
    checks.append(d.hub_check(needs, out_of_reach=_hub_is_out_of_reach()))
    try:
        sizes = sizes_of(find_source(model))
    except InterpError as error:
        return [*checks, d.Check("fit", "model", d.PROBLEM, str(error).splitlines()[0], "give another --model")]
    disk = d.space_check(
        "machine", d.disk_here(out), d.RUN_BYTES, what=f"disk of {out}", do="free some space, or give another --out"
    )
    memory = d.memory_here()
    checks.append(disk)
    if memory is not None:
        do = "give a smaller model, or a machine with more memory"
        checks.append(d.space_check("machine", memory, sizes.loaded_bytes, what="memory", do=do))
        if memory < sizes.loaded_bytes:
            return checks
    return [*checks, *d.fit_checks(model, sae, bos)]
