"""What all commands have in common: help, completion, colours, exit codes."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from arxiv_hybrid import __version__
from arxiv_hybrid.__main__ import main, parser
from arxiv_hybrid.commands.terminal import coloured

COMMANDS = [["data", "inspect"], ["data", "labels"], ["predict"], ["explain"], ["next-word"],
            ["summary"], ["report"], ["serve"], ["similar"], ["embed"], ["experiments"],
            ["plots"]]  # fmt: skip
LIBRARY = ["--input", "library.csv"]


@pytest.mark.parametrize("command", [[], *COMMANDS])
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert "usage: python -m arxiv_hybrid" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["predict"],
        ["explain"],
        ["serve"],
        ["similar"],
        ["embed"],
        ["experiments"],
        ["plots"],
        ["data", "labels"],
    ],
)
def test_examples_in_the_help_can_be_parsed(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    text = capsys.readouterr().out.split("examples:")[1]
    examples = re.findall(
        r"\b(?:predict|explain|data inspect|(?<=  )data labels|serve|similar|embed"
        r"|(?<=  )experiments|(?<=  )plots)\b[^\n|]*",
        text,
    )
    assert examples
    for line in examples:
        arguments = [part.strip('"') for part in re.findall(r'"[^"]*"|\S+', line)]
        assert parser().parse_args(arguments).command, line


@pytest.mark.parametrize(
    ("command", "arguments"),
    list(
        zip(
            COMMANDS,
            [["x"], ["x", "--label", "y"], [], [], ["x"], [], [], [], LIBRARY,
             [*LIBRARY, "--output", "v.npy"], [], ["a", "b"]],
            strict=True,
        )
    ),
)  # fmt: skip
def test_every_command_has_a_module(command: list[str], arguments: list[str]) -> None:
    options = parser().parse_args([*command, *arguments])
    assert callable(import_module(f"arxiv_hybrid.commands.{options.command}").run)


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
    options = ("--bad-rows", "--port", "--print-completion")
    for word in (*(name for command in COMMANDS for name in command), *options):
        assert word in script


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "--bad-rows", "hide"], "invalid choice: 'hide'"),
        (["predict", "--sure", "1.5"], "'1.5' must be a number from 0 to 1"),
        (["next-word", "a", "--top", "0"], "'0' must be a positive integer"),
        (["serve", "--port", "http"], "invalid int value: 'http'"),
        (["experiments", "--format", "pdf"], "invalid choice: 'pdf'"),
    ],
)
def test_a_wrong_option_is_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_colours_are_for_terminals_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert coloured("cs.CL", "1") == "cs.CL"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert coloured("cs.CL", "1") == "\x1b[1mcs.CL\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured("cs.CL", "1") == "cs.CL"
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


# What `pip install arxiv-hybrid` does not install; argv: such a package, then the command.
WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from arxiv_hybrid.__main__ import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("package", "command", "install"),
    [
        ("matplotlib", ["explain", "--title", "deep"], "'arxiv-hybrid[pipeline]'"),
        ("jinja2", ["explain", "--title", "deep"], "'arxiv-hybrid[pipeline]'"),
        ("jinja2", ["report"], "'arxiv-hybrid[pipeline]'"),
        ("dvc", ["experiments"], "'arxiv-hybrid[pipeline]'"),
        ("vl_convert", ["plots"], "'arxiv-hybrid[pipeline]'"),
        ("optuna", ["search", "--trials", "1", "--space", "x"], "'arxiv-hybrid[pipeline]'"),
        ("uvicorn", ["serve"], "'arxiv-hybrid[serve]'"),
        ("pydantic", ["data", "inspect", "papers.csv"], "'arxiv-hybrid[train]'"),
        ("torch", ["predict", "--title", "deep"], "arxiv-hybrid"),
        ("safetensors", ["next-word", "deep"], "arxiv-hybrid"),
    ],
)
def test_a_package_that_a_command_needs_is_named(
    package: str, command: list[str], install: str, tmp_path: Path
) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT, package, *command], cwd=tmp_path,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 2
    name = "data inspect" if command[0] == "data" else command[0]
    assert done.stderr == (
        f"error: {name} needs {package}, which is not installed; run `pip install {install}`\n"
    )
