"""What wrote a unit as a view: it tells units apart that only that tells apart, and splits no unit of one concept."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from analyses.polysemanticity.concepts import AuditConfig, ReadView
from analyses.polysemanticity.example_views import context_words, word_vectors
from analyses.polysemanticity.unit_audits import audit_latents, audit_neurons
from analyses.polysemanticity.upstream_view import UpstreamView
from analyses.polysemanticity.verdicts import MONO, POLY, audit_units
from interp.capturing import capture
from interp.sae import TopKSAE, topk_config
from interp.testing import concept_units, planted_layer, tiny_model
from interp.testing.planted_units import REGIMES
from interp.unit_readers import NeuronReaders

QUICK = AuditConfig(n_boot=0)


class Written:
    """What was written to planted units, as a view."""

    def __init__(self, made, by):
        self.made, self.by = made, by

    def __len__(self):
        return len(self.made.activations)

    def read(self, examples, rows):
        rows = {unit: np.unique(found) for unit, found in rows.items()}
        vectors = {unit: self.made.written(unit, found, by=self.by) for unit, found in rows.items()}
        return ReadView(rows, vectors, pd.DataFrame({"unit": list(rows)}))


def planted(n_concepts, **options):
    """Return units over one corpus, that of `views`."""
    return concept_units(n_concepts, n_texts=1500, seed=0, **options)


@pytest.fixture(scope="module")
def views():
    made = planted((1,), per_count=1)
    words = context_words(made.ids.ravel(), made.text_index, window=15, both_sides=True)
    return {"token": made.ids.ravel(), "context": word_vectors(words, seed=0)}


def audited(made, views, by):
    given = views | {"upstream": Written(made, by)}
    return audit_units(
        made.activations, given, text_index=made.text_index, decisive=("context", "upstream"),
        unifying=("token", "context"), config=QUICK,
    )  # fmt: skip


@pytest.mark.parametrize(("strengths", "rates", "by"), [*((*r, "word") for r in REGIMES), (*REGIMES[1], "concept")])
def test_a_unit_of_one_concept_is_not_split(views, strengths, rates, by):
    """Not even where two parts share the words of the concept between them, so that the view says "several"."""
    made = planted((1, 3), strengths=strengths, rates=rates, per_count=8)
    result = audited(made, views, by)
    verdict, one = result.table["verdict"].to_numpy(), made.n_concepts == 1
    assert np.where(one, verdict == MONO, verdict == POLY).mean() >= 0.95
    assert not (verdict[one] == POLY).any()
    says = result.tables["views"].query("view == 'upstream'")["says"].to_numpy()
    assert (says[~one] == "several").mean() >= 0.95
    assert (says[one] == ("one" if by == "concept" else "several")).all()


def test_units_that_differ_by_what_wrote_them_alone_are_told_apart(views):
    """On at tokens of no kind, written by one part, or now by one and now by another."""
    made = planted((1, 2), per_count=20)
    order = np.random.default_rng(1).permutation(len(made.activations))
    made = replace(made, activations=made.activations[order], concept_of=made.concept_of[order])
    result = audited(made, views, "concept")
    verdict = result.table["verdict"].to_numpy()
    assert (verdict[made.n_concepts == 2] == POLY).mean() >= 0.95
    assert not (verdict[made.n_concepts == 1] == POLY).any()
    assert (result.table["reason"][made.n_concepts == 2] == "several in upstream").mean() >= 0.95
    plain = audit_units(made.activations, views, text_index=made.text_index, config=QUICK).table
    assert not (plain["verdict"] == POLY).any()


def test_a_part_of_a_unit_at_random_tokens_is_no_cluster(views):
    """Activations drawn anew at random: what wrote them is noise, of which nothing may be said."""
    made = planted((1, 2), per_count=20)
    rng = np.random.default_rng(2)
    values = np.where(rng.random(made.activations.shape) < 0.02, made.activations.max(axis=0), 0.0).astype(np.float32)
    made = replace(made, activations=values, concept_of=np.full_like(made.concept_of, -1))
    result = audited(made, views, "concept")
    assert (result.table["verdict"] == POLY).mean() <= 0.05


def test_latents_that_two_places_write_are_told_from_those_of_one():
    """Head 1.3 moves a word from an earlier place or from the one before; head 1.0 does one thing."""
    layer = planted_layer()
    texts = [layer.model.tokenizer.decode(row[1:]) for row in layer.rows(160, seed=0)]
    chosen = layer.latents.query("head in (0, 3)").groupby("head").head(5)
    result = audit_latents(
        layer.model, layer.sae, texts, latents=chosen["latent"].tolist(), n_directions=0, config=QUICK
    )
    head = chosen.set_index("latent")["head"].reindex(result.table["number"]).to_numpy()
    views = result.tables["views"].query("view == 'upstream'").set_index("unit")
    says = views["says"].reindex(result.table["unit"]).to_numpy()
    assert (says[head == 3] == "several").all()
    assert not (says[head != 3] == "several").any()
    parts = result.tables["upstream"].query("rank < 2")
    both = parts[parts["unit"].isin(result.table["unit"][head == 3])].groupby("unit")["part"].agg(set)
    assert (both == {"L1H3 earlier", "L1H3 previous"}).all()
    assert (parts.query("rank == 0")["share"] > 0.4).all()


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(0)
    words = ["Paris", "London", "Berlin", "is", "in", "the", "city", "of", "France", "and", "to", "from"]
    return tiny_model(0), [" " + " ".join(rng.choice(words, size=14)) for _ in range(40)]


def test_the_vectors_are_what_the_parts_gave(small):
    """With all parts kept, each row sums to what the neuron gets; with few, the rest is one part."""
    model, texts = small
    neurons, rows = np.array([3, 9]), {0: np.array([5, 40, 41]), 1: np.array([7, 40])}
    post = capture(model, texts, "mlp_post.1", pool="none", max_length=model.n_ctx)["mlp_post.1"]
    for n_parts in (4, 10_000):
        view = UpstreamView(model, texts, [(np.arange(2), NeuronReaders(model, 1, neurons))], n_parts=n_parts)
        read = view.read(rows, rows)
        for unit, at in rows.items():
            np.testing.assert_allclose(read(unit, at).sum(axis=1), post[at, neurons[unit]], rtol=1e-3, atol=1e-4)
            np.testing.assert_array_equal(read(unit, at[::-1]), read(unit, at)[::-1])
        assert read.vectors[0].shape[1] == (5 if n_parts == 4 else 1 + 2 * 4 * 4 + model.d_mlp + 2)
    assert len(view) == len(post)
    top = read.parts.query("unit == 0 and rank == 0").iloc[0]
    assert top["n"] == 3
    assert abs(top["share"]) >= read.parts.query("unit == 0")["share"].abs().max()


def test_random_directions_have_the_view_too(small):
    model, texts = small
    result = audit_neurons(model, texts, n=4, n_directions=3, config=AuditConfig(n_boot=0, n_null=19))
    views = result.tables["views"].query("view == 'upstream'")
    assert len(views) == (result.table["status"] != "never active").sum()
    assert set(views["unit"]) & set(result.table.query("kind == 'random direction'")["unit"])
    without = audit_neurons(model, texts, n=4, n_directions=3, upstream=False, config=AuditConfig(n_boot=0, n_null=19))
    assert "upstream" not in without.tables
    assert "upstream" not in set(without.tables["views"]["view"])


def test_parts_may_be_latents_of_earlier_saes(small):
    model, texts = small
    config = topk_config(model.d_model, 30, k=4, site="mlp_out.0", model_fingerprint=model.fingerprint, bos="always")
    rng = np.random.default_rng(0)
    weights = {n: torch.from_numpy(rng.standard_normal(s)).float() for n, s in TopKSAE.shapes(config).items()}
    weights["W_dec"] /= weights["W_dec"].norm(dim=1, keepdim=True)
    result = audit_neurons(
        model, texts, neurons=[(1, 3), (1, 9)], n_directions=0, upstream_saes=[TopKSAE(config, weights)], config=QUICK
    )
    kinds = result.tables["upstream"]["kind"]
    assert kinds.isin(["MLP latent", "error of MLP SAE"]).any()
    assert not (kinds == "neuron").any()


def test_the_company_of_units_changes_no_vector(small):
    model, texts = small
    rows = {0: np.arange(20, 60)}
    alone = UpstreamView(model, texts, [(np.arange(1), NeuronReaders(model, 1, np.array([9])))]).read(rows, rows)
    both = UpstreamView(model, texts, [(np.arange(2), NeuronReaders(model, 1, np.array([9, 12])))])
    other = both.read(rows | {1: np.arange(5)}, rows | {1: np.arange(90)})
    np.testing.assert_allclose(alone(0, rows[0]), other(0, rows[0]), rtol=1e-4, atol=1e-5)
