"""What every command has in common: help, completion, colours, exit codes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from arxiv_hybrid import __version__, commands
from arxiv_hybrid.__main__ import main, parser

COMMANDS = [["data", "inspect"], ["predict"], ["explain"], ["next-word"]]


@pytest.mark.parametrize("command", [[], *COMMANDS])
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert "usage: python -m arxiv_hybrid" in capsys.readouterr().out


@pytest.mark.parametrize("command", [[], ["predict"], ["explain"]])
def test_examples_in_the_help_can_be_parsed(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    text = capsys.readouterr().out.split("examples:")[1]
    found = re.findall(r"(?:predict|explain|data inspect) (?:[^\n|]*)", text)
    assert found
    for line in found:
        words = [part.strip('"') for part in re.findall(r'"[^"]*"|\S+', line)]
        assert parser().parse_args(words).run, line


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_the_commands(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", shell])
    assert ended.value.code == 0
    script = capsys.readouterr().out
    for word in ("predict", "explain", "next-word", "--bad-rows", "--print-completion"):
        assert word in script


def test_a_wrong_option_is_status_2() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--bad-rows", "hide"])
    assert ended.value.code == 2


def test_colours_are_for_terminals_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert commands._coloured("cs.CL", "1") == "cs.CL"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert commands._coloured("cs.CL", "1") == "\x1b[1mcs.CL\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert commands._coloured("cs.CL", "1") == "cs.CL"
    assert not capsys.readouterr().out


def test_help_loads_nothing_large(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom arxiv_hybrid.__main__ import parser\nparser()\n"
        "print([name for name in ('torch', 'pandas', 'mlflow', 'sklearn', 'matplotlib') "
        "if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "[]"
