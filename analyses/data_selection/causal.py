"""What latents do for a task: the loss of its examples with latents set to 0, through the SAE and at its site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from analyses.data_selection.finetuning import TokenRow, Tuning, token_rows
from analyses.data_selection.samples import Sample
from analyses.data_selection.worth_verdicts import ALPHA, mean_interval
from interp.capturing import hooked, read_sites
from interp.errors import InvalidInput
from interp.models import find_site
from interp.stats.seeds import check_seed

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


def causal_check(
    model: Model, sae: Any, samples: Sequence[Sample], latents: Sequence[int], prototype: np.ndarray, *,
    template: str = "plain", n_draws: int = 99, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Ask whether latents that explain a pick matter to the task: their ablation beside that of others as active.

    A random set has as many latents of the prototype that explain nothing: for each explaining one, one of the five
    that are nearest in activation. What is compared is the rise of the mean loss for each unit of activation that is
    taken away, since the most active latents have no equals.

    Args:
        samples: examples of the task; those without a token to predict are left out.
        prototype: their mean code [latent].
        latents: those that explain; of them the ones that are active in the prototype are ablated.

    Returns:
        One row: n_latents, activation (their sum in the prototype), random_activation (mean over random sets), loss
        (nats), change (rise under ablation), ci_low, ci_high (Student's t over examples, 95 %), null_mean, null_sd
        (rise under random sets), p (one-sided, of the rise by activation), n (examples), n_perm, seed, verdict
        ("faithful" where the loss rises and p <= 0.05, else "unfaithful"), status ("ok", "no active latent", "too few
        other latents", "no token to predict").
    """
    usable = token_rows(model, samples, Tuning(loss="answer", template=template))
    samples = [one for one, row in zip(samples, usable, strict=True) if row is not None]
    chosen = [int(one) for one in dict.fromkeys(latents) if prototype[one] > 0]
    others = np.setdiff1d(np.flatnonzero(prototype > 0), chosen)
    nothing = dict.fromkeys(("loss", "change", "ci_low", "ci_high", "null_mean", "null_sd", "p"), np.nan)
    about: dict[str, Any] = {
        "n_latents": len(chosen), "activation": float(prototype[chosen].sum()), "random_activation": np.nan, **nothing,
        "n": len(samples), "n_perm": n_draws, "seed": seed, "verdict": "", "status": "ok",
    }  # fmt: skip
    reasons = ((not chosen, "no active latent"), (len(others) < 2 * len(chosen), "too few other latents"),
               (not samples, "no token to predict"))  # fmt: skip
    for applies, status in reasons:
        if applies:
            return pd.DataFrame([{**about, "status": status}])
    rng = np.random.default_rng(np.random.SeedSequence(check_seed(seed), spawn_key=(101,)))
    drawn = [_as_active(rng, chosen, others, prototype) for _ in range(n_draws)]
    losses = ablated_losses(model, sae, samples, [(), chosen, *drawn], template=template)
    rise = (losses[1:] - losses[0]).mean(axis=1)
    activation = np.array([prototype[one].sum() for one in (chosen, *drawn)])
    harm = rise / activation
    p = float((1 + np.sum(harm[1:] >= harm[0])) / (1 + n_draws))
    interval = mean_interval(losses[1] - losses[0])
    return pd.DataFrame([{
        **about, "random_activation": float(activation[1:].mean()), "loss": float(losses[0].mean()),
        "change": float(rise[0]), "ci_low": interval["ci_low"], "ci_high": interval["ci_high"],
        "null_mean": float(rise[1:].mean()), "null_sd": float(rise[1:].std(ddof=1)), "p": p,
        "verdict": "faithful" if rise[0] > 0 and p <= ALPHA else "unfaithful",
    }])  # fmt: skip


def _as_active(rng: np.random.Generator, chosen: list[int], others: np.ndarray, prototype: np.ndarray) -> list[int]:
    """Return for each chosen latent another one, none twice: of the five free ones nearest in activation."""
    free, found = list(others), []
    for one in rng.permutation(chosen):
        near = np.argsort(np.abs(prototype[free] - prototype[one]), kind="stable")[:5]
        found.append(int(free.pop(int(rng.choice(near)))))
    return found


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
