"""What the card of the bundled model says of its heads is found again, and attribution closes on all its z-SAEs."""

from itertools import islice

import pytest

from analyses.attention import direct_feature_attribution, head_scores, recursive_attribution
from analyses.attention.attributions import strongest_events
from analyses.attention.sae_fit import require_fit
from analyses.attention.token_rows import token_rows
from interp.atlas import facts
from interp.models import load_model
from interp.sae import load_sae


@pytest.fixture(scope="module")
def atlas():
    return load_model("atlas")


@pytest.fixture(scope="module")
def rows(atlas):
    return token_rows(atlas, [text.text for text in islice(facts().texts(3), 24)])


@pytest.fixture(scope="module")
def saes():
    return {layer: load_sae(f"atlas/z.{layer}") for layer in range(6)}


def test_heads_of_the_card_are_found(atlas):
    table = head_scores(atlas, seed=0, scores=("previous token", "induction"), n_rows=8, n_boot=20)
    heads = {
        name: list(zip(part["layer"], part["head"], strict=True))
        for name, part in table.sort_values("rank").groupby("score")
    }
    assert {(1, 0), (1, 2), (1, 3)} <= set(heads["induction"][:4])
    assert heads["previous token"][:2] == [(0, 0), (2, 0)]
    induction = table[table["score"] == "induction"].set_index(["layer", "head"])
    assert induction.loc[(1, 0), "value"] > 5 * induction.loc[(1, 0), "null_mean"]


@pytest.mark.parametrize("layer", range(6))
def test_attribution_closes(atlas, rows, saes, layer):
    assert require_fit(atlas, saes[layer], rows) > 0.6
    found = direct_feature_attribution(atlas, saes[layer], rows, latents=range(0, 1024, 64), per_latent=3)
    assert len(found.events) > 10
    assert found.residual_error < 1e-5


def test_recursive_attribution_closes(atlas, rows, saes):
    events = strongest_events(atlas, saes[3], rows, 3, list(range(0, 400, 20)), 1)
    row, pos, latent = events[0]
    edges = recursive_attribution(atlas, saes, rows, row=row, pos=pos, layer=3, latent=latent, depth=2)
    assert edges["residual"].abs().max() < 1e-4 * edges["dfa"].abs().max()
    assert set(edges["kind"]) >= {"embedding", "latent", "SAE error", "MLP"}
    assert set(edges["depth"]) == {1, 2}
