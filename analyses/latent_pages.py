"""Dashboards of the latents that the report of a run shows: a page a site, in the folder of the run.

An analysis names them in a function `example_latents(result) -> {site: [latent]}`; one that has none is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from analyses.registry import Analysis
from interp.errors import InvalidInput

if TYPE_CHECKING:
    from analyses.job import Job
    from interp.models import Model
    from interp.plot import Link
    from interp.result import Result
    from interp.sae import SAE
    from interp.store import Key, Store

N_TEXTS = 1000
_INDEX = "latents/index.json"
Chosen = dict[str, dict[str, list[int]]]
"""analysis -> site -> latents."""


def write_latent_pages(chosen: Sequence[Analysis], results: Mapping[str, Result], job: Job, key: Key) -> None:
    """Write the pages that are not there, and which analysis shows which latents.

    Args:
        key: of the results; pages of other results are made again.
    """
    named = _named(chosen, results)
    if job.texts is None and job.config.model.partition("@")[0] != "atlas":
        named = {}  # nothing to show a latent by
    for site, latents in _by_site(named).items():
        if job.store.state(page_name(site), key).status != "done":
            job.store.put(page_name(site), _page(job, site, latents).encode(), key=key)
    job.store.put_json(_INDEX, named, key=key)


def page_name(site: str) -> str:
    """Return the name of a site's page in the folder of a run."""
    return f"latents/{site}.html"


def latent_links(store: Store, key: Key) -> dict[str, list[Link]]:
    """Return, of each analysis, the links to the dashboards of its latents; empty where pages are of other results."""
    from interp.plot import Link

    if store.state(_INDEX, key).status != "done":
        return {}
    return {
        analysis: [
            Link(f"{site}, latent {latent}", f"{page_name(site)}#latent-{latent}")
            for site, latents in sites.items()
            for latent in latents
        ]
        for analysis, sites in store.get(_INDEX).items()
    }


def of_attention(sae: SAE, model: Model) -> dict[str, Any]:
    """Return what the study of attention adds to an SAE on z: attribution by source, and the heads of a decoder."""
    from interp.sites import Site

    if sae.config.site is None or Site.parse(sae.config.site).component != "z" or sae.config.is_transcoder:
        return {}
    from analyses.attention import decoder_head_share, direct_feature_attribution

    return {"attribution": direct_feature_attribution, "head_share": decoder_head_share(sae, n_heads=model.n_heads)}


def _named(chosen: Sequence[Analysis], results: Mapping[str, Result]) -> Chosen:
    named = {}
    for analysis in chosen:
        examples = getattr(analysis.load(), "example_latents", None)
        sites = {} if examples is None else examples(results[analysis.name])
        if sites:
            named[analysis.name] = sites
    return named


def _by_site(named: Chosen) -> dict[str, list[int]]:
    found: dict[str, set[int]] = {}
    for sites in named.values():
        for site, latents in sites.items():
            found.setdefault(site, set()).update(latents)
    return {site: sorted(latents) for site, latents in sorted(found.items())}


def _page(job: Job, site: str, latents: list[int]) -> str:
    from analyses.dashboards import feature_dashboard
    from interp.text_files import texts_for

    sae = _sae_at(job, site)
    texts = job.texts[:N_TEXTS] if job.texts is not None else texts_for(job.config.model, None, N_TEXTS)
    return feature_dashboard(
        sae, latents, model=job.model, texts=texts, seed=job.config.seed, title=f"{job.config.model}, {site}: latents",
        **of_attention(sae, job.model),
    )  # fmt: skip


def _sae_at(job: Job, site: str) -> SAE:
    from analyses.attention.run import job_saes

    if job.has_sae and str(job.sae.config.site) == site:
        return job.sae
    layer = int(site.rpartition(".")[2])
    saes = job_saes(job)[0]
    if f"z.{layer}" != site or layer not in saes:
        raise InvalidInput(f"the run has no SAE at {site}, whose latents an analysis shows.")
    return saes[layer]
