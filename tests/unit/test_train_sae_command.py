"""What `interp train-sae` makes of its words."""

from __future__ import annotations

import pytest

from analyses.cli import main
from analyses.training import parse_options
from interp.errors import InvalidInput, UnknownName
from interp.sae import load_sae, training_record
from interp.sae.learners import TRAINABLE
from interp.testing import tiny_model


@pytest.mark.parametrize(
    ("arch", "k", "words", "expected"),
    [
        ("topk", None, [], {"k": 16}),
        ("topk", 4, ["k_aux=0"], {"k": 4, "k_aux": 0}),
        ("batchtopk", None, ["k=1.5"], {"k": 1.5}),
        ("matryoshka", 3, ["prefixes=[8, 32]"], {"k": 3, "prefixes": (8, 32)}),
        ("relu", None, ["l1=3", "warmup=0.1"], {"l1": 3, "warmup": 0.1}),
    ],
)
def test_words_become_options(arch, k, words, expected):
    assert parse_options(arch, k, words) == expected


@pytest.mark.parametrize(
    ("arch", "k", "words", "error", "match"),
    [
        ("topq", None, [], UnknownName, "Nearest: topk"),
        ("relu", None, [], InvalidInput, "--option l1=VALUE"),
        ("relu", 3, ["l1=3"], InvalidInput, "relu has no option 'k'. It has: l1, warmup"),
        ("topk", 3, ["k=4"], InvalidInput, "given twice"),
        ("topk", 3, ["k_aux"], InvalidInput, "has no value"),
        ("topk", 3, ["k_aux=none"], InvalidInput, "expected a number"),
    ],
)
def test_words_that_mean_nothing_are_refused(arch, k, words, error, match):
    with pytest.raises(error, match=match):
        parse_options(arch, k, words)


@pytest.mark.parametrize(
    ("words", "architecture", "says"),
    [
        (
            ["--arch", "jumprelu", "--option", "l0=1", "--option", "bandwidth=0.5", "--device", "cpu"],
            "jumprelu",
            {"bandwidth": 0.5},
        ),
        (["--k", "3", "--site-out", "mlp_out.1", "--skip-connection", "--lr", "0.001"], "topk", {"lr": 0.001}),
    ],
)
def test_command_trains_what_was_asked(tmp_path, monkeypatch, capsys, words, architecture, says):
    import interp.models

    monkeypatch.setattr(interp.models, "load_model", lambda *args, **kwargs: tiny_model())
    lines = ["Paris is in France", "Berlin and London", "the city of Paris is to the city"] * 400
    (tmp_path / "texts.txt").write_text("\n".join(lines))
    argv = ["train-sae", "--model", "tiny", "--site", "resid_mid.1", "--out", str(tmp_path / "sae")]
    argv += ["--texts", str(tmp_path / "texts.txt"), "--d-sae", "48", "--tokens", "2048", *words]
    assert main(argv) == 0
    assert "fvu" in capsys.readouterr().out
    config, identity = load_sae(tmp_path / "sae").config, training_record(tmp_path / "sae")["identity"]
    assert (config.architecture, config.site) == (architecture, "resid_mid.1")
    assert config.is_transcoder == ("--site-out" in words)
    assert says.items() <= identity.items()


def test_every_architecture_is_named_in_the_help(capsys):
    main(["train-sae", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert all(arch in text for arch in ("topk", "batchtopk", "matryoshka", "relu", "gated", "jumprelu"))
    assert "TRAINABLE" in text
    assert "topk" in TRAINABLE


def test_a_device_that_is_not_there_is_refused_before_anything_is_loaded(tmp_path, capsys):
    assert main(["train-sae", "--site", "resid_post.1", "--out", str(tmp_path / "x"), "--device", "gpu"]) == 2
    assert "device is 'cpu', 'cuda'" in capsys.readouterr().err
