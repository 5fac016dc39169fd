"""Explanations add up, edits re-rank, audits see planted length and controls see planted chance."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from analyses.data_selection import encode_pool, explain, mona_scores, pool_of, score
from analyses.data_selection.audit import agreement, length_audit, pick_stability, shuffled_prototype
from analyses.data_selection.method_names import EXPLAINED, SCORES
from analyses.data_selection.reasons import edited, feature_shift, firing_tokens, lacking
from interp.errors import InvalidInput


def codes(seed, n=50, n_features=30, density=0.3):
    matrix = sparse.random(n, n_features, density, "csr", rng=np.random.default_rng(seed), dtype=np.float32)
    return sparse.csr_matrix(matrix)


@pytest.mark.parametrize("method", EXPLAINED)
def test_contributions_add_up_to_the_score(method):
    pool, target = codes(0), codes(1, 6)
    scores = score(pool, target, method=method)
    rows = [4, 0, 17]
    table = explain(pool, target, rows, method=method, k=3, labels={2: "capital cities"})
    sums = table.groupby("row")["contribution"].sum()
    np.testing.assert_allclose(sums[rows], scores["score"].to_numpy()[rows], rtol=1e-5, atol=1e-7)
    assert (table.groupby("row").size() == 4 + (method == "adjusted")).all()
    assert set(table[table["feature"] == -1]["label"]) == {"all other features"}
    assert set(table[table["feature"] == -2]["label"]) == (
        {"level of samples of like length"} if method == "adjusted" else set()
    )
    np.testing.assert_allclose(table.groupby("row")["share"].sum(), 1.0)


def test_a_contribution_is_its_share_of_the_numerator():
    pool = sparse.csr_matrix(np.array([[2.0, 1.0, 0.0]], dtype=np.float32))
    table = explain(pool, np.array([1.0, 3.0, 4.0]), [0], method="mona")
    assert table["feature"].tolist() == [0, 1]
    np.testing.assert_allclose(table["contribution"], [1 / 9, 1 / 9])
    missing = lacking(pool, np.array([1.0, 3.0, 4.0]), [0])
    assert missing[["feature", "target", "share"]].values.tolist() == [[2, 4.0, 0.5]]


def test_a_muted_feature_is_as_if_it_were_not_there():
    pool, target = codes(0), codes(1, 6)
    before = pool.copy()
    muted, prototype = edited(pool, target, {3: 0.0, 7: 0.0})
    keep = [f for f in range(30) if f not in (3, 7)]
    expected = score(pool[:, keep].tocsr(), target[:, keep].tocsr())
    np.testing.assert_allclose(score(muted, prototype)["score"], expected["score"], atol=1e-6)
    assert np.array_equal(pool.indices, before.indices)  # the caller's arrays are as they were
    boosted, prototype = edited(pool, target, {3: 2.0})
    twice = sparse.csr_matrix(sparse.hstack([pool, pool[:, [3]]]))
    twice_target = sparse.csr_matrix(sparse.hstack([target, target[:, [3]]]))
    np.testing.assert_allclose(score(boosted, prototype)["score"], score(twice, twice_target)["score"], atol=1e-6)
    with pytest.raises(InvalidInput, match="feature 30"):
        edited(pool, target, {30: 0.0})


def test_enriched_and_missing_features_of_a_pick():
    dense = np.zeros((10, 4), dtype=np.float32)
    dense[:, 0] = 1
    dense[:2, 1] = 1
    dense[5, 2] = 1
    table = feature_shift(sparse.csr_matrix(dense), np.array([1.0, 1, 1, 1]), np.arange(10) < 2).set_index("feature")
    assert table["status"].to_dict() == {0: "", 1: "enriched", 2: "missing", 3: "missing"}
    assert table.loc[1, "log2_ratio"] == pytest.approx(np.log2(5))
    assert table.loc[1, ["n_pool", "n_chosen"]].tolist() == [2, 2]


def test_tokens_that_fire_a_feature_are_those_of_the_code(model, sae, samples):
    coded = encode_pool(samples, model, sae, pool="sum")
    row = coded.matrix()[[3]]
    tokens = firing_tokens(model, sae, samples.samples[3], row.indices.tolist())
    sums = tokens.groupby("feature")["activation"].sum()
    np.testing.assert_allclose(sums[row.indices], row.data, rtol=1e-4)
    assert len(tokens) == 4 * coded.rows["n_tokens"][3]


def planted_lengths(follows):
    rng = np.random.default_rng(0)
    tokens = rng.integers(5, 500, 300)
    values = tokens / 500 if follows else rng.random(300)
    table = pd.DataFrame({"score": values, "raw": values, "n_tokens": tokens, "n_features": tokens // 2})
    return table, values >= np.sort(values)[-30]


def test_the_audit_flags_a_score_that_is_length_and_no_other():
    table, selected = planted_lengths(True)
    found = length_audit(table, selected, np.array([50, 60]))
    assert (found["flag"][:4] == "follows length").all()
    assert found.set_index("measure").loc["median tokens, pick", "flag"] == "follows length"
    table, selected = planted_lengths(False)
    found = length_audit(table, selected, np.array([200, 300]))
    assert (found["status"] == "ok").all()
    assert (found["flag"] == "").all()
    assert (found["p"][:4] > 0.001).all()
    constant = length_audit(table.assign(n_tokens=7), selected, np.array([7]))
    assert constant["status"][0] == "constant"
    assert np.isnan(constant["p"][0])


def test_agreement_is_one_with_itself_and_chance_with_chance():
    rng = np.random.default_rng(0)
    values, tokens = rng.random(2000), rng.integers(1, 9, 2000)
    table = agreement(values, {"same": values * 2, "chance": rng.random(2000)}, tokens, 200).set_index("method")
    assert table.loc["same", ["overlap", "spearman"]].tolist() == [1.0, pytest.approx(1.0)]
    assert table.loc["chance", "overlap"] == pytest.approx(0.1, abs=0.06)
    assert table["chance"].tolist() == [0.1] * 3


def test_a_shuffled_prototype_has_the_same_values_elsewhere():
    pool, target = codes(0), codes(1, 6)
    found = shuffled_prototype(target, pool, seed=1)
    assert np.array_equal(np.sort(found), np.sort(pool_of(target).mean))
    assert not np.array_equal(found, pool_of(target).mean)
    clear = np.zeros((200, 30), dtype=np.float32)
    clear[:, :15] = np.random.default_rng(0).random((200, 15))
    clear[:20, 15:] = clear[:20, :15]
    clear[:20, :15] = 0
    clear_codes, prototype = sparse.csr_matrix(clear), np.r_[np.zeros(15), np.ones(15)]
    found, shuffled = (
        set(np.argsort(-mona_scores(clear_codes, t))[:20]) & set(range(20))
        for t in (prototype, shuffled_prototype(prototype, clear_codes))
    )
    assert len(found) == 20
    assert len(shuffled) < 10


def test_equal_examples_give_a_pick_that_does_not_move_and_noise_one_that_does():
    pool = codes(0, n=100)
    same = sparse.csr_matrix(np.tile(codes(1, 1).toarray(), (5, 1)))
    steady = pick_stability(pool, same, 10, n_boot=20)
    assert steady.attrs["overlap"] == 1.0
    assert steady["kept"].tolist() == [1.0] * 10
    loose = pick_stability(pool, codes(2, 5), 10, n_boot=50)
    assert 0.1 < loose.attrs["overlap"] < 1.0
    assert loose["selected"].sum() == 10
    for method in SCORES:
        found = pick_stability(pool, codes(2, 5), 10, method=method, n_boot=3)
        best = np.argsort(-score(pool, codes(2, 5), method=method)["score"].to_numpy(), kind="stable")[:10]
        assert set(found[found["selected"]]["row"]) == set(best)
    assert set(loose[loose["selected"]]["row"]) == set(np.argsort(-score(pool, codes(2, 5))["score"])[:10])
    with pytest.raises(InvalidInput, match="1 target examples"):
        pick_stability(pool, codes(1, 1), 10)
