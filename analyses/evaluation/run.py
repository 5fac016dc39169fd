"""Evaluate an SAE on a model: read texts once, measure everything, keep the controls beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from analyses.evaluation.label_sets import LabelSet, label_sets_of, read_label_set
from interp.errors import InvalidInput, SaeMismatch
from interp.plot import save_figure
from interp.provenance import provenance
from interp.result import Result
from interp.store import make_key, sha256_array
from interp.text_files import texts_for

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

CODE_VERSION = "1"
NOTES = (
    "The random SAE has random directions, is on as often as the SAE, and has one fitted gain.",
    "FVU of a class of tokens is about the mean of that class; BOS, EOS and padding are left out everywhere.",
    "Never on means never on in these n tokens: at 95 %, a density below 3 / n.",
    "Intervals resample texts, or latents where interval_over says so.",
)


class TokenRows(NamedTuple):
    """Activations [n, d] of the ordinary tokens of some texts; text, place in it and id of each, int [n]."""

    activations: np.ndarray
    text_index: np.ndarray
    position: np.ndarray
    ids: np.ndarray


def evaluate(
    sae: SAE,
    model: Model,
    texts: Sequence[str],
    *,
    seed: int,
    site: str | None = None,
    label_sets: Mapping[str, LabelSet] | None = None,
    control: tuple[SAE, Model] | None = None,
    n_boot: int = 200,
    allow_mismatch: bool = False,
) -> Result:
    """Return everything that is measured of an SAE on a model.

    Args:
        texts: held-out texts; longer ones are cut to the context of the SAE.
        seed: of every resample, shuffle and random SAE.
        site: where to read; default where the SAE was trained.
        label_sets: name -> texts with labels, read at their last token.
        control: an SAE of the random-weights twin, and the twin: its numbers stand in null_random_weights.
        allow_mismatch: see `interp.sae.check_fit`.

    Returns:
        A Result "sae.evaluation": table (metrics of `evaluate_sae` and losses of `loss_recovered`), tables classes,
        density, and with label_sets labels and absorption.

    Raises:
        SaeMismatch: an SAE that does not fit its model. InvalidInput: no texts, or a transcoder.
    """
    from interp.sae import check_fit, random_sae

    if not texts:
        raise InvalidInput("no texts to evaluate on.")
    fit = check_fit(model, sae, site=site, allow_mismatch=allow_mismatch)
    rows = token_rows(model, sae, texts, fit.site)
    rival = random_sae(sae, rows.activations, seed=seed)
    options = {"site": fit.site, "allow_mismatch": allow_mismatch, "n_boot": n_boot, "seed": seed}
    table = _fidelity(sae, model, rival, rows, texts, options)
    if control is not None:
        table = _beside(table, *control, texts, options)
    tables = {"classes": _classes(sae, rows, seed, n_boot), "density": _density(sae, rival, rows.activations)}
    if label_sets:
        tables |= _labels(sae, rival, model, label_sets, fit.site, seed, n_boot)
    key = make_key(
        options | {"sae": sae.config.to_dict(), "n_texts": len(texts)},
        {"activations": sha256_array(rows.activations), "model": model.fingerprint, "sae": _digests(sae)},
        code_version=CODE_VERSION,
    )
    notes = NOTES + tuple(f"The SAE was used although it does not fit: {m}." for m in fit.mismatches)
    about = provenance(key, seed=seed, model=model.name, site=fit.site)
    return Result("sae.evaluation", table, tables, about, "analyses.evaluation.view:plot", notes)


def token_rows(model: Model, sae: SAE, texts: Sequence[str], site: str) -> TokenRows:
    """Read the ordinary tokens of texts, cut to the context of the SAE, at a site."""
    from interp.capturing import capture
    from interp.tokens import encode

    length = min(n for n in (sae.config.context_size, model.n_ctx) if n is not None)
    encoded = encode(model, texts, max_length=length)
    ordinary = ~encoded.special
    text = np.repeat(np.arange(len(texts)), encoded.lengths)
    position = np.arange(len(encoded.ids)) - encoded.starts[text]
    activations = capture(model, texts, site, pool="none", max_length=length)[site]
    return TokenRows(activations, text[ordinary], position[ordinary], encoded.ids[ordinary])


def _fidelity(
    sae: SAE, model: Model, rival: SAE, rows: TokenRows, texts: Sequence[str], options: dict[str, Any]
) -> pd.DataFrame:
    from interp.sae import evaluate_sae, loss_recovered

    seed, n_boot = options["seed"], options["n_boot"]
    table = evaluate_sae(sae, rows.activations, seed=seed, n_boot=n_boot, text_index=rows.text_index)
    length = min(n for n in (sae.config.context_size, model.n_ctx) if n is not None)
    ours, theirs = (
        loss_recovered(model, coder, texts, max_length=length, max_rows=len(texts), **options) for coder in (sae, rival)
    )
    known = ours.set_index("metric")["value"]
    ours = ours.assign(
        null_mean_predictor=[known["loss_mean"] if m == "loss_spliced" else np.nan for m in ours["metric"]],
        # the losses without an SAE are no property of it, so they have no control
        null_random_sae=theirs["value"].where(~ours["metric"].isin(["loss_clean", "loss_zero", "loss_mean"])),
        interval_over="texts", n_latents=sae.config.d_sae, n_boot=n_boot,
    )  # fmt: skip
    return pd.DataFrame(table.to_dict("records") + ours.loc[:, list(table.columns)].to_dict("records"))


def _beside(table: pd.DataFrame, sae: SAE, twin: Model, texts: Sequence[str], options: dict[str, Any]) -> pd.DataFrame:
    """Return the table with the same metrics of the SAE of the random-weights twin."""
    from interp.sae import check_fit, evaluate_sae, loss_recovered

    fit = check_fit(twin, sae, allow_mismatch=options["allow_mismatch"])
    if fit.site != options["site"]:
        raise SaeMismatch(f"the SAE of the twin reads {fit.site} and the SAE reads {options['site']}; give one there.")
    rows = token_rows(twin, sae, texts, fit.site)
    length = min(n for n in (sae.config.context_size, twin.n_ctx) if n is not None)
    found = [
        evaluate_sae(sae, rows.activations, seed=options["seed"], n_boot=0),
        loss_recovered(twin, sae, texts, max_length=length, max_rows=len(texts), **{**options, "n_boot": 0}),
    ]
    values = pd.concat([part.set_index("metric")["value"] for part in found])
    out = table.copy()
    beside = values.reindex(out["metric"]).to_numpy()
    out.insert(list(out.columns).index("null_random_sae") + 1, "null_random_weights", beside)
    return out


def _classes(sae: SAE, rows: TokenRows, seed: int, n_boot: int) -> pd.DataFrame:
    from interp.sae import frequency_bands, norm_bands, position_bands, reconstruction_by_class

    families = {
        "norm": norm_bands(np.linalg.norm(rows.activations.astype(np.float64), axis=1)),
        "position": position_bands(rows.position),
        "frequency": frequency_bands(rows.ids),
    }
    return reconstruction_by_class(
        sae, rows.activations, families, seed=seed, n_boot=n_boot, text_index=rows.text_index
    )


def _density(sae: SAE, rival: SAE, activations: np.ndarray) -> pd.DataFrame:
    from interp.sae import density_histogram, latent_density

    ours, theirs = (density_histogram(latent_density(s, activations), n_rows=len(activations)) for s in (sae, rival))
    return ours.assign(n_random_sae=theirs["n_latents"], n=len(activations))


def _labels(
    sae: SAE, rival: SAE, model: Model, label_sets: Mapping[str, LabelSet], site: str, seed: int, n_boot: int
) -> dict[str, pd.DataFrame]:
    from interp.capturing import capture
    from interp.sae import absorption, sparse_probing
    from interp.stats.corrections import benjamini_hochberg

    probes, absorbed = [], []
    for name, (texts, labels) in label_sets.items():
        x = capture(model, texts, site, pool="last")[site]
        controls = {"activations": x, "random_sae": rival.encode(x).cpu().numpy()}
        table = sparse_probing(sae.encode(x).cpu().numpy(), labels, controls=controls, seed=seed, n_boot=n_boot)
        probes.append(table.assign(set=name))
        absorbed.append(absorption(sae, x, labels, seed=seed).assign(set=name))
    both = [pd.concat(tables, ignore_index=True) for tables in (probes, absorbed)]
    both = [table.loc[:, ["set", *table.columns.drop("set")]] for table in both]
    return {"labels": both[0].assign(q=benjamini_hochberg(both[0]["p"].to_numpy())), "absorption": both[1]}


def _digests(sae: SAE) -> dict[str, str]:
    return {name: sha256_array(w.cpu().numpy()) for name, w in sae.weights().items()}


def eval_sae_command(
    name: str,
    *,
    model: str | None,
    weights: Literal["trained", "random"],
    texts: Path | None,
    labels: Path | None,
    control: str | None,
    n_texts: int,
    seed: int,
    out: Path | None,
    allow_mismatch: bool = False,
) -> Result:
    """Load what `interp eval-sae` names, evaluate, write <out>/tables and the figure, and return the result."""
    from interp.models import load_model
    from interp.sae import load_sae

    sae = load_sae(name)
    source = model if model is not None else sae.config.model_name
    if source is None:
        raise InvalidInput("the SAE does not say of which model it is; give --model.")
    bos: Any = sae.config.bos
    loaded = load_model(source, bos=bos, weights=weights)
    of_atlas = loaded.name.partition("@")[0] == "atlas"
    beside = None
    if control is not None:
        beside = (load_sae(control), load_model(source, bos=bos, weights="random"))
    result = evaluate(
        sae, loaded, texts_for(loaded.name, texts, n_texts), seed=seed, control=beside, allow_mismatch=allow_mismatch,
        label_sets=_label_sets(labels, of_atlas, seed),
    )  # fmt: skip
    if out is not None:
        result.save(out / "tables")
        save_figure(result.plot(), out / "evaluation")
    return result


def _label_sets(path: Path | None, of_atlas: bool, seed: int) -> dict[str, LabelSet]:
    if path is not None:
        return {path.stem: read_label_set(path)}
    if not of_atlas:
        return {}
    from interp.atlas import facts

    return label_sets_of(facts(), seed=seed)
