"""Families of latents: right where they were planted, absent where nothing was; each rule against its own words."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from analyses.attention import classify_feature_families, context_retention, relation_profile
from analyses.attention.evidence import activations_of, group_share, induction_auc, moved_tokens, persistence
from analyses.attention.families import family_counts
from analyses.attention.family_rules import FAMILIES, ORDER, FamilyRule, family_of, relation_family
from analyses.attention.masses import head_masses, latent_events
from analyses.attention.profiles import NO_MASS, RESTS, bootstrap_shares
from analyses.attention.reading import read_attention
from analyses.attention.relations import BOS, DUPLICATE, INDUCTION, OTHER, PREVIOUS, SELF, relation_codes
from analyses.attention.retention import WINDOWS, corrected_retention
from analyses.attention.token_rows import joined, token_rows
from interp.errors import InvalidInput
from interp.testing import tiny_model


@pytest.fixture(scope="module")
def families(planted, planted_rows):
    found = classify_feature_families(planted.model, planted.sae, planted_rows, seed=0, n_boot=20, n_positions=48)
    return found.merge(planted.latents[["latent", "head", "family"]], on="latent", suffixes=("", "_true"))


@pytest.fixture(scope="module")
def events(planted, planted_rows):
    rows = token_rows(planted.model, planted_rows)
    return rows, latent_events(planted.model, {1: planted.sae}, rows)[1]


@pytest.fixture(scope="module")
def profile(planted, planted_rows):
    return relation_profile(planted.model, planted_rows, seed=0, n_boot=50)


def test_planted_families_are_found(families):
    alive = families[families["n"] > 0]
    right = alive["family"] == alive["family_true"]
    assert right.mean() >= 0.9
    for family, part in right.groupby(alive["family_true"]):
        assert part.mean() >= 0.8, family
    assert set(families.loc[families["n"] == 0, "family"]) == {"dead"}


def test_evidence_supports_what_was_planted(families):
    by = families[families["n"] >= 10].groupby("family_true")
    auc = by["induction_auc"].median()
    assert auc["induction"] > 0.85
    assert abs(auc["duplicate"] - 0.5) < 0.1
    assert by["token_variance"].median()["token/position"] > 0.99
    assert by["persistence"].median()["long-range context"] > by["persistence"].median()["induction"]
    induction = families[families["family_true"] == "induction"]
    assert (induction["confidence"] > 0.9).all()
    assert (induction["top_relation"] == "induction").all()


def test_a_random_model_with_a_random_sae_has_no_induction(make_sae):
    model = tiny_model(seed=4)
    rng = np.random.default_rng(1)
    rows = [np.concatenate([[0], np.resize(rng.integers(2, 300, size=9), 30)]) for _ in range(40)]
    found = classify_feature_families(
        model, make_sae(model, kind="topk"), rows, seed=0, n_boot=5, n_positions=32, allow_unfit=True
    )
    assert not found["family"].isin(["induction", "duplicate"]).any()


def test_a_table_says_how_it_was_made(families):
    assert families["seed"].eq(0).all()
    assert families["layer"].eq(1).all()
    assert families["family"].isin(FAMILIES).all()
    assert families.loc[families["status"] != "ok", "confidence"].isna().all()
    counts = family_counts(families.drop(columns=["head", "family_true"]))
    assert counts["count"].sum() == len(families)
    assert counts["share"].sum() == pytest.approx(1)


_EVIDENCE = {
    "n": 50, "dfa_share": 1.0, "relation": -1, "share": np.eye(8)[OTHER], "uniform": np.full(8, 0.1), "bos_share": 0.0,
    "token_variance": 0.1, "position_variance": 0.1, "logit_skew": 0.0, "logit_kurtosis": 0.0, "w50": np.nan,
    "median_distance": 3.0,
}  # fmt: skip
_TWO = 0.45 * (np.eye(8)[INDUCTION] + np.eye(8)[PREVIOUS]) + 0.1 * np.eye(8)[OTHER]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"n": 0, "relation": INDUCTION}, "dead"),
        ({"n": 9, "relation": INDUCTION}, "undecided"),
        ({"dfa_share": 0.01, "relation": INDUCTION}, "no-DFA"),
        ({"dfa_share": np.nan}, "no-DFA"),
        ({"relation": INDUCTION, "token_variance": 0.9}, "induction"),
        ({"relation": DUPLICATE}, "duplicate"),
        ({"relation": PREVIOUS}, "previous token"),
        ({"relation": SELF}, "token/position"),
        ({"bos_share": 0.6}, "token/position"),
        ({"position_variance": 0.6}, "token/position"),
        ({"logit_skew": -2.0, "logit_kurtosis": 9.0}, "suppression"),
        ({"logit_skew": -2.0, "logit_kurtosis": 1.0}, "local context"),
        ({}, "local context"),
        ({"w50": 20.0}, "long-range context"),
        ({"w50": np.inf}, "long-range context"),
        ({"w50": 12.0}, "undecided"),
        ({"median_distance": 30.0}, "long-range context"),
        ({"share": _TWO}, "mixed"),
        ({"share": _TWO, "uniform": np.full(8, 0.3)}, "undecided"),
    ],
)
def test_the_order_of_the_rule(change, expected):
    assert family_of({**_EVIDENCE, **change}, FamilyRule())[0] == expected


def test_every_family_is_in_the_order_that_is_printed():
    text = " ".join(ORDER)
    assert all(name.split(" context")[0] in text for name in FAMILIES)


def test_a_relation_needs_share_lift_and_lead():
    even = np.full(8, 1.0)
    rule = FamilyRule()
    of = lambda **m: int(relation_family(np.array([m.get(str(i), 0.0) for i in range(8)]), even, rule))  # noqa: E731
    ind, dup, oth = f"{INDUCTION}", f"{DUPLICATE}", f"{OTHER}"
    assert of(**{ind: 6.0, oth: 3.0, dup: 1.0}) == INDUCTION
    assert of(**{ind: 6.0, oth: 4.0}) == -1  # no lead
    assert of(**{ind: 4.0, oth: 2.0, dup: 2.0, f"{SELF}": 2.0}) == -1  # no half
    assert of(**{oth: 9.0, dup: 1.0}) == -1  # "other" is no relation
    assert of(**{ind: 6.0, oth: 3.0, f"{BOS}": 50.0}) == INDUCTION  # BOS stands apart
    crowded = np.where(np.arange(8) == INDUCTION, 5.0, 1.0)
    assert int(relation_family(np.array([0, 0, 6.0, 0, 0, 0, 0, 3.0]), crowded, rule)) == -1  # no lift


def test_group_share_is_adjusted_and_near_0_for_noise(events):
    rng = np.random.default_rng(0)
    from scipy import sparse

    values, groups = rng.random((400, 3)), rng.integers(0, 40, 400)
    values[:, 0] += groups
    found = group_share(sparse.csc_matrix(values), groups)
    for j in range(3):
        within = sum(((values[groups == g, j] - values[groups == g, j].mean()) ** 2).sum() for g in np.unique(groups))
        total = ((values[:, j] - values[:, j].mean()) ** 2).sum()
        n_groups = len(np.unique(groups))
        assert found[j] == pytest.approx(1 - (within / (400 - n_groups)) / (total / 399))
    assert found[0] > 0.99
    assert abs(found[1:]).max() < 0.1


def test_the_induction_auc_is_the_mann_whitney_one(planted, events):
    rows, found = events
    acts = activations_of(found, rows, len(planted.latents))
    moved, _ = moved_tokens(found, len(planted.latents))
    auc, n = induction_auc(acts, moved, rows, np.array([0, 40]))
    ids, content = rows.ids, rows.content
    truth = np.zeros(ids.shape, dtype=bool)
    for r, q in np.argwhere(content):
        truth[r, q] = any(ids[r, s] == ids[r, q] and content[r, s] and ids[r, s + 1] == moved[0] for s in range(q))
    y, x = truth[content], acts[:, [0]].toarray().ravel()
    assert n[0] == y.sum()
    assert auc[0] == pytest.approx(mannwhitneyu(x[y], x[~y]).statistic / (y.sum() * (~y).sum()))


def test_persistence_by_loop(planted, events):
    rows, found = events
    latent = int(planted.latents.query("word == 'topic 1'")["latent"].iloc[0])
    on = np.zeros(rows.ids.shape, dtype=bool)
    here = found.latent == latent
    on[found.row[here], found.pos[here]] = True
    both, before = (on[:, 1:-1] & on[:, 2:]).sum(), on[:, 1:-1].sum()
    lift, run = persistence(found, rows, len(planted.latents))
    assert lift[latent] == pytest.approx(both / before / on[:, 1:].mean())
    assert run[latent] == pytest.approx(on.sum() / (on.sum() - (on[:, 1:] & on[:, :-1]).sum()))


def test_events_and_head_masses_by_loop(planted, planted_rows):
    rows = token_rows(planted.model, planted_rows[:2])
    attention = read_attention(planted.model, rows, [1])[1]
    codes = relation_codes(rows.ids, rows.mask, rows.special, rows.word)
    mass = head_masses(planted.model, rows, [1])[1]
    expected = np.zeros(8)
    pattern, length = attention.pattern.numpy(), attention.v.norm(dim=-1).numpy()
    for q in range(1, rows.ids.shape[1]):
        for s in range(q + 1):
            expected[codes[0, q, s]] += pattern[0, 3, q, s] * length[0, s, 3]
    np.testing.assert_allclose(mass.mass[0, 3], expected, rtol=1e-5, atol=1e-8)
    found = latent_events(planted.model, {1: planted.sae}, rows)[1]
    W = planted.sae.W_enc.reshape(6, -1, len(planted.latents)).numpy()
    e = int(np.flatnonzero(found.latent > 3 * 36)[0])
    r, q, i = found.row[e], found.pos[e], found.latent[e]
    dfa = [sum(pattern[r, h, q, s] * (attention.v[r, s, h].numpy() @ W[h, :, i]) for h in range(6))
           for s in range(q + 1)]  # fmt: skip
    by = [sum(max(x, 0) for s, x in enumerate(dfa) if codes[r, q, s] == code) for code in range(8)]
    np.testing.assert_allclose(found.mass[e], by, atol=1e-6)
    assert found.net[e] == pytest.approx(sum(dfa), abs=1e-6)


def test_single_roles_are_one_reason_and_the_two_role_head_is_several(profile, planted):
    n_eff = profile.groupby(["layer", "index"])["n_eff"].first()
    for row in planted.heads[(planted.heads["n_roles"] == 1) & (planted.heads["role"] != "first")].itertuples():
        assert n_eff[(row.layer, row.head)] < 1.3, row.role
    assert n_eff[(1, 3)] > 2
    resting = profile[(profile["layer"] == 0) & (profile["index"] == 2)]
    assert set(resting["status"]) == {RESTS}
    assert resting["share"].isna().all()


def test_profiles_sum_to_one_and_have_intervals_and_lift(profile):
    known = profile[profile["status"] == "ok"]
    sums = known.groupby(["layer", "index"])["share"].sum()
    np.testing.assert_allclose(sums, 1)
    assert (known["ci_low"] <= known["share"] + 1e-9).all()
    assert (known["share"] <= known["ci_high"] + 1e-9).all()
    induction = known[(known["layer"] == 1) & (known["index"] == 0) & (known["relation"] == "induction")].iloc[0]
    assert induction["lift"] > 5
    even = known[(known["layer"] == 1) & (known["index"] == 5) & known["relation"].ne("same word")]
    np.testing.assert_allclose(even["lift"], 1, atol=0.2)


def test_latents_without_attribution_have_a_reason_and_no_number(planted, planted_rows):
    found = relation_profile(planted.model, planted_rows, sae=planted.sae, seed=0, n_boot=5)
    always = planted.latents.loc[planted.latents["family"] == "no-DFA", "latent"]
    part = found[found["index"].isin(always)]
    assert set(part["status"]) == {NO_MASS}
    assert part["share"].isna().all()


def test_intervals_cover_the_truth():
    rng = np.random.default_rng(0)
    hits = []
    for seed in range(60):
        mass = np.zeros((40, 1, 8))
        mass[:, 0, 2], mass[:, 0, 7] = rng.gamma(2, 0.3, 40), rng.gamma(2, 0.7, 40)
        low, high, *_ = bootstrap_shares(mass, seed=seed, n_boot=200)
        hits.append(low[0, 2] <= 0.3 <= high[0, 2])
    assert 0.85 <= np.mean(hits) <= 1


def test_context_that_is_needed_is_measured(planted, planted_rows):
    found = context_retention(planted.model, planted.sae, planted_rows, seed=0, n_positions=64, n_boot=20)
    found = found.merge(planted.latents, on="latent")
    ok = found[found["status"] == "ok"]
    wide = ok.pivot_table(index="family", columns="window", values="retention")
    assert wide.loc["induction", 0] < 0.1
    assert wide.loc["induction", 4] < 0.4
    assert wide.loc["induction", 32] > 0.9
    assert wide.loc["token/position"].min() > 0.99
    assert wide.loc["no-DFA"].min() > 0.99
    assert ok[ok["family"] == "token/position"]["w50"].isna().all()
    assert (found.loc[found["status"] != "ok", "retention"].isna()).all()
    with pytest.raises(InvalidInput, match="begin with 0"):
        context_retention(planted.model, planted.sae, planted_rows, seed=0, windows=(1, 2))


def test_without_resamples_there_are_no_intervals(planted, planted_rows):
    found = relation_profile(planted.model, planted_rows[:8], seed=0, n_boot=0)
    assert found["ci_low"].isna().all()
    assert found.loc[found["status"] == "ok", "share"].notna().all()
    kept = context_retention(planted.model, planted.sae, planted_rows[:8], seed=0, n_positions=16, n_boot=0)
    assert kept["ci_low"].isna().all()


def test_latents_that_are_never_on_are_refused(tiny, make_sae, random_rows):
    sae = make_sae(tiny)
    sae.b_enc = sae.b_enc - 1e6
    with pytest.raises(InvalidInput, match="no latent of layer 1 is on"):
        classify_feature_families(tiny, sae, random_rows, seed=0, allow_unfit=True)
    with pytest.raises(InvalidInput, match="no latent of layer 1 is on"):
        relation_profile(tiny, random_rows, sae=sae, seed=0, allow_unfit=True)


def test_half_is_read_off_a_line():
    ratio = np.tile(np.linspace(0, 1, len(WINDOWS))[:, None], (1, 2))
    ratio[:, 1] = 1.0
    corrected, w50 = corrected_retention(ratio, WINDOWS)
    assert w50[0] == 4  # the fourth of seven equal steps is one half
    assert np.isnan(w50[1])
    np.testing.assert_allclose(corrected[:, 0], ratio[:, 0])


def test_joined_rows_are_padded(tiny):
    both = joined(token_rows(tiny, ["Paris is"]), token_rows(tiny, ["London is in the city of France"]))
    assert both.ids.shape[0] == 2
    assert both.mask.sum() == pd.Series([both.mask[0].sum(), both.mask[1].sum()]).sum()
    assert both.special[0, -1]
    assert not both.content[0, -1]
