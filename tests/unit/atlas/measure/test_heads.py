"""Head scores against planted attention and against a search through the attention of transformers."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

from interp.atlas.measure import heads
from interp.atlas.measure.heads import (
    SCORES,
    SHORTEST_PERIOD,
    head_rows,
    head_scores,
    head_table,
    pattern_scores,
    repeat_loss_rows,
    repeat_rows,
)
from interp.atlas.measure.rows import card_table
from interp.atlas.rows import repeat_row
from interp.errors import InvalidInput
from interp.models import load_model
from interp.testing import tiny_model, tiny_module

from .planted import PlantedModel, knows

PERIOD, POS = 6, 19


@pytest.mark.parametrize("period", [1, 7, 20, 63, 70])
def test_rows_repeat_with_their_period_and_no_shorter_one(period):
    rows = repeat_rows(period, 9, length=128, d_vocab=500, seed=3)
    assert (rows.shape, rows.dtype) == ((9, 128), np.int64)
    assert (rows[:, 0] == 0).all()
    assert (rows[:, 1 + period :] == rows[:, 1:-period]).all()
    assert all(len(set(row[1 : 1 + period].tolist())) == period for row in rows)
    assert rows[:, 1:].min() >= 2
    assert rows.max() < 500
    np.testing.assert_array_equal(rows, repeat_rows(period, 9, length=128, d_vocab=500, seed=3))
    assert (rows != repeat_rows(period, 9, length=128, d_vocab=500, seed=4)).any()


def test_tokens_of_the_rows_are_drawn_evenly():
    drawn = repeat_rows(10, 4000, length=13, d_vocab=52, seed=0)[:, 1:11]
    count = np.bincount(drawn.ravel(), minlength=52)
    assert count[:2].sum() == 0
    assert ((count[2:] - 800) ** 2 / 800).sum() < 100  # 49 degrees of freedom


@pytest.mark.parametrize(("period", "length", "d_vocab"), [(20, 22, 500), (20, 60, 21), (0, 60, 500)])
def test_rows_without_a_repeat_are_refused(period, length, d_vocab):
    with pytest.raises(InvalidInput, match=f"no repeats of period {period}"):
        repeat_rows(period, 2, length=length, d_vocab=d_vocab, seed=0)


def planted(back: int) -> np.ndarray:
    """Attention [2 rows, 1 head]: all of it `back` places back, else on BOS."""
    pattern = np.zeros((2, 1, POS, POS))
    for t in range(POS):
        pattern[:, :, t, t - back if t - back > 0 else 0] = 1.0
    return pattern


@pytest.mark.parametrize(("back", "which"), [(1, 0), (PERIOD, 1), (PERIOD - 1, 2)])
def test_a_planted_head_has_score_one_and_no_other(back, which):
    scores = pattern_scores(planted(back), PERIOD)
    assert scores.shape == (3, 2, 1)
    np.testing.assert_array_equal(scores[which], 1.0)
    np.testing.assert_array_equal(np.delete(scores, which, axis=0), 0.0)


def test_a_head_that_looks_everywhere_alike_has_what_chance_gives():
    pattern = np.tril(np.ones((POS, POS))) / np.arange(1, POS + 1)[:, None]
    scores = pattern_scores(pattern[None, None], PERIOD)[:, 0, 0]
    after = np.mean(1 / np.arange(PERIOD + 2, POS + 1))
    np.testing.assert_allclose(scores, [np.mean(1 / np.arange(3, PERIOD + 2)), after, after], rtol=1e-12)


def test_scores_are_those_of_a_search_through_the_attention_of_transformers(monkeypatch):
    monkeypatch.setattr(heads, "_BATCH", 2)
    sizes = {
        "vocab_size": 90, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 4, "max_position_embeddings": 64,
    }  # fmt: skip
    module = tiny_module("llama", sizes)
    plain, model, period, n = deepcopy(module), load_model(module, bos="always"), 11, 5
    found = head_scores(model, period=period, n=n, seed=1)
    rows = repeat_rows(period, n, length=3 * period + 1, d_vocab=model.d_vocab, seed=1)
    with torch.no_grad():
        patterns = plain(input_ids=torch.from_numpy(rows), output_attentions=True).attentions
    assert found.shape == (3, n, model.n_layers, model.n_heads)
    for r, layer, head in np.ndindex(found.shape[1:]):
        row, looked = rows[r].tolist(), {name: [] for name in SCORES}
        for t in range(1, len(row)):
            weights = patterns[layer][r, head, t]
            earlier = [s for s in range(t) if row[s] == row[t]]
            if earlier:
                looked["duplicate token"].append(float(weights[earlier[-1]]))
                looked["induction"].append(float(weights[earlier[-1] + 1]))
            elif t > 1:
                looked["previous token"].append(float(weights[t - 1]))
        expected = [np.mean(looked[name]) for name in SCORES]
        np.testing.assert_allclose(found[:, r, layer, head], expected, rtol=1e-4, atol=1e-8)


def test_measuring_leaves_no_hook_behind():
    model = tiny_model()
    head_scores(model, period=5, n=2, seed=0)
    assert not any(point.fwd_hooks for point in model.bridge.hook_dict.values())


def drawn_scores(means: np.ndarray, n: int = 40, seed: int = 0) -> np.ndarray:
    """Scores [3, n, layer, head] about given means [3, layer, head]."""
    return means[:, None] + 0.01 * np.random.default_rng(seed).standard_normal((3, n, *means.shape[1:]))


def test_the_best_heads_stand_beside_the_largest_of_random_weights():
    means, low = np.zeros((3, 2, 4)), np.zeros((3, 2, 4))
    means[2, 0, 1], means[2, 1, 3], means[2, 1, 0] = 0.9, 0.7, 0.5
    means[0, 0, 2], low[2, 1, 1] = 0.8, 0.05
    table = card_table(head_rows(drawn_scores(means), drawn_scores(low, seed=1), period=20, seed=0))
    induction = table[table["measure"] == "induction score"]
    assert induction["group"].tolist() == ["head 0.1", "head 1.3", "head 1.0"]
    np.testing.assert_allclose(induction["value"], [0.9, 0.7, 0.5], atol=0.01)
    np.testing.assert_allclose(induction["random_weights"], 0.05, atol=0.01)
    assert (induction["n"] == 20).all()
    assert table.loc[table["measure"] == "previous token score", "group"].iat[0] == "head 0.2"


def test_being_the_largest_of_many_adds_nothing_to_a_head():
    noise = np.random.default_rng(2).standard_normal((3, 40, 10, 10))
    rows = [r for seed in range(3) for r in head_rows(noise[:, :, seed:], noise, period=20, seed=seed, top=5)]
    assert abs(np.mean([r["value"] for r in rows])) < 0.1  # the largest of 100 means of 40 would be near .4
    assert np.sort(noise.mean(axis=1).reshape(3, -1))[:, -5:].mean() > 0.25


def test_every_head_has_its_row_interval_and_twin():
    means = np.random.default_rng(3).random((3, 2, 4))
    scores, twin = drawn_scores(means), drawn_scores(means / 10, seed=1)
    table = head_table(scores, twin, seed=0)
    assert len(table) == 24
    for row in table.itertuples():
        s = SCORES.index(row.score)
        assert row.value == pytest.approx(scores[s, :, row.layer, row.head].mean())
        assert row.random_weights == pytest.approx(twin[s, :, row.layer, row.head].mean())
        assert row.largest_random == pytest.approx(twin[s].mean(axis=0).max())
        assert 0.002 < row.ci_high - row.ci_low < 0.01  # 2 * 1.96 * .01 / sqrt(40) = .0062
    pd_again = head_table(scores[:, :, :1], twin[:, :, :1], seed=0)
    assert pd_again["ci_low"].tolist() == table.loc[table["layer"] == 0, "ci_low"].tolist()


def test_a_model_that_copies_what_came_next_loses_nothing_after_the_first_period():
    v, n_ctx = 60, 48

    def copied(prefix: list[int]) -> int:
        earlier = [s for s in range(len(prefix) - 1) if prefix[s] == prefix[-1]]
        return prefix[earlier[-1] + 1] if earlier else 0  # 0 is BOS: never right

    model = PlantedModel(knows(v, copied, margin=40.0), d_vocab=v, n_ctx=n_ctx)
    twin = PlantedModel(lambda ids: np.zeros((*ids.shape, v)), d_vocab=v, n_ctx=n_ctx)
    table = card_table(repeat_loss_rows(model, twin, [7, 20], n=4, seed=0)).set_index(["measure", "group"])
    for period in (7, 20):
        group = f"period {period}, drawn in training"
        assert table.loc[("loss on random repeats, after it", group), "value"] == pytest.approx(0, abs=1e-9)
        assert table.loc[("loss on random repeats, first period", group), "value"] == pytest.approx(40.0, rel=1e-6)
    np.testing.assert_allclose(table["random_weights"], np.log(v))
    np.testing.assert_allclose(table["baseline"], np.log(v))


def test_periods_that_training_never_draws_are_called_so():
    v = 150
    model = PlantedModel(lambda ids: np.zeros((*ids.shape, v)), d_vocab=v, n_ctx=128)
    groups = [row["group"] for row in repeat_loss_rows(model, model, [3, 4, 63, 64], n=2, seed=0)][::2]
    assert groups == [
        "period 3, drawn never in training", "period 4, drawn in training", "period 63, drawn in training",
        "period 64, drawn never in training",
    ]  # fmt: skip


def test_the_periods_of_training_are_those_of_its_rows():
    rng = np.random.default_rng(0)
    found = set()
    for _ in range(3000):
        ids, _ = repeat_row(rng, 64, 10**6)
        same = (p for p in range(1, 45) if (ids[44:] == ids[44 - p : 64 - p]).all())
        found.add(next(same, SHORTEST_PERIOD))
    assert (min(found), max(found)) == (SHORTEST_PERIOD, 31)
