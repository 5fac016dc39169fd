"""Runs of ordinal classes and statements of what comes after what, with their exact probability."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from math import log

import numpy as np

from interp.atlas import lexicon as lex
from interp.atlas.corpus.draw import Rng, draw, pick, zipf_cdf
from interp.atlas.corpus.text import Text

Classes = Mapping[str, tuple[list[str], bool]]
"""Class -> (members in order, whether the last is followed by the first)."""

RUN_SHARE = 0.75
SIZES = range(4, 11)
SEPARATORS = (" ", ", ")
STATEMENTS = {"after": ("After ", " comes"), "before": ("", " comes before")}
_MILD = 8.0  # offset of Zipf's law over the classes: the rarest is still drawn half as often as the most common


def _n_starts(members: list[str], cyclic: bool, size: int) -> int:
    return len(members) if cyclic else max(1, len(members) - size + 1)


def _run(members: list[str], cyclic: bool, start: int, size: int) -> list[str]:
    return [members[(start + i) % len(members)] for i in range(size if cyclic else min(size, len(members)))]


def _statement(form: str, a: str, b: str) -> tuple[str, str]:
    before, between = STATEMENTS[form]
    return f"{before}{a}{between}", f" {b}"


def ways(classes: Classes) -> Iterator[tuple[str, float]]:
    """Yield (text, probability) of every way in which a text can be made; a text may have several."""
    shares = np.diff(zipf_cdf(len(classes), _MILD), prepend=0.0).tolist()
    for (members, cyclic), share in zip(classes.values(), shares, strict=True):
        for size in SIZES:
            n = _n_starts(members, cyclic, size)
            p = share * RUN_SHARE / (len(SIZES) * n * len(SEPARATORS))
            for start in range(n):
                yield from ((s.join(_run(members, cyclic, start, size)), p) for s in SEPARATORS)
        n = _n_starts(members, cyclic, 2)
        for start in range(n):
            a, b = _run(members, cyclic, start, 2)
            for form in STATEMENTS:
                yield "".join(_statement(form, a, b)) + ".", share * (1 - RUN_SHARE) / (n * len(STATEMENTS))


def probabilities(classes: Classes) -> dict[str, float]:
    """Return text -> probability, over all ways to make it, of every text that the classes can give."""
    total: dict[str, float] = {}
    for text, p in ways(classes):
        total[text] = total.get(text, 0.0) + p
    return total


@cache
def _corpus_probabilities() -> dict[str, float]:
    return probabilities(lex.ORDINALS)


def document(rng: Rng) -> Text:
    """Return a run of 4 to 10 members of a class, or a statement such as "After C comes D."."""
    names = list(lex.ORDINALS)
    name = names[draw(rng, zipf_cdf(len(names), _MILD))]
    members, cyclic = lex.ORDINALS[name]
    run = bool(rng.random() < RUN_SHARE)
    size = int(rng.integers(SIZES.start, SIZES.stop)) if run else 2
    words = _run(members, cyclic, int(rng.integers(_n_starts(members, cyclic, size))), size)
    form = "run" if run else pick(rng, list(STATEMENTS))
    text = Text("ordinals", labels={"class": name, "form": form})
    if run:
        text.add(pick(rng, SEPARATORS).join(words))
    else:
        asked, answer = _statement(form, *words)
        text.add(asked).reply(answer).add(".")
    text.nats = -log(_corpus_probabilities()[text.text])
    return text
