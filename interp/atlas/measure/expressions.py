"""Does the model evaluate nested expressions? Greedy answers, by the depth of the expression.

There are few expressions of depth 1, so most of them occur word for word in the training text; hardly any of depth 3
does. The baseline answers every expression of a depth with the most frequent value among the very texts measured, which
is at least as good as any constant answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.atlas.measure.forward import greedy
from interp.atlas.measure.rows import share_row
from interp.errors import InvalidInput

if TYPE_CHECKING:
    from interp.atlas.corpus.text import Text
    from interp.models import Model


def expression_depth(text: Text) -> int:
    """Return the number of operators on the longest way from the root of the tree to a leaf."""
    depths = [node.depth for node in text.tree if node.op != "digit"]
    if not depths:
        raise InvalidInput(f"{text.text[:60]!r} has no tree with an operator; give texts of expressions.")
    return max(depths) - min(depths) + 1


def expression_rows(model: Model, twin: Model, texts: Sequence[Text]) -> list[dict[str, Any]]:
    """Return one row a depth: the share of texts whose answer greedy decoding gives.

    Raises:
        InvalidInput: a text without an answer or without a tree.
    """
    asked = []
    for text in texts:
        if text.answer is None:
            raise InvalidInput(f"{text.text[:60]!r} has no answer; give texts of expressions.")
        asked.append((text.text[: text.answer[0]], text.text[slice(*text.answer)]))
    depth = np.array([expression_depth(text) for text in texts])
    answers = np.array([answer for _, answer in asked])
    right, random = greedy(model, asked), greedy(twin, asked)
    out = []
    for d in np.unique(depth):
        at = depth == d
        out.append(
            share_row(
                "value of an expression", right[at], group=f"depth {d}", random=random[at],
                baseline=float(np.unique(answers[at], return_counts=True)[1].max() / at.sum()),
                baseline_name="most frequent value",
            )
        )  # fmt: skip
    return out
