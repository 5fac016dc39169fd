"""Is a tree laid out in the vectors of its tokens? Distances in a subspace of few dimensions against tree distances.

    minimise over B [d, r]:  sum over trees of mean_ij | T_ij - |B'(h_i - h_j)|² |

with T_ij the edges between tokens i and j of a tree. On trees that were not fitted: the rank correlation of distances
within a tree, and UUAS, the share of edges of the minimum spanning tree of the true distances that the probe's spanning
tree has. Beside it: a tree that branches to the left (neighbours in the text are neighbours in the tree), vectors of
the random-weights model, and trees whose tokens were shuffled. Trees come from Python's own `ast`.

Reference: Hewitt & Manning 2019, section 2; López et al. 2022 (AST-Probe; trees of code, rank by rank).
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.stats import rankdata

from analyses.probing.labels import assign_folds, group_codes
from interp.errors import InvalidInput

if TYPE_CHECKING:
    from interp.models import Model

STEPS, RATE = 300, 0.03
LEFT, SHUFFLED = "left-branching tree", "shuffled tokens"
_KEPT = (tokenize.NAME, tokenize.NUMBER, tokenize.STRING, tokenize.OP)


@dataclass(frozen=True)
class CodeTree:
    """A text of Python: spans (start, end) in characters of its tokens, and the edges between any two, int [m, m]."""

    text: str
    spans: tuple[tuple[int, int], ...]
    distances: np.ndarray


def code_tree(text: str) -> CodeTree:
    """Return the tokens of Python code and their distances in its abstract syntax tree.

    A token hangs on the smallest node that holds it; the distance of two is the number of edges between them.

    Raises:
        InvalidInput: text that is not Python, or of fewer than 3 tokens.
    """
    try:
        root = ast.parse(text)
        tokens = [t for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type in _KEPT]
    except (SyntaxError, tokenize.TokenError, ValueError) as error:
        raise InvalidInput(f"this text is no Python code ({error}): {text[:60]!r}.") from None
    if len(tokens) < 3:
        raise InvalidInput(f"a tree needs at least 3 tokens; {text[:60]!r} has {len(tokens)}.")
    lines = np.cumsum([0, *(len(line) for line in text.splitlines(keepends=True))])
    spans = [(int(lines[t.start[0] - 1]) + t.start[1], int(lines[t.end[0] - 1]) + t.end[1]) for t in tokens]
    paths = [_path(root, span, text, lines) for span in spans]
    distances = np.zeros((len(spans), len(spans)), dtype=np.int64)
    for i, a in enumerate(paths):
        for j, b in enumerate(paths[:i]):
            shared = next((k for k, (u, v) in enumerate(zip(a, b, strict=False)) if u != v), min(len(a), len(b)))
            distances[i, j] = distances[j, i] = len(a) + len(b) - 2 * shared + 2  # + 2: each token hangs on its node
    return CodeTree(text, tuple(spans), distances)


def _path(root: ast.AST, span: tuple[int, int], text: str, lines: np.ndarray) -> list[int]:
    """Return the ids of the nodes from the root to the smallest one that holds the span."""
    path, node = [id(root)], root
    while True:
        inside = [child for child in ast.iter_child_nodes(node) if _holds(child, span, text, lines)]
        if not inside:
            return path
        node = inside[0]
        path.append(id(node))


def _holds(node: Any, span: tuple[int, int], text: str, lines: np.ndarray) -> bool:
    if getattr(node, "end_col_offset", None) is None:
        return any(_holds(child, span, text, lines) for child in ast.iter_child_nodes(node))
    ends = []
    for line, column in ((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)):
        start, stop = int(lines[line - 1]), int(lines[line])
        ends.append(start + len(text[start:stop].encode()[:column].decode()))  # ast counts bytes
    return ends[0] <= span[0] and span[1] <= ends[1]


def code_vectors(model: Model, trees: Sequence[CodeTree], site: str) -> list[np.ndarray]:
    """Return for each tree the vectors of its tokens at a site, [m, d], each the mean over the model's own tokens."""
    from interp.capturing import capture

    texts = [tree.text for tree in trees for _ in tree.spans]
    found = np.asarray(capture(model, texts, site, pool="span", spans=[s for tree in trees for s in tree.spans])[site])
    return np.split(found, np.cumsum([len(tree.spans) for tree in trees])[:-1])


def structural_probe(
    vectors: Sequence[Any],
    distances: Sequence[Any],
    *,
    ranks: Sequence[int] = (1, 2, 4, 8, 16),
    controls: Mapping[str, Sequence[Any]] | None = None,
    groups: Any = None,
    seed: int = 0,
    test_share: float = 0.3,
    n_boot: int = 200,
) -> pd.DataFrame:
    """Return how well distances in a subspace of each rank tell the tree, on trees that were not fitted.

    Args:
        vectors: for each tree [m, d]. distances: for each tree [m, m], symmetric, m of 3 or more.
        ranks: of B. The elbow is the least rank that suffices, which can be below that of a planted subspace.
        controls: name -> vectors of the same trees, such as {"random weights": code_vectors(twin, ...)}.
        groups: [tree]; no group is split. seed: of the split, the first B and the shuffles.

    Returns:
        A row for each condition ("vectors", the controls, "shuffled tokens") and rank, and one for the left-branching
        tree (rank 0): uuas, ci_low, ci_high (95 %, over trees), spearman, n (trees judged), n_fitted, seed, status.

    Raises:
        InvalidInput: shapes that do not fit, or fewer than 10 trees.
    """
    trees = [np.asarray(t, dtype=np.float64) for t in distances]
    conditions = {"vectors": vectors, **(controls or {})}
    given = {name: _checked(name, found, trees) for name, found in conditions.items()}
    folds = assign_folds(group_codes(groups, len(trees)), 10, seed=seed)
    test = folds < max(1, round(10 * test_share))
    if test.all():
        raise InvalidInput("too few groups: none is left to fit on.")
    rng = np.random.default_rng(seed)
    about = {"n": int(test.sum()), "n_fitted": int((~test).sum()), "seed": seed, "status": "ok"}
    line = [np.abs(np.subtract.outer(np.arange(len(t)), np.arange(len(t)))).astype(np.float64) for t in trees]
    rows = [{"condition": LEFT, "rank": 0, **_judged(line, trees, test, n_boot, seed), **about}]
    orders = [rng.permutation(len(t)) for t in trees]
    shuffled = [t[np.ix_(order, order)] for t, order in zip(trees, orders, strict=True)]
    jobs = [*((name, found, trees) for name, found in given.items()), (SHUFFLED, given["vectors"], shuffled)]
    for name, found, goal in jobs:
        for rank in ranks:
            guesses = _distances(found, goal, ~test, rank, seed)
            rows.append({"condition": name, "rank": rank, **_judged(guesses, goal, test, n_boot, seed), **about})
    return pd.DataFrame(rows)


def _distances(
    vectors: list[np.ndarray], trees: list[np.ndarray], fit: np.ndarray, rank: int, seed: int
) -> list[np.ndarray]:
    """Fit B on some trees, and return the squared distances under it in every tree."""
    import torch

    chosen = np.flatnonzero(fit)
    size = max(len(trees[i]) for i in chosen)
    together = np.concatenate([vectors[i] - vectors[i].mean(axis=0) for i in chosen])
    scale = np.sqrt((together**2).sum(axis=1).mean()) or 1.0
    h = torch.zeros(len(chosen), size, together.shape[1])
    goal, weight = torch.zeros(len(chosen), size, size), torch.zeros(len(chosen), size, size)
    for row, i in enumerate(chosen):
        m = len(trees[i])
        h[row, :m] = torch.from_numpy((vectors[i] - vectors[i].mean(axis=0)) / scale)
        goal[row, :m, :m], weight[row, :m, :m] = torch.from_numpy(trees[i]), 1.0 / m**2
    start = np.random.default_rng(seed).standard_normal((h.shape[2], rank)) / np.sqrt(rank)
    B = torch.tensor(start, dtype=torch.float32, requires_grad=True)
    optimiser = torch.optim.Adam([B], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        optimiser.zero_grad()
        z = h @ B
        squares = (z**2).sum(dim=2)
        found = squares[:, :, None] + squares[:, None, :] - 2 * z @ z.transpose(1, 2)
        loss = (weight * (found - goal).abs()).sum() / len(chosen)
        loss.backward()
        optimiser.step()
        schedule.step()
    low = B.detach().numpy().astype(np.float64) / scale
    return [((z[:, None] - z[None]) ** 2).sum(axis=2) for z in (v @ low for v in vectors)]


def _judged(
    guesses: list[np.ndarray], trees: list[np.ndarray], test: np.ndarray, n_boot: int, seed: int
) -> dict[str, float]:
    rows = np.flatnonzero(test)
    edges = np.array([_uuas(guesses[i], trees[i]) for i in rows])
    ranks = np.array([_spearman(guesses[i], trees[i]) for i in rows])
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(7,)))
    draws = [edges[rng.integers(0, len(edges), len(edges))].mean() for _ in range(n_boot)]
    low, high = np.percentile(draws, [2.5, 97.5]) if draws else (np.nan, np.nan)
    return {"uuas": float(edges.mean()), "ci_low": float(low), "ci_high": float(high),
            "spearman": float(np.nanmean(ranks)) if np.isfinite(ranks).any() else np.nan}  # fmt: skip


def _uuas(guess: np.ndarray, tree: np.ndarray) -> float:
    """Return the share of the edges of the guessed spanning tree that are as short as the true one allows.

    Where the tree has ties (tokens of one node are all 2 apart) any of its spanning trees is right: an edge counts if
    exchanging it into the true spanning tree makes that no longer, which is if it is no longer than the longest edge
    between its ends there.
    """
    edges = np.argwhere(minimum_spanning_tree(guess + 1e-9 * (1 - np.eye(len(guess)))).toarray() > 0)
    widest = _bottleneck(tree)
    return float(np.mean([tree[i, j] <= widest[i, j] + 1e-9 for i, j in edges]))


def _bottleneck(tree: np.ndarray) -> np.ndarray:
    """Return for each pair the longest edge between them in a minimum spanning tree, [m, m]."""
    widest = tree.astype(np.float64).copy()
    for k in range(len(tree)):
        widest = np.minimum(widest, np.maximum(widest[:, [k]], widest[[k], :]))
    return widest


def _spearman(guess: np.ndarray, tree: np.ndarray) -> float:
    pairs = np.triu_indices(len(tree), 1)
    a, b = rankdata(guess[pairs]), rankdata(tree[pairs])
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else float("nan")


def _checked(name: str, vectors: Sequence[Any], trees: list[np.ndarray]) -> list[np.ndarray]:
    if len(trees) < 10 or len(vectors) != len(trees):
        raise InvalidInput(f"{name}: vectors and distances of at least 10 trees, as many of both; given {len(trees)}.")
    out = [np.asarray(v, dtype=np.float64) for v in vectors]
    for i, (v, t) in enumerate(zip(out, trees, strict=True)):
        if v.ndim != 2 or t.shape != (len(v), len(v)) or len(v) < 3 or not np.isfinite(v).all():
            raise InvalidInput(
                f"{name}: tree {i} has vectors {v.shape} and distances {t.shape}; expected [m, d], [m, m]."
            )
        if not np.allclose(t, t.T) or (np.diag(t) != 0).any():
            raise InvalidInput(f"{name}: the distances of tree {i} are not symmetric with a diagonal of 0.")
    return out
