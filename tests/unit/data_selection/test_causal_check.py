"""Ablation through the SAE against splice, and latents that matter or not by construction."""

import numpy as np
import pytest
import torch

from analyses.data_selection import read_samples
from analyses.data_selection.causal import ablated_losses, causal_check, helpful_latents
from analyses.data_selection.encoding import encode_pool
from analyses.data_selection.finetuning import Tuning, row_losses, token_rows
from interp.errors import InvalidInput
from interp.sae import splice


@pytest.fixture(scope="module")
def few():
    rows = [{"prompt": "Paris is in", "completion": "France and the city"}, {"text": "London is the city of"}]
    return list(read_samples(rows))


def test_no_latent_changes_nothing_and_the_loss_is_that_of_the_model(model, sae, few):
    found = ablated_losses(model, sae, few, [(), [], (0,)])
    expected = row_losses(model.trainable_copy(), token_rows(model, few, Tuning()))
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)
    assert np.array_equal(found[0], found[1])


def test_an_ablation_is_that_of_splice(model, sae, few):
    codes = encode_pool(few, model, sae).matrix()
    sets = [(), *([int(latent)] for latent in codes[0].indices[:4]), tuple(map(int, codes[1].indices))]
    found = ablated_losses(model, sae, few, sets)
    for at, (ids, wanted) in enumerate(token_rows(model, few, Tuning())):
        batch = torch.from_numpy(ids)[None]
        ordinary = ~np.isin(ids, model.tokenizer.all_special_ids)[None]
        for number, one in enumerate(sets):
            with splice(model, sae, positions=ordinary, error_term=True, ablate=one):
                logits = model.logits(batch)[0, :-1][torch.from_numpy(wanted[1:])]
            loss = torch.nn.functional.cross_entropy(logits.float(), batch[0, 1:][torch.from_numpy(wanted[1:])])
            assert found[number, at] == pytest.approx(loss.item(), rel=1e-4)
    assert np.ptp(found, axis=0).min() > 1e-4


def test_helpful_latents_are_those_whose_loss_rises(model, sae, few):
    prototype = encode_pool(few, model, sae).mean
    kept = helpful_latents(model, sae, few, prototype)
    active = np.flatnonzero(prototype)
    losses = ablated_losses(model, sae, few, [(), *([int(one)] for one in active)]).mean(axis=1)
    assert kept[active].tolist() == (losses[1:] > losses[0]).tolist()
    assert not kept[prototype == 0].any()
    assert 0 < kept.sum() < len(active)
    assert helpful_latents(model, sae, few, prototype, at_most=3).sum() <= 3


@pytest.fixture(scope="module")
def effects(model, sae, samples):
    """Examples, their prototype, and the rise of their loss for each active latent and unit of activation."""
    examples = list(samples)[:6]
    prototype = encode_pool(examples, model, sae).mean
    active = np.flatnonzero(prototype)
    losses = ablated_losses(model, sae, examples, [(), *([int(one)] for one in active)]).mean(axis=1)
    return examples, prototype, active[np.argsort(-(losses[1:] - losses[0]) / prototype[active])]


def test_latents_that_matter_are_faithful_and_those_that_do_not_are_not(model, sae, effects):
    examples, prototype, order = effects
    for latents, verdict in ((order[:4], "faithful"), (order[-4:], "unfaithful")):
        row = causal_check(model, sae, examples, latents, prototype, seed=1).iloc[0]
        assert row["status"] == "ok"
        assert row["verdict"] == verdict
        losses = ablated_losses(model, sae, examples, [(), [int(one) for one in latents]]).mean(axis=1)
        assert row["change"] == pytest.approx(losses[1] - losses[0])
        assert row["loss"] == pytest.approx(losses[0])
        assert row["activation"] == pytest.approx(prototype[latents].sum())
        assert row["ci_low"] < row["change"] < row["ci_high"]
    assert row["p"] > 0.5


def test_latents_taken_at_random_are_rarely_faithful(model, sae, effects):
    examples, prototype, order = effects
    rng = np.random.default_rng(0)
    found = [
        causal_check(model, sae, examples, rng.choice(order, 4, replace=False), prototype, n_draws=39, seed=i).iloc[0]
        for i in range(30)
    ]
    assert sum(one["verdict"] == "faithful" for one in found) <= 5  # 1.5 are expected, more than 5 in 1 of 300
    assert 0.3 < np.mean([one["p"] for one in found]) < 0.7


def test_a_check_that_cannot_be_done_says_why(model, sae, effects):
    examples, prototype, order = effects
    none = causal_check(model, sae, examples, np.flatnonzero(prototype == 0)[:3], prototype).iloc[0]
    few = causal_check(model, sae, examples, order[: len(order) // 2], prototype).iloc[0]
    assert (none["status"], few["status"]) == ("no active latent", "too few other latents")
    assert np.isnan(none["p"])
    assert np.isnan(few["change"])
    assert none["verdict"] == few["verdict"] == ""


def test_mistakes_are_named(model, sae, few):
    with pytest.raises(InvalidInput, match="there is no latent 96"):
        ablated_losses(model, sae, few, [(96,)])
    with pytest.raises(InvalidInput, match="no token to predict"):
        ablated_losses(model, sae, list(read_samples([{"text": "</s>"}])), [()])
