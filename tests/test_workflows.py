"""What GitHub runs agrees with the documentation, the Makefile and pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DECLARED = [
    name.rpartition(" ")[2]
    for name in PROJECT["classifiers"]
    if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", name)
]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def parsed(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["on"] = content.pop(True)  # YAML 1.1
    return dict(content)


def jobs(name: str) -> dict[str, Any]:
    return dict(parsed(ROOT / f".github/workflows/{name}.yml")["jobs"])


def commands(job: dict[str, Any]) -> list[str]:
    return [line for step in job["steps"] for line in step.get("run", "").splitlines()]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_and_pins_its_actions(path: Path) -> None:
    workflow = parsed(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert "group" in workflow["concurrency"]
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 90
        for step in job["steps"]:
            assert "run" in step or re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"])


def test_the_python_versions_agree() -> None:
    oldest, newest = DECLARED[0], DECLARED[-1]
    assert PROJECT["requires-python"] == f">={oldest}"
    assert f"Python {oldest} to {newest}" in text_of("README.md")
    assert f"Python {oldest} or newer is required" in text_of("Makefile")
    assert f"sys.version_info < ({oldest.replace('.', ', ')})" in text_of("Makefile")
    for name in ("tests", "newest"):
        tried = jobs(name)["tests"]["strategy"]["matrix"]["python"]
        assert {oldest, newest} <= {*tried} <= {*DECLARED}


def test_the_commands_are_those_of_the_documentation() -> None:
    readme = text_of("README.md")
    documented = [line.split("  ")[0].strip() for line in readme.splitlines()]
    assert "make test" in documented
    for name in ("tests", "newest"):
        assert commands(jobs(name)["tests"])[-1] == "make test"
    predict = commands(jobs("tests")["package"])[-1]
    (example,) = (
        line for line in documented if line.startswith("python -m arxiv_hybrid predict --t")
    )
    assert predict == example
    assert commands(jobs("tests")["lint"]) == ["make lint"]
    assert re.search(r"^lint:", text_of("Makefile"), re.M)
    assert ".venv/installed" in commands(jobs("newest")["tests"])[2]
    assert "VENV := .venv" in text_of("Makefile")


def test_the_newest_versions_run_every_week() -> None:
    (schedule,) = parsed(ROOT / ".github/workflows/newest.yml")["on"]["schedule"]
    assert re.fullmatch(r"\d+ \d+ \* \* [0-6]", schedule["cron"])
    lines = " ".join(commands(jobs("newest")["tests"]))
    assert "'.[dev]'" in lines
    assert "requirements.txt" not in lines
    assert "dev" in PROJECT["optional-dependencies"]


def test_hooks_use_the_pinned_tools() -> None:
    (repository,) = yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"]
    pinned = text_of("requirements.txt")
    tools = [hook["entry"].split() for hook in repository["hooks"] if hook["language"] == "system"]
    assert {words[0] for words in tools} == {".venv/bin/ruff", ".venv/bin/mypy"}
    assert [words[1] for words in tools if words[0] == ".venv/bin/ruff"] == ["check", "format"]
    assert re.search(r"^ruff==", pinned, re.M)
    assert re.search(r"^mypy==", pinned, re.M)
    for hook in repository["hooks"]:
        assert all("==" in each for each in hook.get("additional_dependencies", []))


def test_a_bug_report_asks_what_contributing_asks_for() -> None:
    form = text_of(".github/ISSUE_TEMPLATE/bug.yml")
    for words in ("Command", "python -m arxiv_hybrid --version", "Operating system"):
        assert words in form
    required = [each["attributes"]["label"] for each in yaml.safe_load(form)["body"]
                if each.get("validations", {}).get("required")]  # fmt: skip
    assert required == ["Command", "What it printed", "Version", "Operating system"]
