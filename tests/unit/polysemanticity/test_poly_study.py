"""The study on a tiny model: what each reader reads, units that resume, tables, figures and words."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from analyses.polysemanticity import run as study_run
from analyses.polysemanticity import study_units
from analyses.polysemanticity.concepts import AuditConfig
from analyses.polysemanticity.relations import RELATIONS, effective_relations, relation_classes
from analyses.polysemanticity.run import figures, headline, polysemanticity_study, run, section
from analyses.polysemanticity.study import StudyConfig, verdict_shares
from analyses.polysemanticity.unit_audits import audit_heads, audit_latents, audit_neurons
from analyses.polysemanticity.unit_readings import (
    random_rotations,
    read_heads,
    read_latents,
    read_neurons,
    read_text_tokens,
)
from analyses.polysemanticity.view import limits, plot
from interp.capturing import capture
from interp.errors import InvalidInput
from interp.plot import render_report
from interp.sae import MatchingPursuitSAE, matching_pursuit_config
from interp.sae.config import topk_config
from interp.sae.topk import TopKSAE
from interp.store import Store
from interp.testing import planted_layer, tiny_model

WORDS = ["Paris", "London", "Berlin", "is", "in", "the", "city", "of", "France", "and", "to", "from"]
CONFIG = StudyConfig(
    n_texts=60, n_units=6, n_controls=4, n_mixtures=2, n_masked=5, n_domain_texts=6, n_random_masks=2,
    n_expert_texts=20, n_experts=4, n_random_groups=3,
    audit=AuditConfig(n_boot=2, n_null=49),
)  # fmt: skip


SOURCES = {"half": ["a", "b"] * 50, "quarter": ["a", "a", "b", "b"] * 25}


def an_sae(model, seed=0):
    config = topk_config(model.d_model, 48, k=6, site="resid_post.0", model_fingerprint=model.fingerprint, bos="always")
    rng = np.random.default_rng(seed)
    weights = {n: torch.from_numpy(rng.standard_normal(s)).float() for n, s in TopKSAE.shapes(config).items()}
    weights["W_dec"] = weights["W_dec"] / weights["W_dec"].norm(dim=1, keepdim=True)
    return TopKSAE(config, weights)


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(0)
    labels = rng.choice(["a", "b"], size=100).tolist()
    part = {"a": WORDS[:7], "b": WORDS[5:]}
    texts = [" " + " ".join(rng.choice(part[label], size=14)) for label in labels]
    model, twin = tiny_model(0), tiny_model(1)
    return SimpleNamespace(model=model, twin=twin, sae=an_sae(model), texts=texts, labels=labels)


@pytest.fixture(scope="module")
def studied(small):
    return polysemanticity_study(
        small.model, small.sae, small.texts, labels=small.labels, sources=SOURCES, twin=small.twin, config=CONFIG
    )


def test_neurons_are_read_as_capture_reads_them(small):
    texts = small.texts[:7]
    own, random = read_neurons(small.model, texts, {0: np.array([3]), 1: np.array([0, 5])}, seed=0)
    whole = [capture(small.model, texts, f"mlp_post.{layer}", pool="none")[f"mlp_post.{layer}"] for layer in (0, 1)]
    for column, values in zip(own.T, (whole[0][:, 3], whole[1][:, 0], whole[1][:, 5]), strict=True):
        up, down = np.maximum(values, 0), np.maximum(-values, 0)
        assert np.allclose(column, up if (up**2).sum() >= (down**2).sum() else down, atol=1e-5)
    assert random.shape == own.shape
    assert (random >= 0).all()


def test_latents_are_read_as_the_sae_encodes_them(small):
    x = capture(small.model, small.texts[:5], "resid_post.0", pool="none")["resid_post.0"]
    found = read_latents(small.model, small.sae, small.texts[:5], np.array([2, 40]))
    assert np.allclose(found, small.sae.encode(x).numpy()[:, [2, 40]], atol=1e-4)


def test_heads_are_read_as_a_loop_over_pairs_reads_them(small):
    texts = small.texts[:3]
    heads, seen = read_heads(small.model, texts, seed=0), read_text_tokens(small.model, texts, seed=0)
    acts = capture(small.model, texts, ["pattern.1", "v.1"], pool="none", include_special=True)
    W_O = small.model.bridge.blocks[1].attn.W_O.detach()
    start = 0
    for text, pattern in enumerate(acts.per_text("pattern.1")):
        n, rows = pattern.shape[-1], np.flatnonzero(seen.text_index == text)
        v = acts.per_text("v.1")[text].reshape(n, 2, -1)
        for head in range(4):
            norms = np.linalg.norm(v[:, head // 2] @ W_O[head].numpy(), axis=1)
            for q in range(9, n):  # row 0 is BOS; the first eight others are not judged
                moved = (pattern[head, q, : q + 1] - 1 / (q + 1)).clip(0) * norms[: q + 1]
                row, best = rows[q - 1], moved[1:].argmax()
                assert heads.moved[row, 4 + head] == pytest.approx(moved[1:].max(), rel=1e-3, abs=1e-6)
                if moved[1:].max() > 0:
                    assert heads.source[row, 4 + head] == rows[best]
        assert (heads.moved[rows[:8]] == 0).all()
        start += n


def test_rotated_heads_are_read_as_a_loop_reads_them_and_unrotated_ones_are_the_heads(small):
    texts, model = small.texts[:3], small.model
    plain = read_heads(model, texts, seed=0)
    same = read_heads(model, texts, seed=0, rotations=[torch.eye(model.n_heads * model.d_head)] * model.n_layers)
    assert np.allclose(plain.moved, same.moved, rtol=1e-3, atol=1e-6)
    on = plain.moved > 1e-5
    assert (plain.source == same.source)[on].mean() > 0.99
    rotations = random_rotations(model, seed=0)
    assert torch.allclose(rotations[1] @ rotations[1].T, torch.eye(len(rotations[1])), atol=1e-5)
    mixed = read_heads(model, texts, seed=0, rotations=rotations)
    acts = capture(model, texts[:1], ["pattern.1", "v.1"], pool="none", include_special=True)
    pattern, v = acts.per_text("pattern.1")[0], acts.per_text("v.1")[0].reshape(-1, 2, model.d_head)
    W_O = model.bridge.blocks[1].attn.W_O.detach().flatten(0, 1).numpy()
    n, R = pattern.shape[-1], rotations[1].numpy()
    for q in range(9, n):
        lengths = np.zeros((n, 4))
        for s in range(1, q + 1):
            given = [max(pattern[h, q, s] - 1 / (q + 1), 0) * v[s, h // 2] for h in range(4)]
            for part in range(4):
                columns = R[:, part * model.d_head : (part + 1) * model.d_head]
                lengths[s, part] = np.linalg.norm(np.concatenate(given) @ columns @ columns.T @ W_O)
        assert np.allclose(mixed.moved[q - 1, 4:8], lengths.max(axis=0), rtol=1e-3, atol=1e-6)


def test_relations_are_named_by_the_first_that_holds():
    ids = np.array([7, 1, 2, 1, 2, 9])
    pairs = {(5, 5): "self", (3, 2): "induction", (3, 1): "duplicate", (5, 4): "previous", (5, 0): "first"}
    for (query, key), name in pairs.items():
        found = relation_classes(ids, np.array([query]), np.array([key]), np.array([0]))
        assert RELATIONS[found[0]] == name
    assert relation_classes(ids, np.array([5]), np.array([2]), np.array([0])) == [-1]
    weights, classes = np.array([[1.0, 1], [1, 0], [0, 0]]), np.array([[0, 2], [3, 2], [4, 4]])
    assert effective_relations(weights, classes) == pytest.approx([2.0, 1.0])


def test_the_study_has_every_kind_under_every_condition(studied):
    kinds = studied.table.groupby(["kind", "condition"]).size()
    assert kinds.to_dict() == {
        ("neuron", "trained"): 6, ("neuron", "random weights"): 4, ("neuron", "random directions"): 4,
        ("head", "trained"): 8, ("head", "random weights"): 8, ("head", "random directions"): 4,
        ("latent", "trained"): 6, ("latent", "random weights"): 4, ("latent", "random directions"): 4,
    }  # fmt: skip
    assert set(studied.tables) == {
        "shares",
        "views",
        "upstream",
        "power",
        "labels",
        "masks",
        "specificity",
        "exclusivity",
        "experts",
    }
    labels = studied.tables["labels"]
    assert labels.groupby(["kind", "condition"]).ngroups == 4
    assert set(labels["score"]) <= {"modularity", "compactness", "FMS"}
    for name, rows in (("masks", 4), ("specificity", 3), ("exclusivity", 1)):
        sizes = studied.tables[name].groupby(["units", "condition"]).size()
        assert len(sizes) == 4
        assert (sizes == rows).all()
        assert {"p", "q", "n", "null_mean", "status", "seed"} <= set(studied.tables[name])
    experts = studied.tables["experts"]
    assert experts.groupby(["units", "condition"])["layer"].nunique().to_dict() == {
        ("latents", "random weights"): 1, ("latents", "trained"): 1,
        ("neurons", "random weights"): 2, ("neurons", "trained"): 2,
    }  # fmt: skip
    upstream = studied.tables["upstream"]
    assert upstream.groupby("condition").size().min() > 20
    assert upstream["rank"].max() == 4
    assert set(studied.tables["views"].query("view == 'upstream'")["unit"]) == set(upstream["unit"])
    assert studied.tables["power"]["views"].str.contains("upstream").tolist() == [True] + [False] * 12
    assert studied.table["n_relations"].notna().sum() == 20
    assert studied.table.groupby("condition")["capacity"].count().to_dict() == {
        "random directions": 0, "random weights": 8, "trained": 12,
    }  # fmt: skip
    assert studied.table["capacity"].dropna().between(0, 1).all()
    assert studied.table.loc[studied.table["kind"] == "latent", "ms"].notna().any()


def test_a_study_goes_on_where_it_stopped(small, studied, tmp_path, monkeypatch):
    options = {"labels": small.labels, "sources": SOURCES, "twin": small.twin, "config": CONFIG}
    power = study_units.audit_sensitivity
    monkeypatch.setattr(study_units, "audit_sensitivity", lambda *a, **k: 1 / 0)
    with Store(tmp_path) as store, pytest.raises(ZeroDivisionError):
        polysemanticity_study(small.model, small.sae, small.texts, store=store, **options)
    monkeypatch.setattr(study_units, "audit_sensitivity", power)
    monkeypatch.setattr(study_units, "audit_neurons", lambda *a, **k: 1 / 0)  # finished, so it is not called
    with Store(tmp_path) as store:
        again = polysemanticity_study(small.model, small.sae, small.texts, store=store, **options)
    pd.testing.assert_frame_equal(again.table, studied.table)
    pd.testing.assert_frame_equal(again.tables["masks"], studied.tables["masks"])


def test_the_report_can_be_written(studied):
    drawn = figures(studied)
    assert {"shares", "masks", "experts"} <= set(drawn)
    page = render_report("tiny", [section(studied, drawn)], studied.provenance)
    assert "Does this unit mean one thing or several?" in page
    assert "random directions" in headline(studied).null
    assert plot(studied).axes


def test_a_model_without_texts_is_left_out_and_says_so(tmp_path):
    result = run(SimpleNamespace(config=SimpleNamespace(model="other", seed=0), texts=None, store=None))  # type: ignore[arg-type]
    assert "no texts" in result.table["status"][0]
    assert figures(result) == {}
    assert "Left out" in headline(result).text
    assert "Left out" in render_report("x", [section(result, {})], result.provenance)
    with pytest.raises(InvalidInput, match="nothing to draw"):
        plot(result)


def test_a_run_on_texts_of_ones_own_has_no_labels(small):
    job = SimpleNamespace(config=SimpleNamespace(model="other", seed=0), texts=small.texts[:40])
    assert study_run._texts_of(job, CONFIG) == (small.texts[:40], None)  # type: ignore[arg-type]


def test_without_an_sae_neurons_and_heads_are_audited(small):
    result = polysemanticity_study(small.model, None, small.texts, twin=small.twin, config=CONFIG)
    assert set(result.table["kind"]) == {"neuron", "head"}
    assert len(result.tables["power"])
    page = render_report("tiny", [section(result, figures(result))], result.provenance)
    assert "latents at" not in page


def test_an_encoder_that_is_not_linear_is_audited_without_what_wrote_it(small):
    d = small.model.d_model
    config = matching_pursuit_config(d, 24, max_iterations=4).with_(
        site="resid_post.0", model_fingerprint=small.model.fingerprint, bos="always"
    )
    rows = torch.nn.functional.normalize(torch.randn(24, d, generator=torch.Generator().manual_seed(0)), dim=1)
    sae = MatchingPursuitSAE(config, {"W_dec": rows, "b_dec": torch.zeros(d)})
    result = polysemanticity_study(small.model, sae, small.texts, twin=small.twin, config=CONFIG)
    assert "not linear" in result.provenance["no_upstream"]["latents"]
    assert "neurons" not in result.provenance["no_upstream"]
    assert set(result.tables["upstream"]["unit"].str[2]) == {"N", "R"}
    assert not result.tables["power"]["views"].str.contains("upstream").any()
    assert any("not linear" in line for line in limits(result))


def test_shares_are_compared_with_the_trained_model():
    def units(kind, condition, poly, other):
        verdicts = ["polysemantic"] * poly + ["undecided"] * other + ["not tested"]
        return pd.DataFrame({"kind": kind, "condition": condition, "verdict": verdicts})

    parts = [("neuron", "trained", 30, 10), ("neuron", "random weights", 10, 30), ("head", "trained", 5, 0)]
    table = verdict_shares(pd.concat([units(*part) for part in parts]))
    assert table["share"].tolist() == [0.75, 0.25, 1.0]
    assert table["n"].tolist() == [40, 40, 5]
    assert table["p"][1] < 1e-4
    assert table["p"].notna().tolist() == [False, True, False]
    assert (table["ci_low"] <= table["share"]).all()


@pytest.mark.parametrize("wrong", [[(9, 0)], [(0, 64)], []])
def test_units_that_do_not_exist_are_refused(small, wrong):
    with pytest.raises(InvalidInput):
        audit_neurons(small.model, small.texts[:2], neurons=wrong)
    with pytest.raises(InvalidInput):
        audit_latents(small.model, small.sae, small.texts[:2], latents=[99])


def test_heads_of_known_roles_are_told_apart():
    planted = planted_layer()
    tokenizer = planted.model.tokenizer
    texts = [tokenizer.decode(row[1:]) for row in planted.rows(400, seed=0)]
    table = audit_heads(planted.model, texts, config=AuditConfig(n_boot=0)).table.set_index("unit")
    of_one = ["L0H0", "L1H0", "L1H1", "L1H2"]  # previous token, induction, duplicate, first content token
    assert (table.loc[of_one, "verdict"] == "monosemantic").all()
    assert (table.loc[of_one, "reason"].str.contains("relation")).all()
    assert (table.loc[of_one, "n_relations"] < 1.4).all()
    assert table.loc["L1H3", "verdict"] == "polysemantic"  # induction after some words, the token before after others
    assert table.loc["L1H3", "n_relations"] > 2


def test_heads_are_audited_alone(small):
    table = audit_heads(small.model, small.texts[:30], config=AuditConfig(n_boot=0, n_null=19)).table
    assert table["unit"].tolist()[:5] == ["L0H0", "L0H1", "L0H2", "L0H3", "L1H0"]
    assert table["n_relations"].between(1, 6).all()
