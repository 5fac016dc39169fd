"""What `interp train-sae` calls: the texts to train on, and the training."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from interp.errors import InvalidInput, UnknownName, nearest
from interp.text_files import read_texts

if TYPE_CHECKING:
    from interp.models import Model


def train_sae_command(
    *,
    site: str,
    out: Path,
    model: str,
    weights: Literal["trained", "random"],
    bos: Literal["always", "never", "tokenizer"] | None = None,
    arch: str,
    texts: Path | None,
    d_sae: int,
    k: int | None,
    tokens: int,
    seed: int,
    options: list[str],
    site_out: str | None = None,
    skip_connection: bool = False,
    lr: float | None = None,
    device: str | None = None,
    precision: str = "float32",
) -> pd.DataFrame | None:
    """Train, evaluate and save an SAE; return the evaluation (metric, value, n, null).

    Under torchrun all processes train it together, and the first one alone returns something.
    """
    from interp.atlas import facts
    from interp.atlas.saes import FreshTexts
    from interp.models import load_model
    from interp.sae import train_sae_on_model
    from interp.sae.ranks import find_ranks, process_group

    values = parse_options(arch, k, options)
    given = values if lr is None else {"lr": lr, **values}
    with process_group(device) as where:
        loaded = load_model(model, weights=weights, bos=bos, device=where)
        of_atlas = texts is None and model.partition("@")[0] == "atlas"
        source = FreshTexts(facts()) if of_atlas else _FileTexts(texts, loaded)
        trained = train_sae_on_model(
            loaded, source, site, d_sae=d_sae, arch=arch, site_out=site_out, skip_connection=skip_connection,
            tokens=tokens, seed=seed, out=out, device=where, precision=precision, progress=True, **given,
        )  # fmt: skip
        return trained.evaluation if find_ranks().first else None


def parse_options(arch: str, k: int | None, options: list[str]) -> dict[str, Any]:
    """Return the options of an architecture by name, from --k and NAME=VALUE words (values as JSON).

    Raises:
        UnknownName: no such architecture. InvalidInput: a word without "=", an option that the architecture has not,
            one given twice, or one missing.
    """
    from interp.sae.learners import TRAINABLE

    if arch not in TRAINABLE:
        near = ", ".join(nearest(arch, TRAINABLE))
        raise UnknownName(f"no architecture {arch!r} can be trained. Nearest: {near}. All: {', '.join(TRAINABLE)}.")
    fields = {f.name: f for f in dataclasses.fields(TRAINABLE[arch][1])}
    values: dict[str, Any] = {} if k is None else {"k": k}
    for word in options:
        name, equals, text = word.partition("=")
        if not equals or name in values:
            wrong = "is given twice" if equals else "has no value"
            raise InvalidInput(f"option {name!r} {wrong}; expected --option NAME=VALUE, each name once.")
        values[name] = _value(name, text)
    for name in values:
        if name not in fields:
            raise InvalidInput(f"{arch} has no option {name!r}. It has: {', '.join(fields)}.")
    if "k" in fields and "k" not in values and fields["k"].default is dataclasses.MISSING:
        values["k"] = DEFAULT_K
    missing = [n for n, f in fields.items() if f.default is dataclasses.MISSING and n not in values]
    if missing:
        raise InvalidInput(f"{arch} has no default for {missing[0]}; give --option {missing[0]}=VALUE.")
    return values


def _value(name: str, text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        raise InvalidInput(f"--option {name}={text}: expected a number, true, false or [a, b, ...].") from None
    return tuple(value) if isinstance(value, list) else value


DEFAULT_K = 16
"""Latents on a token, where the architecture fixes a number."""


class _FileTexts:
    """Lines of a file; empty ones are left out (training cuts what is longer than the context)."""

    def __init__(self, path: Path | None, model: Model) -> None:
        if path is None:
            raise InvalidInput(f"give --texts FILE (one text a line) to train an SAE on {model.name!r}.")
        self.lines = read_texts(path)

    def __iter__(self) -> Iterator[str]:
        return iter(self.lines)
