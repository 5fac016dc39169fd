"""Control tasks: labels that a probe can only know by heart.

Every type (a word, an entity) gets a label at random and keeps it wherever it occurs. A probe that does well on them
has the capacity to memorise types, and its score on real labels says little; selectivity = score - control score.

Reference: Hewitt & Liang 2019, section 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from interp.errors import InvalidInput
from interp.stats.seeds import check_seed


def control_labels(types: Any, y: Any, *, seed: int) -> np.ndarray:
    """Return a label for each row, the same for all rows of a type, drawn from the labels of y.

    Types that are many enough get the labels of y in the proportions of its rows: each type draws the label of a random
    row. Labels do not depend on the order of the rows.

    Args:
        types: [n], any labels.
        y: [n], the real labels or values.

    Raises:
        InvalidInput: shapes that differ, or no rows.
    """
    types, y = np.asarray(types), np.asarray(y)
    if types.ndim != 1 or types.shape != y.shape or not len(y):
        raise InvalidInput(f"control labels need a type and a label a row; given {types.shape} and {y.shape}.")
    names, codes = np.unique(types, return_inverse=True)
    rng = np.random.default_rng(check_seed(seed))
    pool = np.sort(y)
    drawn = pool[rng.integers(0, len(pool), len(names))]
    if len(names) > 1 and np.all(drawn == drawn[0]) and np.any(pool != pool[0]):
        drawn[rng.integers(len(names))] = pool[pool != drawn[0]][0]  # a control with one label cannot be scored
    return drawn[codes]
