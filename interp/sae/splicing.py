"""Put an SAE's reconstruction in the place of an activation, edit its latents, and ask what the model loses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interp.errors import HookNotFired, InvalidInput, SaeMismatch
from interp.sae.coder import SAE
from interp.sae.edits import Edits, check_positions, chosen, make_edits
from interp.sae.fit import Fit, check_fit
from interp.sites import Site

if TYPE_CHECKING:
    from interp.hooks import HookFunction
    from interp.models import Model

_CHUNK_ROWS = 1024
Edit = Callable[[Tensor], Tensor]
Hooks = dict[str | Site, "HookFunction"]


@contextmanager
def splice(
    model: Model,
    sae: SAE,
    *,
    positions: Any,
    error_term: bool = False,
    ablate: Iterable[int] = (),
    steer: Mapping[int, float] | None = None,
    site: str | None = None,
    site_out: str | None = None,
    allow_mismatch: bool = False,
) -> Iterator[Fit]:
    """Run the body with what the SAE makes of the chosen tokens in place of their activations.

    With z the latents of x and z' the edited ones, the activation y is replaced by sae(x, z'), or with the error term
    by y + sae(x, z') - sae(x, z): what the SAE does not explain stays, and without edits nothing changes. An SAE reads
    and writes at one site (y is x). A transcoder reads at `site` and writes at `site_out` (the MLP it stands for runs,
    and its output is discarded). Heads of a layer are read and written as one vector, head 0 first.

    Args:
        positions: which tokens; a bool mask [batch, pos] of the batch that the body runs (as `tokens.mask` without
            the specials), positions from 0 in every row, or "all" (BOS and padding too). The others keep their values.
        error_term: add the part of y that the SAE does not reconstruct.
        ablate: latents that are set to 0.
        steer: latents that are set to a value (not moved by it), in the units of `sae.encode`.
        site, site_out: default where the SAE was trained.
        allow_mismatch: see `check_fit`.

    Raises:
        SaeMismatch, UnknownSite: before the body, as `check_fit`. InvalidInput: a latent or position that is not there.
        HookNotFired: the body ended without having run the model.
    """
    from interp.capturing import hooked

    fit = check_fit(model, sae, site=site, site_out=site_out, allow_mismatch=allow_mismatch)
    written = _written(fit)
    edits = make_edits(sae.config.d_sae, ablate=ablate, steer=steer)
    hooks, runs = _splicing(sae, fit, check_positions(positions), edits, error_term)
    with hooked(model, hooks):
        yield fit
    if not runs:
        raise HookNotFired(f"nothing ran {written} of {model.name} in the body of splice, so nothing was spliced.")


def loss_recovered(
    model: Model,
    sae: SAE,
    rows: Iterable[Any],
    *,
    seed: int,
    site: str | None = None,
    batch_tokens: int = 8192,
    bos: str | None = None,
    max_length: int | None = None,
    max_rows: int = 512,
    n_boot: int = 1000,
    allow_mismatch: bool = False,
) -> pd.DataFrame:
    """Return the next-token loss (nats) with the site clean, spliced, zeroed, and set to its mean.

    Of a transcoder the site that it writes to is spliced, zeroed and set to its mean.

    Only ordinary tokens are replaced and only their losses are counted: BOS, EOS and padding keep their activations
    and are neither predicted nor counted. A share above 1 or below 0 is possible and says that the ablation is not
    the worse of the two: read the losses, not the share alone.

    Args:
        rows: texts, or int arrays of ids (used as they are); the first `max_rows` of them.
        bos: policy for texts; default the model's.
        max_length: texts are cut to so many tokens; None: a text longer than the context raises.
        seed: of the bootstrap over rows (texts, not tokens: tokens of a text are not independent).

    Returns:
        Columns metric, value, ci_low, ci_high, status, n (tokens), n_rows, seed, site, mismatch (what was allowed, or
        empty), with the metrics loss_clean, loss_spliced, loss_zero, loss_mean (nats a token) and recovered_vs_zero,
        recovered_vs_mean: (loss_ablated - loss_spliced) / (loss_ablated - loss_clean).

    Raises:
        SaeMismatch: the SAE does not fit the model (see `check_fit`).
        InvalidInput: no row has two tokens.
    """
    fit = check_fit(model, sae, site=site, allow_mismatch=allow_mismatch)
    batches = list(_token_batches(model, islice(iter(rows), max_rows), bos, max_length, batch_tokens))
    written = _written(fit)
    mean = _mean_activation(model, written, batches)
    hooks: dict[str, Callable[[Tensor], Hooks]] = {
        "clean": lambda keep: {},
        "spliced": lambda keep: _splicing(sae, fit, keep, Edits((), ()), False)[0],
        "zero": lambda keep: {written: _replacing(torch.zeros_like, keep)},
        "mean": lambda keep: {written: _replacing(lambda x: mean.to(x).expand_as(x), keep)},
    }
    losses = {name: _losses(model, batches, make) for name, make in hooks.items()}
    counts = losses["clean"][:, 1]
    if counts.sum() == 0:
        raise InvalidInput("no row has an ordinary token after another one; nothing can be predicted.")
    table = _table({name: rows_[:, 0] for name, rows_ in losses.items()}, counts, seed, n_boot)
    about = {"n": int(counts.sum()), "n_rows": int((counts > 0).sum()), "seed": seed, "site": written}
    return table.assign(**about, mismatch="; ".join(fit.mismatches))


def _splicing(sae: SAE, fit: Fit, positions: Tensor | str, edits: Edits, error_term: bool) -> tuple[Hooks, list[None]]:
    """Return the function on each site, and a list that grows by one for each run of the model."""
    read: list[Tensor] = []
    runs: list[None] = []
    written = _written(fit)

    def write(y: Tensor) -> Tensor:
        if written != fit.site and not read:
            raise HookNotFired(f"{written} was computed before {fit.site}, which the transcoder reads.")
        x = read.pop() if written != fit.site else y
        keep = chosen(positions, len(y), y.shape[1], y.device)
        rows = x[keep]
        latents = sae.encode(rows)
        made = sae.reconstruct(rows, edits.apply(latents))
        if error_term:  # the difference first: without edits it is exactly 0
            made = y[keep] + (made - sae.reconstruct(rows, latents)).to(y)
        out = y.clone()
        out[keep] = made.to(y)
        runs.append(None)
        return out

    def take(x: Tensor) -> None:
        read[:] = [x]

    hooks: Hooks = {} if written == fit.site else {fit.site: take}
    return hooks | {written: write}, runs


def _written(fit: Fit) -> str:
    if fit.site_out is None:
        raise SaeMismatch(
            "the transcoder does not say where it writes (its site_out is null); give site_out=, such as 'mlp_out.2'."
        )
    return fit.site_out


def _replacing(edit: Edit, keep: Tensor) -> Callable[[Tensor], Tensor]:
    def function(x: Tensor) -> Tensor:
        out = x.clone()
        out[keep] = edit(x[keep]).to(x.dtype)
        return out

    return function


def _token_batches(
    model: Model, rows: Iterable[Any], bos: str | None, max_length: int | None, batch_tokens: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield ids, mask and ordinary (no BOS, EOS or padding), each [batch, pos] on the model's device."""
    from interp.batches import packed, plan_batches
    from interp.tokens import encode

    iterator = iter(rows)
    while chunk := list(islice(iterator, _CHUNK_ROWS)):
        if isinstance(chunk[0], str):
            encoded = encode(model, chunk, bos=bos, max_length=max_length)
        else:
            encoded = packed(model, chunk, False)
        for batch in plan_batches(encoded.lengths, batch_tokens):
            mask = torch.from_numpy(encoded.mask(batch))
            special = torch.from_numpy(encoded.pad(encoded.special, batch, True))
            ids = torch.from_numpy(encoded.pad(encoded.ids, batch, 0))
            yield ids.to(model.device), mask.to(model.device), (mask & ~special).to(model.device)


def _mean_activation(model: Model, site: str, batches: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Return the mean activation [d] over the ordinary tokens, float64."""
    from interp.capturing import read_sites
    from interp.models import find_site

    total: list[Tensor] = []
    for ids, mask, ordinary in batches:
        read_sites(model, ids, mask.long(), {find_site(model, site): lambda x, o=ordinary: total.append(x[o].double())})
    if not total:
        raise InvalidInput("no rows were given.")
    return torch.cat(total).mean(dim=0)


@torch.no_grad()
def _losses(
    model: Model, batches: Sequence[tuple[Tensor, Tensor, Tensor]], hooks: Callable[[Tensor], Hooks]
) -> np.ndarray:
    """Return for each row the summed loss in nats and the number of tokens predicted, float64 [row, 2]."""
    from interp.capturing import hooked

    out = []
    for ids, mask, ordinary in batches:
        with hooked(model, hooks(ordinary)):
            logits = model.logits(ids, mask.long())
        counted = ordinary[:, 1:]  # a token is predicted from the position before it, BOS included
        log_p = torch.log_softmax(logits[:, :-1].double(), dim=-1)
        nats = -log_p.gather(2, ids[:, 1:, None]).squeeze(2) * counted
        out.append(torch.stack([nats.sum(dim=1), counted.sum(dim=1).double()], dim=1).cpu().numpy())
    return np.concatenate(out)


def _table(sums: dict[str, np.ndarray], counts: np.ndarray, seed: int, n_boot: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    kept = counts > 0
    n = int(kept.sum())
    weights = np.concatenate([np.ones((1, n)), rng.multinomial(n, np.full(n, 1 / n), size=n_boot)])
    tokens = weights @ counts[kept]
    loss = {name: (weights @ values[kept]) / tokens for name, values in sums.items()}
    rows = [_row(f"loss_{name}", values) for name, values in loss.items()]
    for name in ("zero", "mean"):
        damage = loss[name] - loss["clean"]
        # a ratio over a damage that may be 0 is noise of any size: the lower end of its 95 % interval must be above
        harms = damage[0] > 0 and (len(damage) == 1 or bool(np.percentile(damage[1:], 2.5) > 0))
        status = "ok" if harms else f"the {name} ablation does not raise the loss; the share means nothing"
        with np.errstate(divide="ignore", invalid="ignore"):
            share = (loss[name] - loss["spliced"]) / damage
        rows.append(_row(f"recovered_vs_{name}", np.where(harms, share, np.nan), status))
    return pd.DataFrame(rows)


def _row(metric: str, values: np.ndarray, status: str = "ok") -> dict[str, Any]:
    boot = values[1:]
    whole = len(boot) > 0 and bool(np.isfinite(boot).all())
    low, high = np.percentile(boot, [2.5, 97.5]) if whole else (np.nan, np.nan)
    return {"metric": metric, "value": float(values[0]), "ci_low": low, "ci_high": high, "status": status}
