"""Do groups of units hold one domain each? Mask the units of domain i and measure what is lost on domain j."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from analyses.polysemanticity.domain_units import Units
from analyses.polysemanticity.expert_scores import against
from interp.capturing import hooked
from interp.errors import InvalidInput
from interp.tokens import encode

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE


def masking_matrix(
    model: Model,
    texts: Sequence[str],
    labels: Sequence[str],
    masks: Mapping[str, Units],
    *,
    sae: SAE | None = None,
    n_random: int = 5,
    batch_tokens: int = 4096,
    seed: int,
) -> pd.DataFrame:
    """Return the loss that each domain gains when the units of each domain are set to 0.

    Args:
        texts: other ones than the units were chosen on.
        labels: domain of each text.
        masks: domain -> (layer, number) of its units: neurons, or latents of `sae`, whose part of the reconstruction
            is taken out of the activation (what the SAE does not explain stays).
        n_random: random masks, the same for every domain: as many units as the masks have on average, of any layer.

    Returns:
        A row for each pair of domains: masked, evaluated, delta (nats a token, mean over tokens), ci_low, ci_high
        (95 %, normal, over texts), null_mean, null_sd (the random masks), z, p (that another random mask costs as
        much, see `against`), n_units, n (tokens), n_texts, n_random, seed, status.

    Raises:
        InvalidInput: a domain without texts, labels that do not fit, or a unit that is not there.
    """
    code, domains = _coded(texts, labels, masks)
    batches = list(_batches(model, texts, batch_tokens))
    width = model.d_mlp if sae is None else sae.config.d_sae
    _check_units(masks, model, width, sae)
    clean, counts = _losses(model, batches, len(texts), lambda keep: {})
    others = _random_masks(masks, width, n_random, np.random.default_rng([seed, 5]))
    own_losses, random = (
        [_losses(model, batches, len(texts), _masking(model, sae, mask))[0] - clean for mask in some]
        for some in (masks.values(), others)
    )
    rows = []
    for (masked, units), own in zip(masks.items(), own_losses, strict=True):
        for d, evaluated in enumerate(domains):
            inside = (code == d) & (counts > 0)
            null = np.array([loss[inside].sum() / counts[inside].sum() for loss in random])
            row = {
                "masked": masked,
                "evaluated": evaluated,
                **_ratio(own[inside], counts[inside]),
                "n_units": len(units),
            }
            rows.append(row | against(row["delta"], null, better="larger"))
    return pd.DataFrame(rows).assign(n_random=n_random, seed=seed)


def mask_specificity(matrix: pd.DataFrame, *, permutations: int = 999, seed: int) -> pd.DataFrame:
    """Return diagonal less off-diagonal: how much more a mask costs its own domain than the others.

    Args:
        matrix: from `masking_matrix`, square.

    Returns:
        A row a domain and one for all: masked, own (delta on the domain itself), others (mean delta on the others),
        specificity, null_mean (the same of the random masks), p (only for all: masks matched to domains at random),
        n_perm, n (domains), seed, status.
    """
    square = matrix.pivot(index="masked", columns="evaluated", values="delta")
    null = matrix.pivot(index="masked", columns="evaluated", values="null_mean").reindex_like(square)
    if list(square.index) != list(square.columns) or len(square) < 2:
        raise InvalidInput("specificity needs the same two or more domains masked and evaluated.")
    D, N, n = square.to_numpy(), null.to_numpy(), len(square)
    others, null_others = ((M.sum(axis=1) - np.diag(M)) / (n - 1) for M in (D, N))
    rng = np.random.default_rng([seed, 6])
    observed = np.trace(D)  # the sum of the matrix is fixed, so the trace alone moves
    drawn = np.array([D[np.arange(n), rng.permutation(n)].sum() for _ in range(permutations)])
    p = (1 + (drawn >= observed - 1e-12).sum()) / (permutations + 1)
    table = pd.DataFrame(
        {"masked": square.index, "own": np.diag(D), "others": others, "null_mean": np.diag(N) - null_others}
    )
    whole = table.drop(columns="masked").mean().to_dict() | {"masked": "all", "p": p, "n_perm": permutations}
    table = pd.concat([table, pd.DataFrame([whole])], ignore_index=True)
    table.insert(3, "specificity", table["own"] - table["others"])
    return table.assign(n=n, seed=seed, status=["one domain: not tested"] * n + ["ok"])


def _coded(texts: Sequence[str], labels: Sequence[str], masks: Mapping[str, Any]) -> tuple[np.ndarray, list[str]]:
    if len(texts) != len(labels) or not masks:
        raise InvalidInput(f"{len(labels)} labels for {len(texts)} texts, {len(masks)} masks; each text needs one.")
    domains, code = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    if missing := set(masks) - set(domains.tolist()):
        raise InvalidInput(f"no text is labelled {sorted(missing)}; there are: {', '.join(domains)}.")
    return code, domains.tolist()


def _check_units(masks: Mapping[str, Units], model: Model, width: int, sae: SAE | None) -> None:
    layers = range(model.n_layers) if sae is None else [int(str(sae.config.site).partition(".")[2])]
    for domain, units in masks.items():
        wrong = [unit for unit in units if unit[0] not in layers or not 0 <= unit[1] < width]
        if wrong or not units:
            raise InvalidInput(f"mask {domain!r} has {len(units)} units, and {wrong[:2]} of them do not exist.")


def _random_masks(
    masks: Mapping[str, Units], width: int, n: int, rng: np.random.Generator
) -> list[list[tuple[int, int]]]:
    layers = sorted({layer for units in masks.values() for layer, _ in units})
    size = round(np.mean([len(units) for units in masks.values()]))
    drawn = [rng.choice(len(layers) * width, size=min(size, len(layers) * width), replace=False) for _ in range(n)]
    return [[(layers[i // width], int(i % width)) for i in one] for one in drawn]


def _masking(model: Model, sae: SAE | None, units: Units) -> Callable[[torch.Tensor], dict[Any, Any]]:
    by_layer = {layer: torch.tensor([i for at, i in units if at == layer]) for layer, _ in units}

    def edits(keep: torch.Tensor) -> dict[Any, Any]:
        if sae is None:
            return {f"mlp_post.{layer}": _zero(at.to(keep.device), keep) for layer, at in by_layer.items()}
        return {str(sae.config.site): _without(sae, at.to(keep.device), keep) for at in by_layer.values()}

    return edits


def _zero(at: torch.Tensor, keep: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    def edit(x: torch.Tensor) -> torch.Tensor:
        mask = torch.ones_like(x)
        mask[..., at] = (~keep)[..., None].to(x.dtype)
        return x * mask

    return edit


def _without(sae: SAE, at: torch.Tensor, keep: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    def edit(x: torch.Tensor) -> torch.Tensor:
        rows, out = x[keep], x.clone()
        latents = sae.encode(rows)
        less = latents.clone()
        less[:, at] = 0
        out[keep] = rows + (sae.reconstruct(rows, less) - sae.reconstruct(rows, latents)).to(x)
        return out

    return edit


def _batches(model: Model, texts: Sequence[str], batch_tokens: int):
    from interp.batches import plan_batches

    encoded = encode(model, texts, max_length=model.n_ctx)
    for rows in plan_batches(encoded.lengths, batch_tokens):
        mask = torch.from_numpy(encoded.mask(rows)).to(model.device)
        special = torch.from_numpy(encoded.pad(encoded.special, rows, True)).to(model.device)
        ids = torch.from_numpy(encoded.pad(encoded.ids, rows, 0)).to(model.device)
        yield rows, ids, mask, mask & ~special


def _losses(
    model: Model, batches, n_texts: int, edits: Callable[[torch.Tensor], dict[Any, Any]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the summed next-token loss (nats) over ordinary tokens of each text, and how many they are."""
    sums, counts = np.zeros(n_texts), np.zeros(n_texts)
    for rows, ids, mask, ordinary in batches:
        with torch.no_grad(), hooked(model, edits(ordinary)):
            logits = model.logits(ids, mask.long())[:, :-1]
        judged = ordinary[:, 1:]
        of_text = judged.nonzero()[:, 0].cpu().numpy()
        loss = torch.nn.functional.cross_entropy(logits[judged].float(), ids[:, 1:][judged], reduction="none")
        sums[rows] = np.bincount(of_text, loss.double().cpu().numpy(), minlength=len(rows))
        counts[rows] = judged.sum(dim=1).cpu().numpy()
    return sums, counts


def _ratio(sums: np.ndarray, counts: np.ndarray) -> dict[str, Any]:
    """Return the mean over tokens with its interval over texts (ratio estimator)."""
    mean = sums.sum() / counts.sum()
    rest = sums - mean * counts
    n = len(sums)
    half = 1.96 * np.sqrt(n / (n - 1) * (rest**2).sum()) / counts.sum() if n > 1 else np.nan
    return {"delta": mean, "ci_low": mean - half, "ci_high": mean + half, "n": int(counts.sum()), "n_texts": n}
