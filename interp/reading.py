"""Functions on the sites of a model, and one pass that reads sites and stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch

from interp.errors import HookNotFired, InvalidInput
from interp.hooks import HookFunction, attached
from interp.models import Model, find_site, hook_point
from interp.pooling import site_unview, site_view
from interp.sites import Site


@contextmanager
def hooked(model: Model, functions: Mapping[str | Site, HookFunction]) -> Iterator[None]:
    """Run the body with a function on each site, then take exactly these functions off again.

    A function gets what the site names (`z.1`: [batch, pos, n_heads * d_head]; `z.1.h5`: that head alone) and
    returns None, or a tensor of that shape which takes its place in the model.

    Raises:
        UnknownSite: before anything is attached.
    """
    sites = {find_site(model, name): function for name, function in functions.items()}
    with attached([(hook_point(model, site), _on_site(site, function)) for site, function in sites.items()]):
        yield


def read_sites(
    model: Model, ids: torch.Tensor, mask: torch.Tensor, readers: Mapping[Site, Callable[[torch.Tensor], None]]
) -> None:
    """Run ids [batch, pos] until every site was read, giving each reader its site's tensor; no gradients.

    Raises:
        HookNotFired: a site did not fire exactly once.
    """
    fired = dict.fromkeys(readers, 0)

    def counted(site: Site, reader: Callable[[torch.Tensor], None]) -> HookFunction:
        def call(tensor: torch.Tensor) -> None:
            fired[site] += 1
            reader(tensor)
            if all(fired.values()):
                raise _AllRead

        return call

    try:
        with torch.no_grad(), hooked(model, {site: counted(site, reader) for site, reader in readers.items()}):
            model.run(ids, mask)
    except _AllRead:
        pass
    wrong = [f"{site} fired {n} times" for site, n in fired.items() if n != 1]
    if wrong:
        raise HookNotFired(
            f"each site fires once a batch, but in {model.name} {', '.join(wrong)}; nothing is returned."
        )


class _AllRead(Exception):
    pass


def _on_site(site: Site, function: HookFunction) -> HookFunction:
    def call(tensor: torch.Tensor) -> torch.Tensor | None:
        view = site_view(tensor, site)
        edited = function(view)
        if edited is None:
            return None
        if edited.shape != view.shape:
            raise InvalidInput(f"the function on {site} returned {list(edited.shape)} for {list(view.shape)}.")
        return site_unview(edited, tensor, site)

    return call
