"""The view of what wrote a unit: for each example, what every earlier part of the model gave to the unit there.

The parts are those of `interp.upstream`. Of the thousands that there are, a unit keeps those that give most on its own
examples; the rest is summed to one. A unit driven in two ways has two kinds of examples here, also where tokens and
contexts do not tell them apart. That all are driven in one way shows less: what drives them may itself mean several
things, and all that a unit of the first layer reads is the embedding.
Reference: Dreyer et al. 2024 (PURE: examples clustered by what drives the unit).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analyses.polysemanticity.concepts import ReadView, Rows
from interp.batches import plan_batches
from interp.errors import ModelMismatch
from interp.tokens import encode
from interp.unit_readers import LatentReaders, NeuronReaders
from interp.upstream import Upstream, contributions, part_table, read_upstream

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

N_PARTS, N_SHOWN = 128, 5
_BATCH_TOKENS, _CELLS, _FLOATS = 4096, 16_000_000, 64_000_000
_TOLERANCE = 1e-3  # of the largest total


class _Pairs(NamedTuple):
    """Units, as the readers count them, and the rows where they are read."""

    unit: np.ndarray
    row: np.ndarray


class UpstreamView:
    """What wrote each unit of an audit, read once it is known of which tokens.

    Args:
        texts: as they were read for the audit, cut to the context of the model.
        readers: (columns of the audited units, what these read).
        n_parts: parts that a unit keeps.
        saes: of earlier places, whose latents are parts in the place of heads or neurons; see `Upstream`.
    """

    def __init__(
        self,
        model: Model,
        texts: Sequence[str],
        readers: Sequence[tuple[np.ndarray, LatentReaders | NeuronReaders]],
        *,
        n_parts: int = N_PARTS,
        saes: Sequence[SAE] = (),
    ) -> None:
        self.model, self.readers, self.n_parts = model, list(readers), n_parts
        self.stacks = [Upstream(model, reader.site, saes=saes) for _, reader in self.readers]
        self.encoded = encode(model, texts, max_length=model.n_ctx)
        place = np.flatnonzero(~self.encoded.special)
        self.text = np.repeat(np.arange(len(texts)), self.encoded.lengths)[place]
        self.pos = place - self.encoded.starts[self.text]

    def __len__(self) -> int:
        return len(self.text)

    def read(self, examples: Rows, rows: Rows) -> ReadView:
        """Return the vectors at `rows`, of the parts that give most at `examples` (both of the same units).

        Raises:
            ModelMismatch: the parts do not sum to what the unit gets.
        """
        kept, shown = self._chosen(examples)
        rows = {unit: np.unique(found) for unit, found in rows.items()}
        out = [
            np.empty((len(pairs.unit), best.shape[1] + 1), dtype=np.float32)
            for pairs, best in zip(self._pairs(rows), kept, strict=True)
        ]
        for group, at, given, _, unit in self._passes(self._pairs(rows)):
            best = given.gather(1, kept[group][unit])
            rest = given.sum(dim=1, keepdim=True) - best.sum(dim=1, keepdim=True)
            out[group][at] = torch.cat([best, rest], dim=1).cpu().numpy()
        vectors: dict[int, np.ndarray] = {}
        for (columns, _), found in zip(self.readers, out, strict=True):
            own = [int(c) for c in columns if int(c) in rows]
            ends = np.cumsum([len(rows[c]) for c in own])[:-1]
            vectors |= dict(zip(own, np.split(found, ends), strict=True))
        return ReadView(rows, vectors, shown)

    def _pairs(self, rows: Rows) -> list[_Pairs]:
        """Return the pairs of each group of readers, unit after unit."""
        out = []
        for columns, _ in self.readers:
            own = [(i, rows[int(c)]) for i, c in enumerate(columns) if int(c) in rows]
            unit = np.repeat([i for i, _ in own], [len(r) for _, r in own]).astype(np.int64)
            out.append(_Pairs(unit, np.concatenate([np.empty(0, dtype=np.int64), *(r for _, r in own)])))
        return out

    def _chosen(self, examples: Rows) -> tuple[list[Tensor], pd.DataFrame]:
        """Return the parts that each unit keeps, by mean square over its examples, and a table of the largest."""
        squares: dict[int, Tensor] = {}
        sums: dict[int, Tensor] = {}
        names: dict[int, pd.DataFrame] = {}
        for group, _, given, table, unit in self._passes(self._pairs(examples)):
            if group not in squares:
                shape = len(self.readers[group][0]), given.shape[1]
                squares[group], sums[group] = given.new_zeros(shape), given.new_zeros(shape)
                names[group] = table()
            squares[group].index_add_(0, unit, given.square())
            sums[group].index_add_(0, unit, given)
        kept, shown = [], []
        for group, (columns, _) in enumerate(self.readers):
            if group not in squares:
                kept.append(torch.zeros((len(columns), 0), dtype=torch.int64, device=self.model.device))
                continue
            n = min(self.n_parts, squares[group].shape[1])
            kept.append(squares[group].topk(n, dim=1).indices.sort(dim=1).values)
            shown += _leading(columns, sums[group].double().cpu().numpy(), names[group], examples)
        columns = ["unit", "rank", "part", "kind", "layer", "number", "place", "share", "n"]
        parts: Any = pd.concat(shown, ignore_index=True) if shown else pd.DataFrame(columns=columns)
        return kept, parts[columns]

    def _passes(
        self, pairs: list[_Pairs]
    ) -> Iterator[tuple[int, np.ndarray, Tensor, Callable[[], pd.DataFrame], Tensor]]:
        """Yield (group, which of its pairs, what each part gives them, their parts, their units) for every pair."""
        sites = [site for stack in self.stacks for site in stack.sites()]
        sites += [site for _, reader in self.readers for site in (reader.site, *reader.more)]
        texts = np.unique(self.text[np.concatenate([p.row for p in pairs])])
        width = self.model.n_layers * (self.model.d_mlp + 4 * self.model.d_model)  # what is read of a token, roughly
        batch_tokens = int(np.clip(_FLOATS // width, 256, _BATCH_TOKENS))
        for batch in plan_batches(self.encoded.lengths[texts], batch_tokens):
            here = np.full(len(self.encoded), -1)
            here[texts[batch]] = np.arange(len(batch))
            ids = self.encoded.pad(self.encoded.ids, texts[batch], 0)
            at = read_upstream(self.model, ids, self.encoded.mask(texts[batch]), sites)
            for group, (unit, row) in enumerate(pairs):
                inside = np.flatnonzero(here[self.text[row]] >= 0)
                for which in np.array_split(inside, self._n_chunks(group, len(inside))) if len(inside) else ():
                    yield group, which, *self._given(group, at, here, unit[which], row[which])

    def _n_chunks(self, group: int, n: int) -> int:
        layers = 1 + int(self.stacks[group].site.layer or 0)
        return 1 + n * layers * (self.model.d_mlp + self.model.n_heads * self.model.d_head) // _CELLS

    def _given(
        self, group: int, at: dict, here: np.ndarray, unit: np.ndarray, row: np.ndarray
    ) -> tuple[Tensor, Callable[[], pd.DataFrame], Tensor]:
        tokens, pair_row = np.unique(row, return_inverse=True)
        device = self.model.device
        place = tuple(torch.as_tensor(x, device=device) for x in (here[self.text[tokens]], self.pos[tokens]))
        pair, units = (torch.as_tensor(x, device=device) for x in (pair_row, unit))
        with torch.no_grad():
            blocks = self.stacks[group].blocks(at, *place)  # type: ignore[misc]
            weights, _, total = self.readers[group][1].weights(at, blocks, place, pair, units)  # type: ignore[arg-type]
            given = contributions(blocks, pair, weights)
        error = float((given.sum(dim=1) - total).abs().max() / total.abs().max().clamp_min(1e-30))
        if not error <= _TOLERANCE:
            raise ModelMismatch(
                f"what was written before {self.stacks[group].site} of {self.model.name} does not sum to what the "
                f"units get there (error {error:.2g} of the largest)."
            )
        return given, lambda: part_table(blocks), units


def _leading(columns: np.ndarray, sums: np.ndarray, names: pd.DataFrame, examples: Rows) -> list[pd.DataFrame]:
    """Return the largest parts of each unit that has examples."""
    real = (names["kind"] != "bias").to_numpy()
    sums = np.where(real, sums, 0.0)
    out = []
    for i, column in enumerate(columns):
        n = len(examples.get(int(column), ()))
        if not n:
            continue
        best = np.argsort(-np.abs(sums[i]), kind="stable")[:N_SHOWN]
        total = sums[i].sum()
        share = sums[i][best] / total if total else np.full(len(best), np.nan)
        out.append(names.iloc[best].assign(unit=int(column), rank=np.arange(len(best)), share=share, n=n))
    return out
