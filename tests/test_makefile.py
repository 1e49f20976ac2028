"""The Makefile notices an environment that was made in another folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

# stands for Python: makes an environment that contains itself, and speaks like pip
PYTHON = """\
#!/bin/sh
case "$*" in
*"-m venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
*"--no-deps"*) ;;
*"pip install"*)
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26; do
        echo "Collecting p$i==1.$i (from -r requirements.txt (line $i))"
        echo "  Downloading p$i-1.$i-py3-none-any.whl (12 kB)"
    done
    echo "  Downloading torch-2.13.0-cp311-cp311-linux_x86_64.whl (190.1 MB)"
    echo "Installing collected packages: p1, p2, p3"
    if [ -n "$BROKEN" ]; then echo "ERROR: no space left on device" >&2; exit 3; fi
    echo "Successfully installed p1-1.1" ;;
esac
"""
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


def install(project: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    shutil.rmtree(project / ".venv")
    python = project / "fake python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    settings = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", ".venv/installed", "PYTHON='./fake python'"], cwd=project,
        env={**settings, **changes}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_installation_says_what_it_does_in_few_lines(project: Path) -> None:
    done = install(project)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("Installing requirements"))
    assert lines[start + 1 : start + 5] == [
        "  package 1: p1==1.1",
        "  package 26: p26==1.26",
        "  downloading torch-2.13.0-cp311-cp311-linux_x86_64.whl (190.1 MB)",
        "  unpacking 26 packages",
    ]
    assert "\r" not in done.stdout
    assert (project / ".venv/installed").read_text() == f"{project}\n"


def test_an_installation_that_fails_is_not_taken_for_done(project: Path) -> None:
    done = install(project, BROKEN="yes")
    assert done.returncode == 2
    assert "ERROR: no space left on device" in done.stderr
    assert "Error 3" in done.stderr
    assert not (project / ".venv/installed").exists()
