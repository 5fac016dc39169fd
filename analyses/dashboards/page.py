"""From data to one HTML page: no script, nothing from the network, the same bytes for the same data."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from analyses.dashboards.collect import N_INTERVALS, DashboardData, LatentData, dashboard_data
from analyses.dashboards.examples import example
from analyses.dashboards.histograms import log_histogram
from analyses.dashboards.visible import visible
from interp.plot.numbers import format_number
from interp.store import atomic_write_bytes

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

BYTES_A_LATENT = 15_000
"""What a latent may take of a page: 300 kB for 20."""
_BASE_BYTES = 15_000
_LADDER = ((8, (10, 4)), (8, (6, 2)), (6, (6, 2)), (5, (5, 2)), (4, (5, 2)), (3, (4, 1)), (2, (4, 1)), (1, (4, 1)))
"""Examples an interval, and tokens before and after each: the first of these with which the page fits."""


def feature_dashboard(
    sae: SAE,
    latents: Sequence[int],
    *,
    model: Model,
    texts: Sequence[Any],
    seed: int = 0,
    site: str | None = None,
    bos: str | None = None,
    allow_mismatch: bool = False,
    attribution: Callable[..., Any] | None = None,
    head_share: pd.DataFrame | None = None,
    title: str | None = None,
    max_bytes: int | None = None,
) -> str:
    """Return one HTML page with a dashboard of each latent; the same arguments, the same bytes.

    Args:
        latents: in the order in which they are shown.
        texts: texts (cut to the context of the SAE), or int arrays of token ids, used as they are.
        seed: of the draw of examples and of the random directions.
        site: where to read; default where the SAE was trained.
        bos: BOS policy of texts; default that of the model.
        allow_mismatch: see `interp.sae.check_fit`; the page says what differs.
        attribution: of an SAE on z, `analyses.attention.direct_feature_attribution`: examples then say from which
            tokens they were read.
        head_share: of an SAE on z, the table of `analyses.attention.decoder_head_share`.
        title: of the page.
        max_bytes: the page shows fewer and shorter examples where it would grow above this; default 15 kB a latent.

    Raises:
        InvalidInput: no latents, one that the SAE has not (the nearest is named), or no texts.
        SaeMismatch: the SAE does not fit the model.
    """
    data = dashboard_data(
        sae, latents, model=model, texts=texts, seed=seed, site=site, bos=bos, allow_mismatch=allow_mismatch,
        attribution=attribution, head_share=head_share,
    )  # fmt: skip
    return dashboard_page(data, title=title, max_bytes=max_bytes)


def dashboard_page(data: DashboardData, *, title: str | None = None, max_bytes: int | None = None) -> str:
    """Return the page of some data; it shows fewer and shorter examples where it would grow above `max_bytes`."""
    heading = title if title is not None else f"{data.about['model']}, {data.about['site']}: latents"
    line = lru_cache(maxsize=None)(partial(example, data))
    limit = page_budget(len(data.latents)) if max_bytes is None else max_bytes
    page = ""
    for per_interval, window in _LADDER:
        page = _fill(data, heading, line, per_interval, window)
        if len(page.encode()) <= limit:
            break
    return page


def page_budget(n_latents: int) -> int:
    """Return how many bytes a page of so many latents may take: 30 kB for one, 300 kB for 20."""
    return max(n_latents * BYTES_A_LATENT, _BASE_BYTES + BYTES_A_LATENT)


def save_dashboard(page: str, path: str | Path) -> Path:
    """Write a page to a file, whole or not at all, and return its path.

    Raises:
        ResourceExhausted: no space or no permission. InvalidInput: the folder does not exist.
    """
    atomic_write_bytes(path, page.encode())
    return Path(path)


def _fill(
    data: DashboardData, title: str, line: Callable[..., Markup], per_interval: int, window: tuple[int, int]
) -> str:
    return _template().render(
        title=title,
        data=data,
        shown=visible,
        plain=partial(visible, spaces=False),
        number=format_number,
        percent=_percent,
        per_interval=per_interval,
        window=window,
        n_intervals=N_INTERVALS,
        example=lambda part, position: line(part, int(position), window),
        activations=_activations,
        pairs=lambda panel: zip(panel.top.itertuples(), panel.bottom.itertuples(), strict=True),
        log_histogram=log_histogram,
        strongest_token=lambda part: _token_at(data, part),
        provenance=json.dumps(data.provenance, indent=1),
        style=Markup(_asset("page.css")),
    )


def _activations(part: LatentData) -> Markup:
    counts, edges = np.histogram(part.events.values, 40, range=(0.0, part.activity.largest))
    return log_histogram(counts, edges, what="activations, where it is on")


def _token_at(data: DashboardData, part: LatentData) -> str:
    if not len(part.top):
        return ""
    return visible(data.names[int(data.encoded.ids[part.events.rows[part.top[0]]])])


def _percent(share: float) -> str:
    """Write a share: 12.3 %; <0.01 %."""
    if 0 < share < 1e-4:
        return "<0.01 %"
    return f"{format_number(100 * float(share))} %"


@cache
def _asset(name: str) -> str:
    return files("analyses.dashboards").joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_asset("page.html.j2"))
