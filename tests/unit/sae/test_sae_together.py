"""SAEs trained together are those trained alone, and a batch of the model is made once for all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_sae_on_model import Killed, texts

from interp.capturing import capture
from interp.errors import InvalidInput, SaeMismatch, UnknownName, UnknownSite
from interp.sae.config import topk_config
from interp.sae.evaluate_pairs import evaluate_transcoder
from interp.sae.fit import check_fit
from interp.sae.io import load_sae, training_record
from interp.sae.learners.topk import TopKOptions
from interp.sae.on_model import train_sae_on_model
from interp.sae.relu import StandardSAE
from interp.sae.together import SaeJob, train_saes
from interp.testing import tiny_model

COMMON = {"tokens": 1500, "seed": 0, "batch_size": 64, "buffer": 256, "eval_rows": 40, "progress": False}
COMMON |= {"checkpoint_every": 5, "log_every": 5}
JOBS = {
    "residual": SaeJob(site="resid_post.1", d_sae=48, options={"k": 4}),
    "heads": SaeJob(site="z.0", d_sae=40, arch="batchtopk", options={"k": 3}, lr=1e-3),
    "mlp": SaeJob(site="resid_mid.1", site_out="mlp_out.1", skip_connection=True, d_sae=40, options=TopKOptions(k=4)),
}
ROWS = texts(300)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def together(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    return folder, train_saes(model, ROWS, JOBS, out=folder, **COMMON)


def equal_files(one, other) -> bool:
    names = sorted(path.name for path in one.iterdir())
    return names == sorted(path.name for path in other.iterdir()) and all(
        (one / name).read_bytes() == (other / name).read_bytes() for name in names
    )


@pytest.mark.parametrize("name", JOBS)
def test_trained_together_is_trained_alone(model, together, tmp_path, name):
    job = JOBS[name]
    options = {"options": job.options} if isinstance(job.options, TopKOptions) else dict(job.options)
    own = COMMON | options | ({"lr": job.lr} if job.lr else {})
    train_sae_on_model(
        model, ROWS, job.site, d_sae=job.d_sae, arch=job.arch, site_out=job.site_out,
        skip_connection=job.skip_connection, out=tmp_path / name, **own,
    )  # fmt: skip
    assert equal_files(tmp_path / name, together[0] / name)


def test_model_runs_once_for_all_sites(model, tmp_path, monkeypatch):
    from interp import capturing

    runs = []
    real = capturing.run_batch
    monkeypatch.setattr(capturing, "run_batch", lambda request, batch: runs.append(1) or real(request, batch))
    args = COMMON | {"batch_tokens": 100}
    train_saes(model, ROWS, {"residual": JOBS["residual"]}, out=tmp_path / "one", **args)
    alone = len(runs)
    train_saes(model, ROWS, JOBS, out=tmp_path / "all", **args)
    assert len(runs) == 2 * alone > 20


@pytest.mark.parametrize("name", JOBS)
def test_killed_run_goes_on_to_the_same_saes(model, together, tmp_path, name):
    def kill(which, row):
        if which == name and row["step"] >= 15:  # the others are a checkpoint ahead or behind
            raise Killed

    with pytest.raises(Killed):
        train_saes(model, ROWS, JOBS, out=tmp_path, log=kill, **COMMON)
    assert not any((tmp_path / job).exists() for job in JOBS)
    train_saes(model, ROWS, JOBS, out=tmp_path, **COMMON)
    assert all(equal_files(tmp_path / job, together[0] / job) for job in JOBS)
    assert not list(tmp_path.glob("*.checkpoints"))


def test_finished_saes_are_read_back_and_new_ones_trained(model, together, tmp_path, monkeypatch):
    from interp.sae.trainer import Trainer

    some = {name: JOBS[name] for name in ("residual", "mlp")}
    train_saes(model, ROWS, some, out=tmp_path, **COMMON)
    opened = []
    real = Trainer.open
    monkeypatch.setattr(Trainer, "open", lambda self, b, f: opened.append(f.name) or real(self, b, f))
    results = train_saes(model, ROWS, JOBS, out=tmp_path, **COMMON)
    assert opened == ["heads.checkpoints"]
    assert set(results) == set(JOBS)
    assert all(equal_files(tmp_path / job, together[0] / job) for job in JOBS)


def test_record_says_architecture_options_and_places(together):
    folder, results = together
    identity = training_record(folder / "heads")["identity"]
    assert (identity["arch"], identity["k"], identity["decay"], identity["lr"]) == ("batchtopk", 3, 0.8, 1e-3)
    config = results["mlp"].sae.config
    assert (config.site, config.site_out, config.hook_name_out) == ("resid_mid.1", "mlp_out.1", "blocks.1.hook_mlp_out")
    assert (config.d_in, config.d_out, config.skip_connection) == (32, 32, True)
    assert results["heads"].sae.config.n_heads == 4
    assert load_sae(folder / "heads").config.architecture == "jumprelu"


def test_transcoder_of_a_model_fits_it_and_is_judged_on_what_it_predicts(model, together):
    result = together[1]["mlp"]
    assert check_fit(model, result.sae).mismatches == ()
    table = result.evaluation.set_index("metric")
    acts = capture(model, ROWS[:40], ["resid_mid.1", "mlp_out.1"], pool="none")
    x, y = (torch.from_numpy(acts[site]) for site in ("resid_mid.1", "mlp_out.1"))
    fvu = float((result.sae(x) - y).square().sum() / (y - y.mean(dim=0)).square().sum())
    assert table.loc["fvu", "value"] == pytest.approx(fvu, rel=1e-4)
    assert table.loc["fvu", "null_mean_predictor"] == 1.0
    assert table.loc["loss_clean", "value"] > 0


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"jobs": {}}, InvalidInput, "at least one"),
        ({"jobs": {"a": SaeJob(site="resid_pots.1", d_sae=9)}}, UnknownSite, "resid_post"),
        ({"jobs": {"a": SaeJob(site="z.0", d_sae=9, arch="topq")}}, UnknownName, "topk"),
        ({"jobs": {"a": SaeJob(site="z.0", d_sae=9, skip_connection=True)}}, InvalidInput, "site_out"),
        ({"jobs": {"a": SaeJob(site="z.0", d_sae=9)}}, InvalidInput, "no default for k"),
        ({"k": 3}, InvalidInput, "no setting 'k'"),
        ({"rows": iter(ROWS)}, InvalidInput, "read once"),
    ],
)
def test_what_cannot_be_trained_together_is_refused(model, tmp_path, change, error, match):
    args = {"rows": ROWS, "jobs": JOBS} | COMMON | change
    with pytest.raises(error, match=match):
        train_saes(model, args.pop("rows"), args.pop("jobs"), out=tmp_path, **args)


def relu_transcoder(weight: torch.Tensor) -> StandardSAE:
    """A transcoder that computes ReLU(x) weight exactly."""
    d_in, d_out = weight.shape
    config = topk_config(d_in, d_in, k=1, apply_b_dec_to_input=False, d_out=d_out, skip_connection=False)
    config = config.with_(architecture="standard", activation="relu", k=None, decoder_norm="free")
    zero = torch.zeros
    return StandardSAE(config, {"W_enc": torch.eye(d_in), "b_enc": zero(d_in), "W_dec": weight, "b_dec": zero(d_out)})


def test_perfect_transcoder_explains_all_and_the_linear_map_what_it_can():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5000, 6)).astype(np.float32)
    weight = rng.standard_normal((6, 4)).astype(np.float32)
    y = np.maximum(x, 0) @ weight
    table = evaluate_transcoder(relu_transcoder(torch.from_numpy(weight)), [(x[:3000], y[:3000]), (x[3000:], y[3000:])],
                                seed=0).set_index("metric")  # fmt: skip
    assert table.loc["fvu", "value"] < 1e-10
    linear = np.concatenate([x, np.ones((5000, 1))], axis=1).astype(np.float64)
    rest = y - linear @ np.linalg.lstsq(linear, y.astype(np.float64), rcond=None)[0]
    expected = (rest**2).sum() / ((y - y.mean(axis=0)) ** 2).sum()
    assert table.loc["fvu", "null_linear"] == pytest.approx(expected, rel=1e-6)
    assert table.loc["l0", "value"] == pytest.approx(3.0, abs=0.1)
    assert set(table["n"]) == {5000}


@pytest.mark.parametrize("what", ["sae", "few", "widths", "none"])
def test_pairs_that_cannot_be_judged_are_refused(make_sae, what):
    transcoder = relu_transcoder(torch.ones(6, 4))
    x, y = np.zeros((50, 6), np.float32), np.zeros((50, 4), np.float32)
    given = {"sae": (make_sae(), [(x, y)]), "few": (transcoder, [(x[:5], y[:5])]), "widths": (transcoder, [(y, x)])}
    sae, pairs = given.get(what, (transcoder, []))
    with pytest.raises((InvalidInput, SaeMismatch)):
        evaluate_transcoder(sae, pairs, seed=0)
