"""Does an SAE belong to a model? A wrong pairing runs without an error and gives numbers that mean nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from interp.errors import SaeMismatch
from interp.sae.coder import SAE

if TYPE_CHECKING:
    from interp.models import Model


@dataclass(frozen=True)
class Fit:
    """What was compared. `mismatches` is empty, or the caller allowed what it lists: keep it with the results."""

    site: str
    mismatches: tuple[str, ...]


def check_fit(model: Model, sae: SAE, *, site: str | None = None, allow_mismatch: bool = False) -> Fit:
    """Compare width, site, model fingerprint and BOS policy of an SAE with a model.

    Args:
        site: where it will be used; default where it was trained.
        allow_mismatch: go on all the same (only where the widths fit) and report what differs.

    Raises:
        SaeMismatch: something differs or is not known; each thing is named. Widths that differ always raise.
        UnknownSite: the model has no such site.
    """
    from interp.models import find_site, width

    config = sae.config
    where = site if site is not None else config.site
    if where is None:
        raise SaeMismatch("the SAE does not say where it reads (its site is null); give site=, such as 'resid_post.2'.")
    found = find_site(model, where)
    if width(model, found) != config.d_in:
        raise SaeMismatch(f"the SAE reads vectors of {config.d_in}; {found} of {model.name} has {width(model, found)}.")
    wrong = [
        _differs("site", config.site, str(found)),
        _differs("model fingerprint", config.model_fingerprint, model.fingerprint),
        _differs("BOS policy", config.bos, model.bos),
    ]
    mismatches = tuple(text for text in wrong if text)
    if mismatches and not allow_mismatch:
        raise SaeMismatch(
            f"this SAE does not fit {model.name}: {'; '.join(mismatches)}. Use the model and the site it was trained "
            "on, or pass allow_mismatch=True, and the results will carry this note."
        )
    return Fit(str(found), mismatches)


def _differs(what: str, trained: str | None, used: str | None) -> str | None:
    if trained is None:
        return f"the {what} it was trained with is not stated"
    if trained == used:
        return None
    chosen = f"used with {used!r}" if used is not None else "none chosen for the model: load it with bos=, --bos"
    return f"{what}: trained with {trained!r}, {chosen}"
