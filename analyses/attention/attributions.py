"""Attribution of chosen events, by head and by source, with what it leaves over printed beside it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from analyses.attention.reading import attention_batches
from analyses.attention.relations import RELATIONS, relation_codes
from analyses.attention.sae_fit import require_fit
from analyses.attention.token_rows import TokenRows, token_rows
from interp.attribution import Attention, Encoder, encoder_of, event_attribution
from interp.errors import InvalidInput
from interp.sites import Site

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE


@dataclass(frozen=True, eq=False)
class Attributions:
    """What each source and head gave to the pre-activation of a latent at a token, for chosen events."""

    events: pd.DataFrame
    """row, pos, token, latent, activation, pre_activation (of the SAE itself), attributed (sum over sources and heads),
    bias, residual (pre_activation - attributed - bias: rounding)."""
    values: np.ndarray
    """float32 [event, source_pos, head]"""
    codes: np.ndarray
    """uint8 [event, source_pos]: relation of each source, see `relations`."""
    tokens: np.ndarray
    """object [event, source_pos]: the source tokens."""

    @property
    def residual_error(self) -> float:
        """The largest residual, relative to the largest pre-activation."""
        pre, left = (self.events[name].to_numpy() for name in ("pre_activation", "residual"))
        return float(np.abs(left).max()) / max(float(np.abs(pre).max()), 1e-30)

    def by_head(self) -> pd.DataFrame:
        """Return one row an event and head: event, head, dfa."""
        n, _, heads = self.values.shape
        return pd.DataFrame({
            "event": np.repeat(np.arange(n), heads), "head": np.tile(np.arange(heads), n),
            "dfa": self.values.sum(axis=1).ravel(),
        })  # fmt: skip

    def by_source(self) -> pd.DataFrame:
        """Return one row an event and source: event, source, token, relation, dfa, top_head (the largest in size)."""
        event, source = np.nonzero(self.codes != 255)
        found = self.values[event, source]
        return pd.DataFrame({
            "event": event, "source": source, "token": self.tokens[event, source],
            "relation": np.array(RELATIONS, dtype=object)[self.codes[event, source]], "dfa": found.sum(axis=1),
            "top_head": np.abs(found).argmax(axis=1),
        })  # fmt: skip


def direct_feature_attribution(
    model: Model,
    sae: SAE,
    rows: Sequence[Any] | TokenRows,
    *,
    latents: Sequence[int] | None = None,
    events: Sequence[tuple[int, int, int]] | None = None,
    per_latent: int = 10,
    bos: str | None = None,
    allow_unfit: bool = False,
    allow_mismatch: bool = False,
) -> Attributions:
    """Return the attribution of events by source and head (Kissane et al. 2024, eq. 3), with bias and residual.

    Args:
        rows: texts, or arrays of token ids.
        latents: the `per_latent` largest activations of each; or
        events: (row, position, latent), also where the latent is off.
        allow_unfit: go on with an SAE that does not fit the model, see `check_sae_fit`.

    Raises:
        SaeMismatch: the SAE is not on z of this model, its encoder is not linear, or it does not fit.
        ModelMismatch: the layer has no pattern. InvalidInput: neither latents nor events, or ones that do not exist.
    """
    layer = attention_layer(model, sae, allow_mismatch=allow_mismatch)
    given = token_rows(model, rows, bos=bos)
    if not allow_unfit:
        require_fit(model, sae, given, allow_mismatch=allow_mismatch)
    sae = on_device(sae, model)
    encoder = encoder_of(sae, model.n_heads)
    if events is None:
        events = strongest_events(model, sae, given, layer, _checked_latents(latents, sae), per_latent)
    wanted = _checked_events(events, given, sae)
    tables, values, codes = [], [], []
    width = given.ids.shape[1]
    for at, part, found in attention_batches(model, given, [layer]):
        here = wanted[(wanted[:, 0] >= at.start) & (wanted[:, 0] < at.stop)]
        if len(here):
            table, value = _attributed(sae, found[layer], encoder, here, at.start)
            tables.append(table)
            values.append(_widened(value, width))
            relation = relation_codes(part.ids, part.mask, part.special, part.word)[here[:, 0] - at.start, here[:, 1]]
            codes.append(_widened(relation, width, 255))
    table = pd.concat(tables, ignore_index=True)
    names = token_names(model, given.ids)
    row = table["row"].to_numpy()
    table.insert(2, "token", names[row, table["pos"]])
    return Attributions(table, np.concatenate(values), np.concatenate(codes), names[row])


def attention_layer(model: Model, sae: SAE, *, allow_mismatch: bool = False) -> int:
    """Return the layer whose z an SAE reads. Raises SaeMismatch where it reads another place."""
    from interp.errors import SaeMismatch
    from interp.sae import check_fit

    fit = check_fit(model, sae, allow_mismatch=allow_mismatch)
    site = Site.parse(fit.site)
    if site.component != "z" or site.head is not None or site.layer is None:
        raise SaeMismatch(f"the SAE reads {fit.site}; attention features are of an SAE on z, such as 'z.{site.layer}'.")
    return site.layer


def on_device(sae: SAE, model: Model) -> SAE:
    """Return the SAE where the model is: the same one, or a copy that was moved."""
    if sae.W_dec.device == model.device:
        return sae
    return copy.deepcopy(sae).to(model.device)


def strongest_events(
    model: Model, sae: SAE, rows: TokenRows, layer: int, latents: Sequence[int], per_latent: int
) -> list[tuple[int, int, int]]:
    """Return (row, position, latent) of the largest activations of each latent, where it is on."""
    n, width = rows.ids.shape
    acts = np.zeros((n, width, len(latents)), dtype=np.float32)
    for at, part, found in attention_batches(model, rows, [layer]):
        latent = encoded(sae, found[layer])[..., list(latents)] * part.content[..., None]
        acts[at, : latent.shape[1]] = latent
    out: list[tuple[int, int, int]] = []
    for column, latent in enumerate(latents):
        flat = acts[..., column].ravel()
        best = np.argsort(-flat, kind="stable")[:per_latent]
        out += [(int(i // width), int(i % width), int(latent)) for i in best if flat[i] > 0]
    return out


def encoded(sae: SAE, attention: Attention) -> np.ndarray:
    """Return the activations, float32 [row, pos, latent], of an SAE on z."""
    flat = attention.z.flatten(2)
    return sae.encode(flat.flatten(0, 1)).reshape(*flat.shape[:2], -1).detach().cpu().numpy()


def token_names(model: Model, ids: np.ndarray) -> np.ndarray:
    """Return the tokens of ids as the tokenizer writes them, object, of the same shape."""
    if model.tokenizer is None:
        return ids.astype(str).astype(object)
    unique, where = np.unique(ids, return_inverse=True)
    names = np.array([str(t) for t in model.tokenizer.convert_ids_to_tokens(unique.tolist())], dtype=object)
    return names[where].reshape(ids.shape)


def _attributed(
    sae: SAE, attention: Attention, encoder: Encoder, events: np.ndarray, first: int
) -> tuple[pd.DataFrame, np.ndarray]:
    row, pos, latent = (torch.from_numpy(c).to(attention.z.device) for c in (events - [first, 0, 0]).T)
    values = event_attribution(attention, encoder, row, pos, latent)
    z = attention.z[row, pos]
    bias = encoder.bias[latent]
    pre = encoder.pre(z).gather(1, latent[:, None])[:, 0]
    made = values.sum(dim=(1, 2))
    act = sae.encode(z.flatten(1)).gather(1, latent[:, None])[:, 0]
    table = pd.DataFrame(events, columns=["row", "pos", "latent"])
    numbers = {
        "activation": act,
        "pre_activation": pre,
        "attributed": made,
        "bias": bias,
        "residual": pre - made - bias,
    }
    return table.assign(**{k: x.detach().cpu().numpy() for k, x in numbers.items()}), values.detach().cpu().numpy()


def _widened(x: np.ndarray, width: int, fill: int = 0) -> np.ndarray:
    pad = [(0, 0), (0, width - x.shape[1]), *[(0, 0)] * (x.ndim - 2)]
    return np.pad(x, pad, constant_values=fill)


def _checked_latents(latents: Sequence[int] | None, sae: SAE) -> list[int]:
    if latents is None or len(latents) == 0:
        raise InvalidInput("say what to attribute: latents=[...], or events=[(row, position, latent), ...].")
    wrong = [x for x in latents if not 0 <= int(x) < sae.config.d_sae]
    if wrong:
        raise InvalidInput(f"latents are 0 to {sae.config.d_sae - 1}, not {wrong[0]!r}.")
    return [int(x) for x in latents]


def _checked_events(events: Sequence[tuple[int, int, int]], rows: TokenRows, sae: SAE) -> np.ndarray:
    wanted = np.array(events, dtype=np.int64).reshape(-1, 3)
    if len(wanted) == 0:
        raise InvalidInput("none of these latents is on in these rows, so there is nothing to attribute.")
    limits = np.array([len(rows), rows.ids.shape[1], sae.config.d_sae])
    if ((wanted < 0) | (wanted >= limits)).any():
        raise InvalidInput(f"an event is (row, position, latent) below {tuple(limits.tolist())}; got others.")
    if not rows.content[wanted[:, 0], wanted[:, 1]].all():
        raise InvalidInput("an event is at a token that is text: not at BOS, EOS or padding.")
    return wanted[np.argsort(wanted[:, 0], kind="stable")]
