"""Erasing inside a running model: what is erased is gone downstream, costs what depends on it, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import interp
from analyses.probing import causal_check
from analyses.probing.causal import (
    AT_END,
    AT_SITE,
    DIRECTIONS,
    LEACE,
    LOSS,
    MEANS,
    NOTHING,
    OTHER,
    PERMUTED,
    RIGHT,
    fresh_score,
)
from analyses.probing.compute import ProbeConfig
from analyses.probing.erasing import make_prompts, run_edited
from analyses.probing.labels import read_labels
from interp.atlas import facts
from interp.capturing import hooked
from interp.errors import InvalidInput, UnknownSite
from interp.stats.erasure import leace, random_projection
from interp.testing import tiny_model

WORDS = ("Paris", "London", "Berlin", "city", "France")


@pytest.fixture(scope="module")
def tiny():
    return tiny_model(0, n_layers=3)


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)
    return [" " + " ".join(rng.choice(WORDS, size=rng.integers(2, 7))) for _ in range(120)]


@pytest.fixture(scope="module")
def told(texts):
    return read_labels(np.array([text.split()[-1] for text in texts], dtype=object))


def test_what_is_erased_is_gone_where_the_next_layer_reads_and_a_random_erasure_leaves_it(tiny, texts, told):
    prompts, rows = make_prompts(tiny, texts, [" Paris"] * len(texts), 2), np.arange(len(texts))
    clean = run_edited(tiny, prompts, rows, "resid_post.0", None)
    exact = [leace(clean.site[:, j], told.columns()) for j in range(2)]
    other = [random_projection(clean.site[:, j], exact[j].rank, seed=j) for j in range(2)]
    seen: list[torch.Tensor] = []
    config = ProbeConfig(n_perm=0)
    scores = {}
    for name, erasers in (("nothing", None), ("LEACE", exact), ("random", other)):
        seen.clear()
        with hooked(tiny, {"resid_pre.1": lambda x: seen.append(x.clone()) and None}):
            ran = run_edited(tiny, prompts, rows, "resid_post.0", erasers)
        for j, eraser in enumerate(erasers or ()):
            np.testing.assert_allclose(ran.site[:, j], eraser.apply(clean.site[:, j]), atol=1e-4)
        width = max(len(x[0]) for x in seen)
        read = np.concatenate([np.pad(x.double().numpy(), ((0, 0), (0, width - x.shape[1]), (0, 0))) for x in seen])
        gaps = np.abs(read.reshape(-1, 1, read.shape[-1]) - ran.site[None, :20, -1]).max(axis=2).min(axis=0)
        assert gaps.max() < 1e-6  # what the next block reads
        scores[name] = fresh_score(ran.site[:, -1], told, np.arange(len(texts)), config)
    assert scores["nothing"] > 0.85
    assert scores["random"] > 0.8
    assert scores["LEACE"] < 0.35  # five classes: chance is .2


def test_losses_are_those_of_a_plain_run(tiny, texts):
    answers = [" Paris is", " London"] * (len(texts) // 2)
    prompts = make_prompts(tiny, texts, answers, 2)
    rows = np.array([3, 10, 17, 40])
    ran = run_edited(tiny, prompts, rows, "resid_post.1", None)
    for i, row in enumerate(rows):
        tokens = interp.tokenize(tiny, [texts[row] + answers[row]])
        n = len(interp.tokenize(tiny, [texts[row]]).ids[0])
        ids = torch.from_numpy(tokens.ids)
        with torch.no_grad():
            log_p = tiny.logits(ids).double().log_softmax(-1)[0]
        nats = -log_p[:-1].gather(1, ids[0, 1:, None])[:, 0]
        assert ran.nats[i] == pytest.approx(float(nats[n - 1 :].sum()), rel=1e-5)
        assert ran.n_tokens[i] == len(nats) - (n - 1)
        assert ran.other_nats[i] == pytest.approx(float(nats[n - 2 : n - 1].sum()), rel=1e-5)
        assert ran.right[i] == bool((log_p[n - 1 : -1].argmax(-1) == ids[0, n:]).all())


@pytest.fixture(scope="module")
def cities():
    places = facts().cities
    places = places[places["seen"] & places["country"].isin(["IN", "NG", "JP", "BR"])].groupby("country").head(60)
    answers = [" " + facts().countries[code]["name"] for code in places["country"]]
    return interp.load_model("atlas"), [f"{name} is a city in" for name in places["name"]], answers


def test_the_country_is_what_the_answer_needs_and_a_label_by_lot_is_not(cities):
    model, prompts, answers = cities
    options = {"last": 5, "n_random": 3, "n_permuted": 9, "n_boot": 50}
    table = causal_check(model, prompts, answers, np.array(answers, dtype=object), "resid_post.2", **options)
    cells = table.set_index(["eraser", "measure"])
    for eraser in (LEACE, MEANS):
        assert cells.loc[(eraser, LOSS), "change"] > 1.0
        assert cells.loc[(eraser, LOSS), "ci_low"] > 0.5
        assert cells.loc[(eraser, RIGHT), "value"] < 0.5
        assert cells.loc[(eraser, AT_SITE), "value"] < 0.7  # fewer rows are fitted than columns: some is left
    for eraser in (DIRECTIONS, PERMUTED):
        assert abs(cells.loc[(eraser, LOSS), "change"]) < 0.1
        assert cells.loc[(eraser, RIGHT), "value"] > 0.95
        assert cells.loc[(eraser, AT_SITE), "value"] > 0.9
        assert cells.loc[(eraser, AT_END), "value"] > 0.9
    assert cells.loc[(LEACE, LOSS), "p"] == pytest.approx(0.1)
    assert abs(cells.loc[(LEACE, OTHER), "change"]) < 0.2  # "is a city in" does not depend on the country
    assert cells.loc[(NOTHING, RIGHT), "value"] > 0.95
    assert set(cells.loc[[(LEACE, m) for m in (LOSS, RIGHT)], "rank"]) == {3}

    coin = np.where(np.random.default_rng(1).permutation(len(prompts)) % 2, "heads", "tails")
    lot = causal_check(model, prompts, answers, coin, "resid_post.2", **options).set_index(["eraser", "measure"])
    assert abs(lot.loc[(LEACE, LOSS), "change"]) < 0.05
    assert lot.loc[(LEACE, RIGHT), "value"] > 0.95
    assert lot.loc[(LEACE, LOSS), "p"] > 0.1


def test_a_label_without_a_score_gets_a_status(tiny, texts):
    table = causal_check(tiny, texts, [" Paris"] * len(texts), ["same"] * len(texts), "resid_post.1")
    assert table["status"].tolist() == ["constant label"]
    assert table["p"].isna().all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"site": "resid_post.9"}, UnknownSite, "resid_post"),
        ({"continuations": [" Paris"]}, InvalidInput, "what follows it"),
        ({"continuations": [""] * 120}, InvalidInput, "not empty"),
        ({"last": 0}, InvalidInput, "from 1"),
        ({"last": 30}, InvalidInput, "fewer than the 30 tokens"),
    ],
)
def test_what_does_not_fit_is_refused(tiny, texts, change, error, message):
    given = {"continuations": [" Paris"] * len(texts), "site": "resid_post.1", **change}
    labels = [text.split()[0] for text in texts]
    with pytest.raises(error, match=message):
        causal_check(tiny, texts, given["continuations"], labels, given["site"], last=given.get("last", 1))
