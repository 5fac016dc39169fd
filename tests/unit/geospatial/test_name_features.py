"""Indicators of letters and tokens: which are kept, where they stand, and what their components find."""

from __future__ import annotations

import numpy as np

from analyses.geospatial.name_features import ngram_indicators, principal_components, token_indicators


def names(n=400, seed=0):
    """Names of three syllables; one in four begins with llan."""
    rng = np.random.default_rng(seed)
    syllables = ["ka", "lo", "mi", "nu", "pe", "ro", "sa", "ti"]
    return [("llan" if rng.random() < 0.25 else "") + "".join(rng.choice(syllables, 3)) for _ in range(n)]


def test_an_ngram_counts_once_a_name_with_the_ends_marked():
    table, grams = ngram_indicators(["Anna", "anan", "Hanna", "Otto"], sizes=(2,), min_places=2)
    assert grams == sorted(grams)
    column = dict(zip(grams, table.toarray().T, strict=True))
    assert column["an"].tolist() == [1, 1, 1, 0]
    assert column["^a"].tolist() == [1, 1, 0, 0]
    assert "tt" not in column  # one name has it


def test_what_every_name_has_is_left_out():
    table, ids = token_indicators([[1, 2], [1, 3], [1, 2, 2]], min_places=1)
    assert ids == [2, 3]
    np.testing.assert_array_equal(table.toarray(), [[1, 0], [0, 1], [1, 0]])


def test_nothing_shared_gives_no_columns():
    table, grams = ngram_indicators(["ab", "cd", "ef"], min_places=3)
    assert (table.shape, grams) == ((3, 0), [])
    assert principal_components(table, 5).shape == (3, 0)


def test_components_are_those_of_the_svd_and_find_a_prefix():
    texts = names()
    table, _ = ngram_indicators(texts)
    scores = principal_components(table, 5)
    centred = table.toarray() - table.toarray().mean(axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    expected = left[:, :5] * singular[:5]
    np.testing.assert_allclose(np.abs(scores), np.abs(expected / expected.std(axis=0)), atol=1e-6)
    llan = np.array([text.startswith("llan") for text in texts])
    assert abs(np.corrcoef(scores[:, 0], llan)[0, 1]) > 0.95
