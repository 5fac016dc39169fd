"""Activations of the ordinary tokens of a model's texts, as training reads them: several sites, from any batch on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from torch import Tensor

from interp.errors import InvalidInput
from interp.sae.buffer import OwnPart
from interp.sae.ranks import find_ranks
from interp.sites import Site

if TYPE_CHECKING:
    from interp.models import Model

Batch = dict[str, Tensor]
"""Activations [n_tokens, d] of the same tokens under the name of each site."""


class ActivationStream:
    """Batches of some rows, without end, the first rows held out; a pure function of the batch number.

    Of several processes each has every world-th batch, and the model runs on those alone.
    """

    def __init__(
        self,
        model: Model,
        rows: Iterable[Any],
        sites: Iterable[str],
        *,
        bos: str | None,
        context_size: int | None,
        eval_rows: int,
        batch_tokens: int,
    ) -> None:
        """Name what is read; nothing runs yet.

        Args:
            rows: texts, or int arrays of ids; can be iterated anew, and always gives the same.
            context_size: texts are cut to so many tokens; default what the model takes.
            eval_rows: the first so many rows are held out.

        Raises:
            InvalidInput: rows that can be read only once. UnknownSite: the model has no such site.
        """
        from interp.models import find_site
        from interp.tokens import bos_policy

        if iter(rows) is rows:
            raise InvalidInput(
                f"rows is a {type(rows).__name__}, which can be read once; training reads them again for every epoch "
                "and after a kill. Give a list, or an object whose __iter__ starts anew."
            )
        self.model, self.bos, self.context = model, bos_policy(model, bos), context_size or model.n_ctx
        self.sites = list(dict.fromkeys(str(find_site(model, site)) for site in sites))
        self.batch_tokens = batch_tokens
        self._rows, self._n_eval = rows, eval_rows

    def batches(self, start: int) -> Iterator[Batch]:
        """Yield this process's training batches of all sites from number `start` on, without end."""
        ranks = find_ranks()
        return self._batches(self.endless(), start * ranks.world + ranks.rank, ranks.world)

    def at(self, site: str, site_out: str | None = None) -> OwnPart:
        """Return what `train_sae` reads: batches of one site, or pairs of two for a transcoder."""
        return OwnPart(lambda start: (pick(batch, site, site_out) for batch in self.batches(start)))

    def eval_rows(self) -> list[Any]:
        """Return the rows that are held out."""
        return list(islice(iter(self._rows), self._n_eval))

    def held_out(self) -> list[Batch]:
        """Return the activations of the rows held out, on the CPU. Raises InvalidInput if none are left to train on."""
        if next(islice(iter(self._rows), self._n_eval, None), None) is None:
            raise InvalidInput(
                f"{self._n_eval} rows are held out for the evaluation and none are left to train on; give more texts."
            )
        batches = self._batches(self.eval_rows(), 0)
        return [{site: values.cpu() for site, values in batch.items()} for batch in batches]

    def endless(self) -> Iterator[Any]:
        """Yield the rows that are not held out, again and again."""
        while True:
            yield from islice(iter(self._rows), self._n_eval, None)

    def stated(self, site: str, *, dtype: str, site_out: str | None, skip_connection: bool) -> dict[str, Any]:
        """Return the fields of a config that say where the activations come from."""
        from interp.models import find_site, hook_name, width

        name = str(find_site(self.model, site))
        fields: dict[str, Any] = {
            "site": name,
            "hook_name": hook_name(name),
            "model_name": self.model.name,
            "model_fingerprint": self.model.fingerprint,
            "bos": self.bos,
            "context_size": self.context,
            "dtype": dtype,
        }
        where = Site.parse(name)
        if where.component == "z" and where.head is None:
            fields["n_heads"] = self.model.shapes[name][1]
        if site_out is None:
            if skip_connection:
                raise InvalidInput("a skip connection belongs to a transcoder; give site_out= too.")
            return fields
        out = str(find_site(self.model, site_out))
        fields |= {"d_out": width(self.model, out), "site_out": out, "hook_name_out": hook_name(out)}
        return fields | {"skip_connection": skip_connection}

    def _batches(self, rows: Iterable[Any], start: int, every: int = 1) -> Iterator[Batch]:
        from interp.capturing import site_batches

        return site_batches(
            self.model,
            rows,
            self.sites,
            batch_tokens=self.batch_tokens,
            bos=self.bos,
            max_length=self.context,
            start=start,
            every=every,
        )


def pick(batch: Batch, site: str, site_out: str | None) -> Any:
    """Return what one SAE reads of a batch: the site's activations, or the pair of a transcoder."""
    return batch[site] if site_out is None else (batch[site], batch[site_out])
