"""The Makefile notices an environment that was made in another folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

NOTICE = ".venv was made in another folder; it is built again"


@pytest.fixture(params=["plain", "with space and $dollar", "a%2Fb?c", "論文"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with the Makefile and an environment that looks as if it was made there."""
    folder = tmp_path / request.param
    folder.mkdir()
    for name in ("requirements.txt", "pyproject.toml", "Makefile"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv").mkdir()
    (folder / ".venv/installed").write_text(f"{folder}\n", encoding="utf-8")
    return folder


def plan(project: Path) -> str:
    """What `make report` would do."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "-n", "report"], cwd=project, env=settings, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return done.stdout


def test_an_environment_at_its_place_is_used(project: Path) -> None:
    assert plan(project) == "python -m arxiv_hybrid report\n"


def test_a_moved_environment_is_built_again(project: Path) -> None:
    moved = project.rename(project.with_name("moved"))
    lines = plan(moved).splitlines()
    assert lines[0] == NOTICE
    assert "python3 -m venv --clear .venv" in lines
    assert lines[-1] == "python -m arxiv_hybrid report"


def test_a_copied_environment_is_built_again(project: Path) -> None:
    copy = shutil.copytree(project, project.with_name("copy"))
    assert NOTICE in plan(copy)
    assert NOTICE not in plan(project)


def test_without_an_environment_one_is_made(project: Path) -> None:
    shutil.rmtree(project / ".venv")
    text = plan(project)
    assert NOTICE not in text
    assert "-m venv  .venv" in text
    assert "pwd -P > .venv/installed" in text


def test_the_folder_may_be_reached_by_a_link(project: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(project)
    assert NOTICE not in plan(tmp_path / "link")
