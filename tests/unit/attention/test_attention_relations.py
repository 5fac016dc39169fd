"""Relations against a loop that follows their definition word by word."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from analyses.attention.relations import (
    BOS,
    DUPLICATE,
    FIRST_CONTENT,
    INDUCTION,
    NONE,
    OTHER,
    PREVIOUS,
    SAME_WORD,
    SELF,
    effective_number,
    relation_codes,
    relation_mass,
    shares,
)


def by_loop(ids, mask, special, word):
    n, pos = ids.shape
    out = np.full((n, pos, pos), NONE)
    for r in range(n):
        content = [bool(mask[r, i] and not special[r, i]) for i in range(pos)]
        first = next((i for i in range(pos) if content[i]), None)
        for q in range(pos):
            for s in range(q + 1):
                if not content[q] or not mask[r, s]:
                    continue
                if special[r, s]:
                    code = BOS
                elif s == q:
                    code = SELF
                elif s > 0 and content[s - 1] and ids[r, s - 1] == ids[r, q]:
                    code = INDUCTION
                elif ids[r, s] == ids[r, q]:
                    code = DUPLICATE
                elif s == q - 1:
                    code = PREVIOUS
                elif s == first:
                    code = FIRST_CONTENT
                elif word[r, s] == word[r, q]:
                    code = SAME_WORD
                else:
                    code = OTHER
                out[r, q, s] = code
    return out


@given(hnp.arrays(np.int64, (2, 9), elements=st.integers(2, 5)), st.integers(3, 9), st.booleans())
def test_codes_are_those_of_the_definition(ids, length, has_bos):
    mask = np.arange(9) < np.array([[9], [length]])
    special = ~mask
    special[:, 0] |= has_bos
    word = np.cumsum(ids % 2 == 0, axis=1)
    np.testing.assert_array_equal(relation_codes(ids, mask, special, word), by_loop(ids, mask, special, word))


def test_mass_is_summed_by_relation():
    rng = np.random.default_rng(0)
    codes = rng.choice([0, 3, 7, NONE], size=(4, 5, 11)).astype(np.uint8)
    mass = rng.random((4, 5, 11))
    found = relation_mass(mass, codes)
    for code in range(8):
        np.testing.assert_allclose(found[..., code], np.where(codes == code, mass, 0).sum(axis=-1))


def test_shares_leave_bos_out_and_say_where_there_is_nothing():
    mass = np.array([[6.0, 1, 1, 0, 0, 0, 0, 2], [3.0, 0, 0, 0, 0, 0, 0, 0]])
    np.testing.assert_allclose(shares(mass, with_bos=False)[0], [0, 0.25, 0.25, 0, 0, 0, 0, 0.5])
    assert np.isnan(shares(mass, with_bos=False)[1]).all()
    np.testing.assert_allclose(shares(mass)[:, 0], [0.6, 1.0])


@pytest.mark.parametrize(("share", "expected"), [([1, 0, 0], 1), ([0.5, 0.5, 0], 2), ([0.25] * 4, 4)])
def test_k_equal_shares_have_effective_number_k(share, expected):
    assert effective_number(np.array(share)) == pytest.approx(expected)
