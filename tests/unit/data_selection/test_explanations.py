"""The reasons of a whole selection: tables, marked tokens, the causal check, and the page that shows them."""

import json

import numpy as np
import pytest
from selection_pool import rows_of

from analyses.data_selection import read_samples
from analyses.data_selection.explanations import marked_tokens, why_tables
from analyses.data_selection.reasons import firing_tokens
from analyses.data_selection.selection_config import SelectionConfig
from analyses.data_selection.study import run_selection
from analyses.data_selection.token_windows import TokenChoice, find_windows
from analyses.data_selection.view import report_page


@pytest.fixture(scope="module")
def case(model, sae):
    hostile = {"prompt": "Paris <script>alert(1)</script> is", "completion": "in France"}
    pool, target = read_samples([*rows_of(40, 3), hostile]), {"task": read_samples([*rows_of(3, 9), *[hostile] * 4])}
    config = SelectionConfig(pool=("pool",), target=("task",), budget="8", causal_check=True, contaminated="report")
    selection = run_selection(config, pool, target, None, model, sae)
    return config, selection, why_tables(selection, config, model, sae)


def test_marked_tokens_are_all_of_the_sample_with_the_strongest_feature_at_each(model, sae, samples):
    sample, features = samples.samples[3], list(range(0, 96, 2))
    table = marked_tokens(model, sae, sample, features)
    assert "".join(table["token"]).removeprefix("<s>").split() == sample.text.split()
    fired = firing_tokens(model, sae, sample, features)
    for row in table.itertuples():
        mine = fired[fired["position"] == row.position]
        assert row.activation == (mine["activation"].max() if len(mine) else 0.0)
        assert row.feature == (mine.loc[mine["activation"].idxmax(), "feature"] if len(mine) else -1)
    assert (table["feature"] >= 0).any()
    choice = TokenChoice(tokens="answer")
    answer = marked_tokens(model, sae, sample, features, choice=choice)
    pooled = find_windows(model, [sample], choice).encoded.span_mask
    assert not pooled.all()
    assert (answer["feature"][~pooled] == -1).all()  # what is not pooled is not marked


def test_reasons_are_of_the_best_picks_and_of_the_score(case):
    _, selection, tables = case
    assert set(tables) == {"features", "reasons", "lacking", "tokens", "causal"}
    assert set(tables["reasons"]["of"]) == {"adjusted"}
    sums = tables["reasons"].groupby("row")["contribution"].sum()
    scores = selection.ranking["score"].to_numpy()
    np.testing.assert_allclose(sums, scores[sums.index], rtol=1e-5, atol=1e-6)
    assert set(sums.index) == set(np.flatnonzero(selection.selected))
    assert set(tables["tokens"]["row"]) <= set(sums.index)
    causal = tables["causal"].iloc[0]
    assert causal["n"] == 7
    assert causal["status"] == "ok"
    assert causal["verdict"] in ("faithful", "unfaithful")


def test_the_page_marks_tokens_and_runs_nothing_of_the_pool(case):
    config, selection, tables = case
    picked = selection.ranking[selection.ranking["selected"]]["id"].tolist()
    assert "rows:41" in picked  # the hostile one is in the target too
    every = {**selection.tables, **tables, "listed": selection.pool.listed}
    page = report_page(selection, config, every, {"key": "k"})
    assert '<mark class="m4" title="feature ' in page
    assert "<script>alert" not in page
    assert tables["causal"]["verdict"][0].capitalize() in page
    assert json.dumps(page)


def test_without_the_check_there_is_none_and_the_page_says_how_to_ask(case, model, sae):
    from dataclasses import replace

    config, selection, _ = case
    plain = replace(config, causal_check=False)
    found = why_tables(selection, plain, model, sae)
    assert "causal" not in found
    every = {**selection.tables, **found, "causal": found["lacking"][:0], "listed": selection.pool.listed}
    assert "--causal-check ablates" in report_page(selection, plain, every, {"key": "k"})
