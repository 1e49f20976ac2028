"""Which processes are dead for certain, and what they left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import DEFAULTS, ROOT

from arxiv_hybrid.system.files import atomic
from arxiv_hybrid.system.identity import ProcessIdentity, remove_leftovers

HOUR = 3600


@pytest.fixture(scope="module")
def ended() -> int:
    """The pid of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_process_is_dead_only_if_that_is_certain(ended: int) -> None:
    me = ProcessIdentity.current()
    assert ProcessIdentity.from_tags(me.tags) == me
    assert not me.is_dead()
    assert replace(me, pid=ended).is_dead()
    assert replace(me, started=me.started - HOUR).is_dead(), "the pid was given to another process"
    assert replace(me, boot="another", pid=ended).is_dead()
    assert not replace(me, host="another", pid=ended).is_dead()
    assert ProcessIdentity.from_tags({"stage": "train"}) is None
    assert ProcessIdentity.from_tags({**me.tags, "process.pid": "x"}) is None


def make(path: Path, age: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_temporary_files_of_killed_processes_are_removed(
    tmp_path: Path, ended: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dead = [
        make(tmp_path / f"metrics/plots/.a.csv.{ended}.tmp", HOUR * 24),
        make(tmp_path / f".params.resolved.yaml.{ended}.tmp", HOUR * 24),
        # its pid belongs to a process that started later
        make(tmp_path / f"models/main/.model.json.{os.getppid()}.tmp", HOUR * 24 * 9999),
        folder := tmp_path / f"metrics/.sorting.{ended}.tmp",
    ]
    make(folder / "block", HOUR)
    os.utime(folder, (time.time() - HOUR * 24,) * 2)
    kept = [
        make(tmp_path / f"metrics/.new.json.{ended}.tmp", -HOUR),  # younger than this process
        make(tmp_path / f"metrics/a.csv.{ended}.tmp", HOUR * 24),
        make(tmp_path / f"metrics/.a.csv.{ended}.tmp.gz", HOUR * 24),
        make(tmp_path / "metrics/.a.csv.0.tmp", HOUR * 24),
        make(tmp_path / "metrics/.a.csv.tmp", HOUR * 24),
        make(tmp_path / f"elsewhere/.a.csv.{ended}.tmp", HOUR * 24),
    ]
    with atomic(tmp_path / "metrics/live.json") as live:
        live.touch()
        removed = remove_leftovers([Path(), Path("metrics"), Path("models"), Path("none")])
        assert live.exists()
        live.write_text("{}")
    assert sorted(path.resolve() for path in removed) == sorted(dead)
    assert all(path.exists() for path in kept)


def test_the_names_of_temporary_files_are_ignored_by_git_and_dvc(tmp_path: Path) -> None:
    with atomic(tmp_path / "a.json") as temporary:
        temporary.touch()
        name = temporary.name
    for file in (".gitignore", ".dvcignore"):
        patterns = (ROOT / file).read_text().split()
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
        (tmp_path / ".gitignore").write_text("\n".join(patterns) + "\n")
        for folder in ("", "metrics/", "metrics/plots/", "examples/x/metrics/"):
            done = subprocess.run(
                ["git", "check-ignore", "-q", f"{folder}{name}"], cwd=tmp_path, check=False
            )
            assert done.returncode == 0, f"{file} does not cover {folder}{name}"


def test_the_start_of_a_stage_removes_them(tmp_path: Path, ended: int) -> None:
    shutil.copy(DEFAULTS / "params.yaml", tmp_path)
    leftover = make(tmp_path / f"metrics/.train.json.{ended}.tmp", HOUR * 24)
    subprocess.run(
        [sys.executable, str(ROOT / "stages/resolve.py")],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, check=True,
    )  # fmt: skip
    assert not leftover.exists()
    assert (tmp_path / "params.resolved.yaml").exists()
