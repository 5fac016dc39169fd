"""SAEs in a live model: do they fit, what does splicing cost, and can one be trained end to end."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sae_planted import config_of, random_sae

from interp.capturing import capture, hooked
from interp.errors import InvalidInput, SaeMismatch, UnknownSite
from interp.sae.activation_stream import ActivationStream
from interp.sae.config import topk_config
from interp.sae.fit import check_fit
from interp.sae.io import load_sae, training_record
from interp.sae.on_model import train_sae_on_model
from interp.sae.splicing import loss_recovered, splice
from interp.sae.topk import TopKSAE
from interp.testing import tiny_model

D = 32
WORDS = ("Paris", "London", "Berlin", "is", "in", "the", "city", "of", "France", "and", "to", "from")


def texts(n: int, *, seed: int = 0, length: int = 9) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, int(rng.integers(3, length)))) for _ in range(n)]


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def fitting(model, site: str = "resid_post.0", *, d_in: int = D, **stated):
    stated = {"site": site, "model_fingerprint": model.fingerprint, "bos": model.bos} | stated
    return random_sae(config_of("topk", d_in=d_in, d_sae=64, **stated))


def identity_sae(model, site: str = "resid_post.0", d_in: int = D):
    """An SAE that returns what it gets."""
    eye, zero = torch.eye(d_in), torch.zeros
    weights = {"W_enc": torch.cat([eye, -eye], dim=1), "W_dec": torch.cat([eye, -eye]), "b_enc": zero(2 * d_in)}
    config = topk_config(d_in, 2 * d_in, k=2 * d_in, site=site, model_fingerprint=model.fingerprint, bos=model.bos)
    return TopKSAE(config, {**weights, "b_dec": zero(d_in)})


def test_matching_sae_fits(model):
    fit = check_fit(model, fitting(model))
    assert (fit.site, fit.mismatches) == ("resid_post.0", ())


@pytest.mark.parametrize(
    ("stated", "what"),
    [
        ({"model_fingerprint": "0" * 64}, "model fingerprint"),
        ({"model_fingerprint": None}, "model fingerprint it was trained with is not stated"),
        ({"bos": "never"}, "BOS policy"),
        ({"bos": None}, "BOS policy it was trained with is not stated"),
    ],
)
def test_sae_of_another_model_is_refused_unless_allowed(model, stated, what):
    sae = fitting(model, **stated)
    with pytest.raises(SaeMismatch, match=what):
        check_fit(model, sae)
    assert what in check_fit(model, sae, allow_mismatch=True).mismatches[0]


def test_sae_at_another_site_is_refused_unless_allowed(model):
    with pytest.raises(SaeMismatch, match=r"site: trained with 'resid_post\.0', used with 'resid_post\.1'"):
        check_fit(model, fitting(model), site="resid_post.1")


def test_width_that_differs_is_never_allowed(model):
    with pytest.raises(SaeMismatch, match="reads vectors of 16"):
        check_fit(model, fitting(model, d_in=16), allow_mismatch=True)


def test_sae_without_a_site_asks_for_one(model):
    with pytest.raises(SaeMismatch, match="its site is null"):
        check_fit(model, fitting(model, site=None))


def test_site_that_the_model_lacks_is_refused(model):
    with pytest.raises(UnknownSite):
        check_fit(model, fitting(model, site="resid_post.7"))


def ids_of(model, rows: list[str]):
    from interp.tokens import tokenize

    tokens = tokenize(model, rows)
    return torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask), torch.from_numpy(~tokens.special)


def test_splicing_an_identity_changes_nothing(model):
    ids, mask, ordinary = ids_of(model, texts(5))
    with torch.no_grad():
        clean = model.logits(ids, mask.long())
        with splice(model, identity_sae(model), positions=ordinary & mask):
            spliced = model.logits(ids, mask.long())
    torch.testing.assert_close(spliced[mask], clean[mask], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("site", ["resid_post.0", "z.1", "z.1.h2"])
def test_splicing_replaces_ordinary_tokens_alone(model, site):
    width = {"resid_post.0": 32, "z.1": 32, "z.1.h2": 8}[site]
    sae = fitting(model, site, d_in=width)
    ids, mask, ordinary = ids_of(model, texts(5))
    seen = {}
    with torch.no_grad(), hooked(model, {site: lambda x: seen.update(clean=x.clone())}):
        model.logits(ids, mask.long())
    with (
        torch.no_grad(),
        splice(model, sae, positions=ordinary & mask),
        hooked(model, {site: lambda x: seen.update(spliced=x.clone())}),
    ):
        model.logits(ids, mask.long())
    keep = ordinary & mask
    torch.testing.assert_close(seen["spliced"][keep], sae(seen["clean"][keep]), rtol=1e-4, atol=1e-4)
    assert torch.equal(seen["spliced"][~keep], seen["clean"][~keep])  # BOS and padding


def value(table, metric: str) -> float:
    return float(table.set_index("metric").loc[metric, "value"])


def reference_loss(model, rows: list[str], edit=None, site: str = "resid_post.0") -> float:
    """Mean loss of each ordinary token, text by text without padding."""
    total, count = 0.0, 0
    for row in rows:
        ids, mask, ordinary = ids_of(model, [row])

        def change(x, ordinary=ordinary):
            return None if edit is None else torch.where(ordinary[..., None], edit(x[0])[None], x)

        with torch.no_grad(), hooked(model, {site: change}):
            log_p = torch.log_softmax(model.logits(ids, mask.long())[0].double(), dim=-1)
        for position in range(1, ids.shape[1]):
            if ordinary[0, position]:
                total -= float(log_p[position - 1, ids[0, position]])
                count += 1
    return total / count


def test_losses_equal_those_computed_text_by_text(model):
    rows, sae = texts(12), fitting(model)
    table = loss_recovered(model, sae, rows, seed=0, batch_tokens=40)
    assert value(table, "loss_clean") == pytest.approx(reference_loss(model, rows), rel=1e-5)
    assert value(table, "loss_spliced") == pytest.approx(reference_loss(model, rows, sae), rel=1e-5)
    assert value(table, "loss_zero") == pytest.approx(reference_loss(model, rows, torch.zeros_like), rel=1e-5)
    acts = capture(model, rows, "resid_post.0", pool="none")["resid_post.0"]
    mean = torch.from_numpy(acts.astype(np.float64).mean(axis=0)).float()
    expected = reference_loss(model, rows, lambda x: mean.expand_as(x))
    assert value(table, "loss_mean") == pytest.approx(expected, rel=1e-5)
    assert int(table["n"].iloc[0]) == len(acts)
    assert set(table["mismatch"]) == {""}
    assert table["status"].notna().all()


def test_identity_recovers_everything_and_costs_nothing(model):
    table = loss_recovered(model, identity_sae(model), texts(12), seed=0)
    assert value(table, "loss_spliced") == pytest.approx(value(table, "loss_clean"), abs=1e-5)
    for metric in ("recovered_vs_zero", "recovered_vs_mean"):
        row = table.set_index("metric").loc[metric]
        damage = value(table, metric.replace("recovered_vs", "loss")) - value(table, "loss_clean")
        if damage > 0:
            assert row["value"] == pytest.approx(1.0, abs=1e-3)
            assert row["status"] == "ok"
        else:
            assert np.isnan(row["value"])
            assert "does not raise the loss" in row["status"]


def test_share_is_not_given_where_the_ablation_helps(model):
    from interp.sae.splicing import _table

    sums = {name: np.array([v, v]) for name, v in (("clean", 2.0), ("spliced", 2.5), ("zero", 1.0), ("mean", 4.0))}
    table = _table(sums, np.array([1.0, 1.0]), 0, 50).set_index("metric")
    assert np.isnan(table.loc["recovered_vs_zero", "value"])
    assert "zero ablation does not raise the loss" in table.loc["recovered_vs_zero", "status"]
    assert table.loc["recovered_vs_mean", "value"] == pytest.approx(0.75)


def test_allowed_mismatch_is_written_into_every_row(model):
    table = loss_recovered(model, fitting(model, bos="never"), texts(5), seed=0, allow_mismatch=True)
    assert table["mismatch"].str.contains("BOS policy").all()


SMALL = {"d_sae": 48, "k": 4, "tokens": 1500, "seed": 0, "batch_size": 64, "buffer": 256, "eval_rows": 40}
SMALL |= {"progress": False, "checkpoint_every": 5, "log_every": 5}


class Killed(Exception):
    """Stands for the process dying."""


def test_trained_sae_is_saved_evaluated_and_fits_its_model(model, tmp_path):
    trained = train_sae_on_model(model, texts(300), "resid_post.1", out=tmp_path / "sae", **SMALL)
    sae = load_sae(tmp_path / "sae")
    assert sae.golden_checked
    assert check_fit(model, sae).mismatches == ()
    assert (sae.config.hook_name, sae.config.context_size) == ("blocks.1.hook_resid_post", model.n_ctx)
    metrics = trained.evaluation.set_index("metric")["value"]
    assert metrics["l0"] == pytest.approx(4, abs=0.5)
    assert 0 < metrics["fvu"] < 0.9
    assert metrics["loss_clean"] > 0
    assert trained.history["step"].iloc[-1] == 1500 // 64
    assert not (tmp_path / "sae.checkpoints").exists()
    identity = training_record(tmp_path / "sae")["identity"]
    assert (identity["seed"], identity["batch_size"], identity["lr"]) == (0, 64, 3e-3)  # defaults are written down too


def test_bos_and_padding_are_never_trained_on(model, tmp_path, monkeypatch):
    from interp.sae import on_model

    seen = []
    real = on_model.train_sae

    def spy(batches, config, **kwargs):
        seen.extend(batch for batch, _ in zip(batches(0), range(3), strict=False))
        return real(batches, config, **kwargs)

    monkeypatch.setattr(on_model, "train_sae", spy)
    rows = texts(300)
    train_sae_on_model(model, rows, "resid_post.1", out=tmp_path / "sae", batch_tokens=400, **SMALL)
    expected = capture(model, rows[40:], "resid_post.1", pool="none")["resid_post.1"]  # leaves specials out
    known = {row.round(3).tobytes() for row in expected}
    found = torch.cat(seen).numpy()
    assert len(found) > 200
    assert np.mean([row.round(3).tobytes() in known for row in found]) > 0.98  # rounding at the last digit
    bos = capture(model, ["Paris"], "resid_post.1", pool="none", include_special=True)["resid_post.1"][0]
    assert np.abs(found - bos).max(axis=1).min() > 0.1


def test_rows_held_out_are_not_trained_on(model):
    rows = texts(50)
    given = {"bos": "always", "context_size": None, "eval_rows": 10, "batch_tokens": 400}
    stream = ActivationStream(model, rows, ["resid_post.1"], **given)
    assert stream.eval_rows() == rows[:10]
    assert [row for row, _ in zip(stream.endless(), range(80), strict=False)] == (rows[10:] * 2)[:80]


def test_killed_run_goes_on_to_the_same_sae(model, tmp_path):
    def kill(row):
        if row["step"] >= 15:
            raise Killed

    whole = train_sae_on_model(model, texts(300), "resid_post.1", out=tmp_path / "whole", **SMALL)
    with pytest.raises(Killed):
        train_sae_on_model(model, texts(300), "resid_post.1", out=tmp_path / "sae", log=kill, **SMALL)
    assert not (tmp_path / "sae").exists()
    again = train_sae_on_model(model, texts(300), "resid_post.1", out=tmp_path / "sae", **SMALL)
    for name, weight in whole.sae.weights().items():
        assert torch.equal(weight, again.sae.weights()[name])
    files = [p.name for p in (tmp_path / "sae").iterdir()]
    assert all((tmp_path / "sae" / n).read_bytes() == (tmp_path / "whole" / n).read_bytes() for n in files)


def test_finished_run_is_read_back_not_repeated(model, tmp_path, monkeypatch):
    from interp.sae import on_model

    first = train_sae_on_model(model, texts(300), "resid_post.1", out=tmp_path / "sae", **SMALL)
    monkeypatch.delattr(on_model, "train_sae")
    second = train_sae_on_model(model, texts(300), "resid_post.1", out=tmp_path / "sae", **SMALL)
    np.testing.assert_allclose(first.evaluation["value"], second.evaluation["value"].astype(float), rtol=1e-12)
    assert second.evaluation["metric"].tolist() == first.evaluation["metric"].tolist()
    assert torch.equal(first.sae.W_enc, second.sae.W_enc)


def test_folder_of_another_run_is_refused_before_training(model, tmp_path):
    train_sae_on_model(model, texts(300), "resid_post.1", out=tmp_path / "sae", **SMALL)
    with pytest.raises(InvalidInput, match="it differs in seed"):
        train_sae_on_model(model, texts(300), "resid_post.1", out=tmp_path / "sae", **(SMALL | {"seed": 1}))


def test_rows_that_can_be_read_once_are_refused(model, tmp_path):
    with pytest.raises(InvalidInput, match="generator, which can be read once"):
        train_sae_on_model(model, (t for t in texts(50)), "resid_post.1", out=tmp_path / "sae", **SMALL)


def test_too_few_rows_are_refused(model, tmp_path):
    with pytest.raises(InvalidInput, match="none are left to train on"):
        train_sae_on_model(model, texts(40), "resid_post.1", out=tmp_path / "sae", **SMALL)
