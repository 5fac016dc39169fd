"""Shell completion: the script that is installed completes what there is."""

import subprocess

import pytest

from analyses.cli import main


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ZSH", raising=False)
    monkeypatch.delenv("ZSH_CUSTOM", raising=False)
    return tmp_path


def install(home, shell, capsys):
    script = home / f"interp.{shell}"
    assert main(["--install-completion", "--shell", shell, "--output", str(script)]) == 0
    assert str(script) in capsys.readouterr().out
    return script


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["interp", "ru"], {"run"}),
        (["interp", "run", "--mod"], {"--model"}),
        (["interp", "run", "--bos", "al"], {"always"}),
        (["interp", "select", "ev"], {"evaluate"}),
    ],
)
def test_bash_completes_commands_options_and_choices(home, capsys, words, expected):
    script = install(home, "bash", capsys)
    call = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _interp; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    ran = subprocess.run(["bash", "-c", f"source {script}; {call}"], capture_output=True, text=True, check=True)
    assert {word.strip() for word in ran.stdout.split("\n") if word.strip()} == expected
    assert ran.stderr == ""


@pytest.mark.parametrize(("shell", "head"), [("zsh", "#compdef interp"), ("fish", "complete -c interp")])
def test_other_shells_get_a_script_of_theirs(home, capsys, shell, head):
    text = install(home, shell, capsys).read_text()
    assert head in text
    assert "train-sae" in text


def test_the_start_up_file_loads_it_once(home, capsys):
    for _ in range(2):
        install(home, "bash", capsys)
    assert (home / ".bashrc").read_text().count("# Load interp completion") == 1
