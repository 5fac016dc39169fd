"""`interp dashboard`: a page on the bundled model, mistakes in one line, nothing half-written."""

import pytest

from analyses.cli import main
from analyses.cli_dashboard import parse_latents
from interp.errors import InvalidInput


def test_it_writes_a_page_and_says_its_size(tmp_path, capsys):
    out, texts = tmp_path / "page.html", tmp_path / "texts.txt"
    texts.write_text("The capital of France is Paris.\n\nBruno learned Chinese.\n" * 4)
    argv = ["dashboard", "atlas/z.0", "--latents", "0-1,7", "--texts", str(texts), "--out", str(out)]
    assert main(argv) == 0
    page = out.read_text()
    assert [f'id="latent-{i}"' in page for i in (0, 1, 2, 7)] == [True, True, False, True]
    assert "Latents of atlas/z.0" in page
    assert "Heads by decoder weight" in page
    assert "3 latents" in capsys.readouterr().err


def test_help_has_examples(capsys):
    assert main(["dashboard", "--help"]) == 0
    assert "interp dashboard atlas/resid_post.2 --latents 1,2,3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["atlas/resid_post.2", "--latents", "x"], "'x' is no latent"),
        (["atlas/resid_post.2", "--latents", "2,5000"], "Nearest: 2047"),
        (["atlas/resid_post.9", "--latents", "1"], "atlas/resid_post."),
        (["atlas/resid_post.2", "--latents", "1", "--texts", "nowhere.txt"], "nowhere.txt"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_file(options, says, tmp_path, capsys):
    assert main(["dashboard", *options, "--out", str(tmp_path / "page.html")]) == 2
    text = capsys.readouterr().err
    assert says in text
    assert text.count("error:") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path, capsys):
    assert main(["dashboard", "atlas/z.0", "--latents", "1", "--out", str(tmp_path / "no" / "page.html")]) == 2
    assert "no folder" in capsys.readouterr().err


def test_an_interrupted_command_leaves_no_file(tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("analyses.dashboards.page.dashboard_data", interrupted)
    monkeypatch.setattr("interp.text_files.texts_for", lambda *_: ["a text"])
    assert main(["dashboard", "atlas/z.0", "--latents", "1", "--out", str(tmp_path / "page.html")]) == 130
    assert list(tmp_path.iterdir()) == []


def test_latents_are_numbers_and_ranges():
    assert parse_latents("3, 1,10-12,3", 20) == [3, 1, 10, 11, 12]
    for wrong in ("", "1,", "-1", "1-", "a", "1.5", "5-3", "1--2", "20", "0-99999999999999"):
        with pytest.raises(InvalidInput):
            parse_latents(wrong, 20)
