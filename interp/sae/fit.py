"""Does an SAE belong to a model? A wrong pairing runs without an error and gives numbers that mean nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from interp.errors import SaeMismatch
from interp.sae.coder import SAE
from interp.sae.config import SaeConfig
from interp.sites import Site

if TYPE_CHECKING:
    from interp.models import Model


_STATE_IT = (
    " What a file does not state can be stated once and saved: load_sae(folder, declare={'model_fingerprint': "
    "model.fingerprint}), then save_sae."
)


@dataclass(frozen=True)
class Fit:
    """What was compared. `mismatches` is empty, or the caller allowed what it lists: keep it with the results."""

    site: str
    """Where it reads."""
    site_out: str | None
    """Where it writes: the same place, but for a transcoder; None: that is not known."""
    mismatches: tuple[str, ...]


def check_fit(
    model: Model, sae: SAE, *, site: str | None = None, site_out: str | None = None, allow_mismatch: bool = False
) -> Fit:
    """Compare widths, heads, sites, model fingerprint and BOS policy of an SAE with a model.

    Args:
        site: where it will be used; default where it was trained.
        site_out: of a transcoder, where it will write; default where it was trained to.
        allow_mismatch: go on all the same (only where the widths fit) and report what differs.

    Raises:
        SaeMismatch: something differs or is not known; each thing is named. Widths and numbers of heads that differ
            always raise.
        UnknownSite: the model has no such site.
    """
    config = sae.config
    where = site if site is not None else config.site
    if where is None:
        raise SaeMismatch("the SAE does not say where it reads (its site is null); give site=, such as 'resid_post.2'.")
    found = _place(model, where, config.d_in, "reads")
    _check_heads(model, config, found)
    written = _place_out(model, config, site_out, found)
    wrong = [
        _differs("site", config.site, str(found)),
        _differs("model fingerprint", config.model_fingerprint, model.fingerprint),
        _differs("BOS policy", config.bos, model.bos),
    ]
    if config.is_transcoder:
        wrong.insert(1, _differs("site it writes to", config.site_out, None if written is None else str(written)))
    mismatches = tuple(text for text in wrong if text)
    if mismatches and not allow_mismatch:
        unstated = any("is not stated" in text for text in mismatches)
        raise SaeMismatch(
            f"this SAE does not fit {model.name}: {'; '.join(mismatches)}. Use the model and the site it was trained "
            "on, or pass allow_mismatch=True, and the results will carry this note." + (_STATE_IT if unstated else "")
        )
    return Fit(str(found), None if written is None else str(written), mismatches)


def _place(model: Model, where: str, n: int, verb: str) -> Site:
    from interp.models import find_site, width

    found = find_site(model, where)
    if width(model, found) != n:
        raise SaeMismatch(f"the SAE {verb} vectors of {n}; {found} of {model.name} has {width(model, found)}.")
    return found


def _place_out(model: Model, config: SaeConfig, site_out: str | None, site: Site) -> Site | None:
    if not config.is_transcoder:
        if site_out is not None and site_out != str(site):
            raise SaeMismatch(f"an SAE writes where it reads, {site}; site_out={site_out!r} belongs to a transcoder.")
        return site
    where = site_out if site_out is not None else config.site_out
    if where is None:
        return None
    written = _place(model, where, config.width_out, "writes")
    if written.depth <= site.depth:
        raise SaeMismatch(f"a transcoder writes at a later place than it reads; {written} is not after {site}.")
    return written


def _check_heads(model: Model, config: SaeConfig, site: Site) -> None:
    if config.n_heads is None:
        return
    shape = model.shapes[str(Site(site.component, site.layer))][1:]
    if site.head is not None or len(shape) != 2 or shape[0] != config.n_heads:
        has = f"{shape[0]} heads" if len(shape) == 2 and site.head is None else "no heads side by side"
        raise SaeMismatch(
            f"the SAE reads {config.n_heads} heads of {config.d_in // config.n_heads} values each, head-major; "
            f"{site} of {model.name} has {has}."
        )


def _differs(what: str, trained: str | None, used: str | None) -> str | None:
    if trained is None:
        return f"the {what} it was trained with is not stated"
    if trained == used:
        return None
    chosen = f"used with {used!r}" if used is not None else "none chosen for the model: load it with bos=, --bos"
    return f"{what}: trained with {trained!r}, {chosen}"
