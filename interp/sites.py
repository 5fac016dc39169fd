"""The vocabulary of places in a transformer.

One name means one tensor in every architecture: `resid_post.3` is the residual stream after block 3,
`z.1.h5` the value mix of head 5 in layer 1. Pure tables, no torch: `models.py` maps a site to the
hook of a live model. An unknown site raises, because a site selects data; it does not label it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from interp.errors import InvalidInput, UnknownSite, nearest


@dataclass(frozen=True)
class Component:
    """One kind of place: where it is, the axes of its tensor and where in a block it is computed."""

    name: str
    axes: tuple[str, ...]
    order: int  # position inside a block: capture stops after the deepest one
    per_head: bool = False
    what: str = ""


_TABLE = (
    Component("embed", ("batch", "pos", "d_model"), 0, what="token embedding (before any block)"),
    Component("resid_pre", ("batch", "pos", "d_model"), 1, what="residual stream entering the block"),
    Component("q", ("batch", "pos", "head", "d_head"), 2, True, "queries"),
    Component("k", ("batch", "pos", "head", "d_head"), 3, True, "keys"),
    Component("v", ("batch", "pos", "head", "d_head"), 4, True, "values"),
    Component("pattern", ("batch", "head", "query_pos", "key_pos"), 5, True, "attention weights; each row sums to 1"),
    Component("z", ("batch", "pos", "head", "d_head"), 6, True, "value mix of each head, before W_O"),
    Component("attn_out", ("batch", "pos", "d_model"), 7, what="what attention adds to the residual stream"),
    Component("resid_mid", ("batch", "pos", "d_model"), 8, what="residual stream between attention and MLP"),
    Component("mlp_pre", ("batch", "pos", "d_mlp"), 9, what="neurons before the nonlinearity"),
    Component("mlp_post", ("batch", "pos", "d_mlp"), 10, what="neurons after the nonlinearity (what W_out reads)"),
    Component("mlp_out", ("batch", "pos", "d_model"), 11, what="what the MLP adds to the residual stream"),
    Component("resid_post", ("batch", "pos", "d_model"), 12, what="residual stream leaving the block"),
)
COMPONENTS: dict[str, Component] = {c.name: c for c in _TABLE}

_SITE = re.compile(r"(?P<component>[a-z_]+)(?:\.(?P<layer>0|[1-9][0-9]{0,3}))?(?:\.h(?P<head>0|[1-9][0-9]{0,3}))?")


@dataclass(frozen=True, order=True)
class Site:
    """A place in a transformer: component, layer (from 0) and, where there are heads, one head.

    Prints and parses as `resid_post.3`, `z.1` (all heads, flattened head-major) or `z.1.h5`.

    >>> Site("resid_post", layer=3)
    Site('resid_post.3')
    >>> Site.parse("z.1.h5").head
    5
    """

    component: str
    layer: int | None = None
    head: int | None = None

    def __post_init__(self) -> None:
        if self.component not in COMPONENTS:
            near = ", ".join(nearest(self.component, COMPONENTS))
            raise UnknownSite(f"unknown component {self.component!r}. Nearest: {near}. All: {', '.join(COMPONENTS)}.")
        if self.component == "embed":
            if self.layer is not None or self.head is not None:
                raise UnknownSite(f"'embed' has no layer and no head; write 'embed' alone, not {str(self)!r}.")
        elif self.layer is None:
            raise UnknownSite(f"{self.component!r} needs a layer, as in '{self.component}.0'.")
        for name in ("layer", "head"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise UnknownSite(f"{name} of a site is an integer from 0, not {value!r}.")
        if self.head is not None and not COMPONENTS[self.component].per_head:
            heads = ", ".join(c.name for c in _TABLE if c.per_head)
            raise UnknownSite(f"{self.component!r} has no heads; those with heads: {heads}.")

    @classmethod
    def parse(cls, text: str | Site) -> Site:
        """Read a site from its name. Raises UnknownSite with the three nearest names."""
        if isinstance(text, Site):
            return text
        if not isinstance(text, str):
            raise InvalidInput(f"a site is a string such as 'resid_post.3' or a Site, not {type(text).__name__}.")
        match = _SITE.fullmatch(text)
        if match is None:
            head, _, _ = text.partition(".")
            near = ", ".join(f"{name}.0" for name in nearest(head, COMPONENTS) if name != "embed")
            raise UnknownSite(
                f"{text!r} is not a site. Expected component.layer or component.layer.hHEAD; nearest: {near}."
            )
        layer, head = match["layer"], match["head"]
        return cls(match["component"], None if layer is None else int(layer), None if head is None else int(head))

    @property
    def depth(self) -> tuple[int, int]:
        """Order of computation: (layer, place in the block); `embed` comes first."""
        return (-1 if self.layer is None else self.layer, COMPONENTS[self.component].order)

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes of this site's tensor; one head has no head axis."""
        axes = COMPONENTS[self.component].axes
        return axes if self.head is None else tuple(a for a in axes if a != "head")

    def __str__(self) -> str:
        layer = "" if self.layer is None else f".{self.layer}"
        return f"{self.component}{layer}" + ("" if self.head is None else f".h{self.head}")

    def __repr__(self) -> str:
        return f"Site({str(self)!r})"


def all_sites(n_layers: int, components: Iterable[str] = COMPONENTS) -> list[Site]:
    """Return every site (heads together) of a model of `n_layers` layers, in order of computation."""
    names = list(components)
    sites = [Site("embed")] if "embed" in names else []
    sites += [Site(c, layer) for layer in range(n_layers) for c in names if c != "embed"]
    return sorted(sites, key=lambda s: s.depth)
