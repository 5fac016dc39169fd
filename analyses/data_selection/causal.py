"""What latents do for a task: the loss of its examples with latents set to 0, through the SAE and at its site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from analyses.data_selection.finetuning import TokenRow, Tuning, token_rows
from analyses.data_selection.samples import Sample
from interp.capturing import hooked, read_sites
from interp.errors import InvalidInput
from interp.models import find_site

if TYPE_CHECKING:
    from interp.models import Model

_BATCH_TOKENS = 4096


@torch.no_grad()
def ablated_losses(
    model: Model, sae: Any, samples: Sequence[Sample], sets: Sequence[Sequence[int]], *, template: str = "plain"
) -> np.ndarray:
    """Return the loss of each sample with each set of latents at 0 on all its tokens, float64 [set, sample], nats.

    The loss is the mean over the tokens of the answer (of plain text over all). What the SAE does not explain stays:
    the activation loses what these latents add to the reconstruction and nothing else, so an empty set changes nothing.

    Raises:
        InvalidInput: a sample without a token to predict, or a latent that does not exist.
    """
    rows = token_rows(model, samples, Tuning(loss="answer", template=template))
    missing = [one.id for one, row in zip(samples, rows, strict=True) if row is None]
    if missing or not len(rows):
        raise InvalidInput(f"{len(missing)} of {len(rows)} samples have no token to predict, first {missing[:1]}.")
    wrong = [latent for one in sets for latent in one if not 0 <= latent < sae.config.d_sae]
    if wrong:
        raise InvalidInput(f"there is no latent {wrong[0]}; there are 0 to {sae.config.d_sae - 1}.")
    out = np.empty((len(sets), len(rows)))
    for at in range(len(rows)):  # one sample at a time: no padding, and all sets that fit in one pass
        out[:, at] = _one_sample(model, sae, rows[at], sets)  # type: ignore[arg-type]
    return out


def helpful_latents(
    model: Model, sae: Any, samples: Sequence[Sample], prototype: np.ndarray, *, template: str = "plain",
    at_most: int = 256,
) -> np.ndarray:  # fmt: skip
    """Return which latents raise the mean loss of the samples when they are set to 0, bool [latent].

    Looked at are the `at_most` latents that are strongest in the prototype; the others do not count as helpful. (After
    the causal filter of IGDS, 2026, which amplifies where this ablates.)
    """
    order = np.argsort(-prototype, kind="stable")[:at_most]
    order = order[prototype[order] > 0]
    losses = ablated_losses(model, sae, samples, [(), *([int(latent)] for latent in order)], template=template)
    out = np.zeros(len(prototype), dtype=bool)
    out[order] = (losses[1:] - losses[0]).mean(axis=1) > 0
    return out


def _one_sample(model: Model, sae: Any, row: TokenRow, sets: Sequence[Sequence[int]]) -> np.ndarray:
    ids = torch.from_numpy(row[0]).to(model.device)[None]
    wanted = torch.from_numpy(row[1][1:]).to(model.device)
    ordinary = torch.from_numpy(~np.isin(row[0], _special(model))).to(model.device)
    site = find_site(model, sae.config.site)
    seen: list[torch.Tensor] = []
    read_sites(model, ids, torch.ones_like(ids), {site: lambda x: seen.append(x[0])})
    latents = sae.encode(seen[0])
    nothing = sae.reconstruct(seen[0], torch.zeros_like(latents))
    active = {int(latent) for latent in torch.nonzero((latents[ordinary] > 0).any(dim=0)).flatten()}
    found = [tuple(sorted(active & {int(latent) for latent in one})) for one in sets]
    distinct = list(dict.fromkeys(found))  # latents that no token has change nothing: one pass serves all such sets
    losses: dict[tuple[int, ...], float] = {}
    many = max(1, _BATCH_TOKENS // ids.shape[1])
    for start in range(0, len(distinct), many):
        part = distinct[start : start + many]
        moved = torch.stack([_moved(sae, seen[0], latents, nothing, one, ordinary) for one in part])
        with hooked(model, {site: lambda y, moved=moved: y + moved.to(y)}):
            logits = model.logits(ids.expand(len(part), -1), torch.ones(len(part), ids.shape[1], dtype=torch.long))
        answers = ids[0, 1:][wanted].expand(len(part), -1)
        nats = F.cross_entropy(logits[:, :-1][:, wanted].float().flatten(0, 1), answers.flatten(), reduction="none")
        losses |= dict(zip(part, nats.view(len(part), -1).double().mean(dim=1).tolist(), strict=True))
    return np.array([losses[one] for one in found])


def _moved(sae: Any, x: Any, latents: Any, nothing: Any, one: tuple[int, ...], ordinary: Any) -> torch.Tensor:
    """Return what the activation [token, d] loses, less than 0 where the latents add; BOS keeps what it has."""
    alone = torch.zeros_like(latents)
    alone[:, list(one)] = latents[:, list(one)]
    return (nothing - sae.reconstruct(x, alone)) * ordinary[:, None]


def _special(model: Model) -> list[int]:
    return list(model.tokenizer.all_special_ids)
