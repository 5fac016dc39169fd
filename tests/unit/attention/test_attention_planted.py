"""The planted layer does what it says, by its own forward pass."""

import numpy as np
import pytest
import torch

from analyses.attention.reading import read_attention
from analyses.attention.token_rows import token_rows
from interp.reading import read_sites
from interp.sites import Site
from interp.testing import planted_attention as made
from interp.testing import planted_layer


@pytest.fixture(scope="module")
def patterns(planted):
    rows = token_rows(planted.model, planted.rows(4, seed=3))
    found = read_attention(planted.model, rows, [0, 1])
    return rows, {layer: attention.pattern.numpy() for layer, attention in found.items()}


def test_every_head_looks_where_its_role_says(patterns):
    rows, pattern = patterns
    row, query = 0, 40
    ids = rows.ids[row]
    earlier = np.flatnonzero(ids[:query] == ids[query])
    assert len(earlier) > 0
    at = {name: pattern[1][row, head, query] for head, name in enumerate(("induction", "duplicate", "first"))}
    assert at["induction"][earlier + 1].sum() > 0.999
    assert at["duplicate"][earlier].sum() > 0.999
    assert at["first"][1] > 0.999
    assert pattern[1][row, 4, query, query] > 0.999
    assert pattern[0][row, 0, query, query - 1] > 0.999
    assert pattern[0][row, 2, query, 0] > 0.999
    np.testing.assert_allclose(pattern[1][row, 5, query, 1 : query + 1], 1 / query, rtol=1e-5)


def test_a_head_that_finds_nothing_rests_on_bos(patterns):
    rows, pattern = patterns
    new = [q for q in range(2, 12) if rows.ids[0, q] not in rows.ids[0, :q]]
    assert pattern[1][0, 0, new, 0].min() > 0.999
    assert pattern[1][0, 1, new, 0].min() > 0.999


def test_the_two_roles_depend_on_the_word(patterns):
    rows, pattern = patterns
    for query in range(30, 44):
        ids, at = rows.ids[0], pattern[1][0, 3, query]
        matches = np.flatnonzero(ids[:query] == ids[query]) + 1
        if ids[query] in made._BEFORE:
            assert 0.75 < at[query - 1] < 0.9
        else:
            assert at[matches].sum() > 0.999


def test_the_norms_are_the_identity(planted):
    ids = torch.from_numpy(planted.rows(2, seed=0))
    held = []
    read_sites(planted.model, ids, torch.ones_like(ids), {Site("resid_pre", 1): held.append})
    np.testing.assert_allclose(held[0].sort(dim=-1, descending=True).values[..., :4], np.tile([1, 1, 1, 0], (2, 48, 1)),
                               atol=1e-5)  # fmt: skip


def test_the_model_says_the_successor(planted):
    ids = torch.from_numpy(planted.model.tokenizer("<s> two", return_tensors="np")["input_ids"])
    best = planted.model.logits(ids)[0, -1].topk(2).indices  # the word itself is the first of the text, and its topic
    assert set(planted.model.tokenizer.convert_ids_to_tokens(best.tolist())) == {"two", "three"}


def test_it_is_the_same_every_time(planted):
    again = planted_layer()
    assert again.model.fingerprint == planted.model.fingerprint
    np.testing.assert_array_equal(again.rows(4, seed=1), planted.rows(4, seed=1))
    assert again.latents.equals(planted.latents)


def test_the_tables_name_every_head_and_latent(planted):
    assert len(planted.heads) == 12
    assert len(planted.latents) == planted.sae.config.d_sae
    assert planted.heads.loc[planted.heads["n_roles"] == 2, ["layer", "head"]].to_numpy().tolist() == [[1, 3]]
