"""Do counting words share a part by their residue, and does exchanging that part move what follows them?

Reference: Gould et al. (2023): features of tokens by index mod 10, and arithmetic with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from analyses.attention.ov import embeddings, head_outputs, read_out, token_vectors
from analyses.attention.token_maps import single_token
from interp.errors import InvalidInput
from interp.tokens import find_tokenizer

if TYPE_CHECKING:
    from interp.models import Model

VARIANCE, PLAIN, EDITED = "variance between residues", "successor's residue", "successor's residue, edited"


def modular_arithmetic(
    model: Model, words: Sequence[str], n: int, *, head: tuple[int, int], seed: int, n_perm: int = 99
) -> pd.DataFrame:
    """Return how much of counting words is their residue mod n, and whether editing it edits what a head makes of them.

    x_i is word i after the MLP of layer 0, m_r the mean over the words of residue r but i. For every word and other
    residue j the head is given x_i - m_{r_i} + m_j; it follows the edit if the word that it raises most has residue
    j + 1.

    Args:
        words: in order; those of several tokens are left out and keep their place in the count.
        n: modulus, from 2. head: (layer, head), such as the best of `token_map_scores`.

    Returns:
        One row a measure: measure, value, null_mean and p (residues permuted among words; one-sided), chance (1 / n),
        n (words, or words and residues), n_left_out, n_perm, seed, status. The measures: share of variance between
        residues (adjusted for their number), share of words whose successor has the right residue, and the same of
        edited words.

    Raises:
        InvalidInput: a head that is not there, or residues with fewer than two words of one token.
    """
    layer, which = head
    if not (0 <= layer < model.n_layers and 0 <= which < model.n_heads) or n < 2:
        raise InvalidInput(f"give a head below ({model.n_layers}, {model.n_heads}) and n from 2; got {head} and {n}.")
    ids = np.array([single_token(find_tokenizer(model), word) for word in words])
    place = np.flatnonzero(ids >= 0)
    residue = place % n
    if len(np.unique(residue)) < n or np.bincount(residue, minlength=n).min() < 2:
        raise InvalidInput(
            f"each residue mod {n} needs two words of one token; {len(place)} of {len(words)} words are."
        )
    kept = torch.from_numpy(ids[place])
    x = (token_vectors(model, kept) if layer else embeddings(model, kept)).double().cpu().numpy()

    def answers(vectors: np.ndarray) -> np.ndarray:
        given = torch.from_numpy(vectors).to(model.device, model.dtype)
        logits = read_out(model, head_outputs(model, layer, given)[which])[:, kept]
        return residue[logits.argmax(dim=1).cpu().numpy()]

    rng = np.random.default_rng(seed)
    orders = [rng.permutation(residue) for _ in range(n_perm)]
    followed = lambda labels: float((answers(edited(x, labels, n)) == wanted(labels, n)).mean())  # noqa: E731
    plain = answers(x)
    measures = {
        VARIANCE: (residue_share(x, residue), [residue_share(x, o) for o in orders], len(x)),
        PLAIN: (
            float((plain == (residue + 1) % n).mean()),
            [float((plain == (o + 1) % n).mean()) for o in orders],
            len(x),
        ),
        EDITED: (followed(residue), [followed(o) for o in orders], len(x) * (n - 1)),
    }
    rows = [
        {"measure": name, "value": value, "null_mean": np.mean(null), "chance": np.nan if name == VARIANCE else 1 / n,
         "p": (1 + np.sum(np.array(null) >= value - 1e-12)) / (n_perm + 1), "n": count}
        for name, (value, null, count) in measures.items()
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(n_left_out=len(words) - len(place), n_perm=n_perm, seed=seed, status="ok")


def residue_share(x: np.ndarray, residue: np.ndarray) -> float:
    """Return the share of the variance of x [word, d] between residues, adjusted for their number."""
    n, k = len(x), len(np.unique(residue))
    within = sum(float(((x[residue == r] - x[residue == r].mean(axis=0)) ** 2).sum()) for r in np.unique(residue))
    total = float(((x - x.mean(axis=0)) ** 2).sum())
    return 1 - (within / (n - k)) / (total / (n - 1))


def edited(x: np.ndarray, residue: np.ndarray, n: int) -> np.ndarray:
    """Return x [word, d] with the part of its residue exchanged for that of each other one, [word * (n - 1), d]."""
    member = (residue[None, :] == np.arange(n)[:, None]).astype(np.float64)
    sums, count = member @ x, member.sum(axis=1)
    out = []
    for i, own in enumerate(residue):
        mine = (sums[own] - x[i]) / (count[own] - 1)
        out += [x[i] - mine + sums[j] / count[j] for j in range(n) if j != own]
    return np.stack(out)


def wanted(residue: np.ndarray, n: int) -> np.ndarray:
    """Return the residue of the successor of each edited word, in the order of `edited`."""
    return np.array([(j + 1) % n for own in residue for j in range(n) if j != own])
