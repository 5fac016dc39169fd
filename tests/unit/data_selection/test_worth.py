"""Fine-tuning and the evaluation of picks: planted pools, nulls, determinism, resumption."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from analyses.data_selection import read_samples
from analyses.data_selection.finetuning import Tuning, finetune, row_losses, token_rows
from analyses.data_selection.worth import evaluate
from analyses.data_selection.worth_runs import measure_runs
from analyses.data_selection.worth_targets import Target, split_target
from analyses.data_selection.worth_view import worth_page
from interp.errors import InvalidInput

PLAN = Tuning(tokens=160, batch_tokens=40, lr=0.02, template="{content}")
SEEDS = (0, 1, 2)


def rows_with(answer, n, seed):
    """Return n rows that end in one answer after random words."""
    rng = np.random.default_rng(seed)
    words = np.array(["London", "city", "is", "the", "of", "and"])
    return [{"prompt": " " + " ".join(rng.choice(words, size)), "completion": f" {answer}"}
            for size in rng.integers(2, 7, n)]  # fmt: skip


@pytest.fixture(scope="module")
def pool():
    return list(read_samples(rows_with("France", 12, 1) + rows_with("Berlin", 60, 2)))


@pytest.fixture(scope="module")
def targets():
    relevant = np.arange(72) < 12
    return {
        name: Target(
            list(read_samples(rows_with("France", 4, seed))),
            {"here": list(read_samples(rows_with("France", 8, seed + 1)))},
            {"relevant": relevant, "berlin": ~relevant},
        )
        for name, seed in {"one": 10, "two": 20}.items()
    }


def planted(target, seed):
    return target.labels["relevant"].astype(float)


def shuffled(target, seed):
    return np.random.default_rng(seed + 7).permutation(72).astype(float)


def opposed(target, seed):
    return -target.labels["relevant"].astype(float)


METHODS = {"planted": planted, "shuffled": shuffled, "opposed": opposed}


@pytest.fixture(scope="module")
def result(model, pool, targets):
    return evaluate(pool, targets, METHODS, model, budget=8, tuning=PLAN, seeds=SEEDS, random_draws=2)


def test_tuning_reads_its_budget_whatever_the_lengths(model, pool):
    short = [one for one in pool if len(one.text.split()) <= 4]
    long = [one for one in pool if len(one.text.split()) >= 6]
    for rows in (pool, short, long, pool[:1]):
        tuned = finetune(model, rows, seed=0, tuning=PLAN)
        widest = max(len(ids) for ids, _ in token_rows(model, rows, PLAN))
        assert PLAN.tokens <= tuned.n_tokens < PLAN.tokens + widest
        assert len(tuned.losses) == PLAN.n_steps == 4


def test_tuning_learns_and_leaves_the_model_as_it_was(model, pool):
    before = model.fingerprint
    rows = token_rows(model, pool[:12], PLAN)
    tuned = finetune(model, rows, seed=0, tuning=PLAN)
    assert row_losses(tuned.module, rows).mean() < 0.5 * row_losses(model.trainable_copy(), rows).mean()
    assert tuned.losses[-1] < tuned.losses[0]
    assert model.fingerprint == before


def test_equal_seeds_give_equal_weights_and_other_seeds_others(model, pool):
    one, two, other = (finetune(model, pool[:20], seed=seed, tuning=PLAN) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(one.module.parameters(), two.module.parameters(), strict=True))
    assert not np.array_equal(one.losses, other.losses)


def test_loss_of_a_row_is_the_mean_over_its_answer(model, pool):
    module = model.trainable_copy()
    rows = token_rows(model, pool, PLAN)
    found = row_losses(module, rows, batch_tokens=60)
    for i in (0, 30, 71):
        ids, wanted = rows[i]
        with torch.no_grad():
            logp = module(torch.from_numpy(ids[None])).logits[0].log_softmax(-1).numpy()
        at = np.flatnonzero(wanted)
        np.testing.assert_allclose(found[i], -np.mean([logp[j - 1, ids[j]] for j in at]), rtol=1e-4)
        assert len(at) == 1  # " France" and " Berlin" are one token each
    everything = token_rows(model, pool, Tuning(loss="all"))
    assert all(wanted.sum() == len(ids) - 1 for ids, wanted in everything)


def test_plain_text_has_its_loss_on_all_tokens_and_an_answer_that_is_cut_off_none(model):
    rows = read_samples([{"text": "the city of Paris"}, {"prompt": "is " * 80, "completion": " Paris"}])
    text, cut = token_rows(model, list(rows), PLAN)
    assert text[1].sum() == len(text[0]) - 1
    assert cut is None
    with pytest.raises(InvalidInput, match="1 of 2 rows have no token"):
        finetune(model, list(rows), seed=0, tuning=PLAN)


@pytest.mark.parametrize(("wrong", "said"), [({"loss": "x"}, "'answer' or 'all'"), ({"lr": 0.0}, "lr is 0"),
                                             ({"tokens": 8}, "batch_tokens is 256")])  # fmt: skip
def test_impossible_tuning_is_refused(wrong, said):
    with pytest.raises(InvalidInput, match=said):
        Tuning(**wrong)


def test_oracle_and_planted_scores_win_and_shuffled_scores_do_not(result):
    losses = result.table[result.table["measure"] == "loss, here"].set_index("method")
    assert losses.loc["oracle", "ci_high"] < 0
    assert losses.loc["planted", "verdict"] == "better than random"
    assert losses.loc["shuffled", "verdict"] == "no gain over random"
    assert losses.loc["opposed", "verdict"] == "worse than random"
    assert losses.loc["planted", "n"] == 6
    assert losses.loc["untouched model", "verdict"] == "reference"


def test_picks_are_described(result):
    picks = result.tables["picks"].set_index(["method", "measure"])["value"]
    assert picks["planted", "share_relevant"] == 1.0
    assert picks["planted", "share_berlin"] == picks["opposed", "share_relevant"] == 0.0
    assert picks["random", "n_picked"] == 8
    relevant = result.table[result.table["measure"] == "relevant"].set_index("method")
    assert relevant.loc["planted", "verdict"] == "better than random"
    assert relevant.loc["shuffled", "verdict"] == "no gain over random"


def test_the_best_decile_of_a_relevant_score_has_the_lowest_loss(model, pool, targets):
    runs = measure_runs(pool, {"one": targets["one"]}, {"planted": planted}, model, seed=0, budget=8, tuning=PLAN,
                        random_draws=1, deciles=("planted",))  # fmt: skip
    values = runs.deciles.set_index("bin")["value"]
    assert list(values.index) == list(range(1, 11))
    assert values[1] < values[3:].min()


def test_labels_that_say_nothing_give_no_power(model, pool):
    known = np.zeros(72, bool)
    known[np.random.default_rng(3).permutation(72)[:12]] = True
    target = Target(pool[:4], {"here": list(read_samples(rows_with("France", 8, 5)))}, {"relevant": known})
    found = evaluate(pool, {"t": target}, {"shuffled": shuffled}, model, budget=8, tuning=PLAN, seeds=SEEDS)
    verdicts = found.table.set_index(["method", "measure"])["verdict"]
    assert verdicts["shuffled", "loss, here"] == "no power"
    assert "no power on here: with these pairs a gain as large as the oracle" in worth_page(found)


def test_the_page_says_which_methods_are_better_and_what_the_bounds_get(result):
    page = worth_page(result)
    assert "better than random picks on here: planted</dd>" in re.sub(r"\s*<span class=.evidence.*?</span>", "", page)
    assert "untouched model +" in page or "untouched model -" in page
    none = replace(result, table=result.table[result.table["method"].isin(["shuffled", "oracle"])])
    assert "no method is better than random picks on here" in worth_page(none)


def test_without_labels_the_examples_themselves_are_the_oracle(model, pool):
    target = split_target(list(read_samples(rows_with("France", 12, 8))), seed=0)
    assert len(target.examples) == len(target.held_out["held-out examples"]) == 6
    said = {one.text for one in target.examples} & {one.text for one in target.held_out["held-out examples"]}
    assert not said
    first = {"first": lambda target, seed: -np.arange(72.0)}
    table = evaluate(pool, {"t": target}, first, model, budget=8, tuning=PLAN, seeds=SEEDS).table
    assert set(table["measure"]) == {"loss, held-out examples"}
    assert table.set_index("method").loc["first", "verdict"] == "better than random"
    with pytest.raises(InvalidInput, match="expected 4 or more"):
        split_target(target.examples[:3])


def test_a_killed_run_goes_on_to_the_same_numbers(model, pool, targets, tmp_path, monkeypatch):
    from analyses.data_selection import worth_runs

    given = {"seed": 0, "budget": 8, "tuning": PLAN, "random_draws": 1}
    whole = measure_runs(pool, targets, METHODS, model, **given)
    calls = []

    def counted(*args, **options):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return finetune(*args, **options)

    monkeypatch.setattr(worth_runs, "finetune", counted)
    with pytest.raises(KeyboardInterrupt):
        measure_runs(pool, targets, METHODS, model, out=tmp_path / "runs", **given)
    resumed = measure_runs(pool, targets, METHODS, model, out=tmp_path / "runs", **given)
    assert len(calls) == 4 + 10 - 3  # three were kept, and the untouched model needs no tuning
    order = ["method", "task", "draw", "measure"]
    a, b = (runs.losses.sort_values(order).reset_index(drop=True) for runs in (whole, resumed))
    np.testing.assert_array_equal(a["value"], b["value"])
    assert a.drop(columns="value").equals(b.drop(columns="value"))
    measure_runs(pool, targets, METHODS, model, out=tmp_path / "runs", **given)
    assert len(calls) == 11  # nothing is done twice
    measure_runs(pool, targets, METHODS, model, out=tmp_path / "runs", **{**given, "budget": 9})
    assert len(calls) > 11  # other picks are other trainings


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": {"relevant": np.ones(3, bool)}}, "72 rows"),
        ({"held_out": {}}, "held-out rows"),
        ({"examples": []}, "needs examples"),
    ],
)
def test_targets_that_do_not_fit_are_refused(model, pool, targets, change, said):
    given = {name: getattr(targets["one"], name) for name in ("examples", "held_out", "labels")}
    with pytest.raises(InvalidInput, match=said):
        measure_runs(pool, {"t": Target(**{**given, **change})}, {}, model, seed=0, budget=8, tuning=PLAN)


def test_methods_with_a_taken_name_or_scores_of_another_length_are_refused(model, pool, targets):
    with pytest.raises(InvalidInput, match="'random' are added here"):
        measure_runs(pool, targets, {"random": shuffled}, model, seed=0, budget=8, tuning=PLAN)
    with pytest.raises(InvalidInput, match="3 scores for a pool of 72"):
        measure_runs(pool, targets, {"m": lambda t, s: np.ones(3)}, model, seed=0, budget=8, tuning=PLAN)
