"""Losses of ragged batches against transformers, one sequence at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from interp.atlas.measure import forward
from interp.atlas.measure.forward import batched_logits, greedy, token_nats
from interp.testing import tiny_model, tiny_tokenizer

from .planted import PlantedModel, knows, uniform


def ragged(d_vocab: int, n: int = 13) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    lengths = rng.permutation(np.arange(2, 2 + n))
    mask = np.arange(lengths.max()) < lengths[:, None]
    return np.where(mask, rng.integers(2, d_vocab, size=mask.shape), 0), mask


@pytest.mark.parametrize("budget", [1, 20, 10_000])
def test_nats_of_ragged_rows_are_those_of_transformers_one_by_one(monkeypatch, budget):
    monkeypatch.setattr(forward, "TOKENS_A_BATCH", budget)
    model = tiny_model()
    ids, mask = ragged(model.d_vocab)
    found = token_nats(model, ids, mask)
    assert found.dtype == np.float64
    for row, kept, mine in zip(ids, mask, found, strict=True):
        one = torch.from_numpy(row[kept])[None]
        with torch.no_grad():
            theirs = model.bridge.original_model(input_ids=one, labels=one).loss
        assert np.nanmean(mine) == pytest.approx(float(theirs), rel=1e-5)
        assert np.isfinite(mine).tolist() == kept[1:].tolist()


def test_every_row_is_run_once_in_batches_of_like_length(monkeypatch):
    monkeypatch.setattr(forward, "TOKENS_A_BATCH", 24)
    model = PlantedModel(uniform(9), d_vocab=9)
    ids, mask = ragged(9)
    seen = [(rows, logits.shape[1]) for rows, logits in batched_logits(model, ids, mask)]
    assert sorted(np.concatenate([rows for rows, _ in seen])) == list(range(len(ids)))
    assert 1 < len(seen) < len(ids)
    assert all(width == mask[rows].sum(1).max() for rows, width in seen)
    assert [width for _, width in seen] == sorted(width for _, width in seen)


def test_a_model_that_knows_nothing_loses_the_log_of_the_vocabulary():
    found = token_nats(PlantedModel(uniform(4096), d_vocab=4096), np.array([[0, 5, 9], [0, 3, 4095]]))
    np.testing.assert_allclose(found, np.log(4096), rtol=1e-12)


def test_a_row_of_one_token_has_nothing_to_predict():
    mask = np.array([[True, False, False], [True, True, True]])
    found = token_nats(PlantedModel(uniform(8), d_vocab=8), np.array([[0, 0, 0], [0, 3, 4]]), mask)
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1], np.log(8))


def test_greedy_answers_need_every_token_and_nothing_else():
    tokenizer = tiny_tokenizer()
    told = tokenizer(" is Paris")["input_ids"][1:]
    following = {token: told[i + 1] for i, token in enumerate(told[:-1])}
    model = PlantedModel(knows(len(tokenizer), lambda prefix: following.get(prefix[-1], 5)), tokenizer=tokenizer)
    asked = [(" is", " Paris"), (" is", " London"), (" the is", " Paris"), (" is", " Paris in"), (" in", " Paris")]
    assert greedy(model, asked).tolist() == [True, False, True, False, False]
