"""The work units of the study: computed once, kept in the store where there is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.geospatial.activations import PlaceActivations, placename_activations
from analyses.geospatial.prompts import Prompts
from analyses.geospatial.study import StudyConfig
from analyses.geospatial.survey import joined
from interp.store import Store, make_key, sha256_array, sha256_table
from interp.tokens import encode
from interp.work import load_units, run_units

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

CODE_VERSION = "2"
CHUNK = 1000  # places in a work unit


class StudyUnits:
    """What the study computes piece by piece; `inputs` has the fingerprints of all that went in so far."""

    def __init__(self, store: Store | None, places: pd.DataFrame, config: StudyConfig) -> None:
        self.store, self.config = store, config
        self.inputs: dict[str, str] = {"places": sha256_table(places)}

    def activations(self, name: str, model: Model, site: str, sae: SAE | None, prompts: Prompts) -> PlaceActivations:
        """Return the activations of a model at every place: latents of the SAE at a site, neurons of its layer."""
        self.inputs |= {
            f"{name} model": model.fingerprint,
            f"{name} reading": reading_fingerprint(model, prompts),
            f"{name} sae": "none" if sae is None else sae_fingerprint(sae),
        }
        c = self.config
        choices = {"template": c.template, "pool": c.pool, "over": c.over, "site": site, "chunk": CHUNK}
        inputs = {k: v for k, v in self.inputs.items() if k == "places" or k.startswith(f"{name} ")}

        def compute(unit: str) -> tuple[Any, ...]:
            part = prompts.part(int(unit) * CHUNK, CHUNK)
            acts = placename_activations(model, part, site, sae=sae, pool=c.pool)
            dense = {"neurons": acts.neurons, "n_tokens": acts.n_tokens}
            return (dense,) if acts.latents is None else (dense, acts.latents)

        kinds = ("neurons",) if sae is None else ("neurons", "latents")
        units = [f"{i:05d}" for i in range(-(-len(prompts.texts) // CHUNK))]
        found = self._units(
            units, compute, f"activations of the {name} model", choices, inputs,
            lambda unit: tuple(f"geospatial/{name}/{kind}-{unit}.safetensors" for kind in kinds),
        )  # fmt: skip
        return joined(
            [PlaceActivations(latents[0] if latents else None, p["neurons"], p["n_tokens"]) for p, *latents in found]
        )

    def tests(self, conditions: Sequence[str], compute: Callable[[str], pd.DataFrame]) -> pd.DataFrame:
        """Return the tests of every condition, one below the other."""
        return self._tables("tests", conditions, compute, self.inputs)

    def survey(
        self, cells: Sequence[str], compute: Callable[[str], pd.DataFrame], saes: Mapping[str, SAE | None]
    ) -> pd.DataFrame:
        """Return the survey of every cell (a condition and a reading), one below the other."""
        read = {f"survey sae {site}": sae_fingerprint(sae) for site, sae in saes.items() if sae is not None}
        return self._tables("survey", cells, compute, {**self.inputs, **read})

    def _tables(
        self, kind: str, units: Sequence[str], compute: Callable[[str], pd.DataFrame], inputs: dict[str, str]
    ) -> pd.DataFrame:
        found = self._units(
            list(units), compute, kind, self.config.to_dict(), inputs,
            lambda unit: f"geospatial/{kind}/{'-'.join(unit.replace(',', '').split())}.parquet",
        )  # fmt: skip
        return pd.concat(found, ignore_index=True)

    def _units(
        self,
        units: list[str],
        compute: Callable[[str], Any],
        desc: str,
        choices: dict[str, Any],
        inputs: dict[str, str],
        name_of: Callable[[str], str | tuple[str, ...]],
    ) -> list[Any]:
        if self.store is None:
            return [compute(unit) for unit in units]
        key = make_key(choices, inputs, code_version=CODE_VERSION)
        options: dict[str, Any] = {"store": self.store, "name_of": name_of, "key_of": lambda _: key}
        run_units(units, compute, desc=desc, **options)
        kept = load_units(units, **options)
        return [kept[unit] for unit in units]


def sae_fingerprint(sae: SAE) -> str:
    """Return the sha256 over the config and the weights of an SAE."""
    weights = {name: sha256_array(tensor.detach().cpu().numpy()) for name, tensor in sae.weights().items()}
    return str(make_key(sae.config.to_dict(), weights, code_version="1"))


def reading_fingerprint(model: Model, prompts: Prompts) -> str:
    """Return the sha256 over what a model is given: token ids with BOS, which of them are read, and its dtype.

    Tokenizer and BOS policy are no weights, so the fingerprint of the model does not know them.
    """
    encoded = encode(model, prompts.texts, spans=prompts.spans)
    arrays = {"ids": encoded.ids, "starts": encoded.starts, "span_mask": encoded.span_mask}
    hashes = {name: sha256_array(np.asarray(array)) for name, array in arrays.items()}
    return str(make_key({"dtype": str(model.dtype)}, hashes, code_version="1"))
