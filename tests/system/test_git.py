"""What git tells about a repository; where it cannot answer, that is unknown."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from arxiv_hybrid.system import git as module
from arxiv_hybrid.system.git import dirty, git, revision


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    def run(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True)

    run("init", "-q")
    (tmp_path / "file").write_text("text")
    run("add", ".")
    run("commit", "-qm", "first")
    return tmp_path


def test_a_sound_repository(repository: Path) -> None:
    assert len(revision(repository)) == 40
    assert dirty(repository) == "false"
    (repository / "file").write_text("changed")
    assert dirty(repository) == "true"


def test_untracked_files_make_it_dirty_whatever_the_user_configured(repository: Path) -> None:
    subprocess.run(["git", "config", "status.showUntrackedFiles", "no"], cwd=repository, check=True)
    (repository / "new").touch()
    assert dirty(repository) == "true"


def test_before_the_first_commit(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert (revision(tmp_path), dirty(tmp_path)) == ("none", "false")


def another_owner(_: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch for its tests
    patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    patch.setenv("GIT_CONFIG_SYSTEM", os.devnull)


def no_git(repository: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("PATH", str(repository))


def no_repository(repository: Path, _: pytest.MonkeyPatch) -> None:
    (repository / ".git").rename(repository / "not.git")


def damaged_head(repository: Path, _: pytest.MonkeyPatch) -> None:
    (repository / ".git/HEAD").write_text("damaged")


def damaged_config(repository: Path, _: pytest.MonkeyPatch) -> None:
    (repository / ".git/config").write_text("[damaged")


def too_slow(_: Path, patch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("git", 20)

    patch.setattr(module.subprocess, "run", run)


@pytest.mark.parametrize(
    "fault", [another_owner, no_git, no_repository, damaged_head, damaged_config, too_slow]
)
def test_unknown_is_not_clean(
    repository: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., None]
) -> None:
    fault(repository, monkeypatch)
    assert git(repository, "status") is None
    assert (revision(repository), dirty(repository)) == ("unknown", "unknown")


def test_a_damaged_index_hides_changes_but_not_the_commit(repository: Path) -> None:
    commit = revision(repository)
    (repository / ".git/index").write_bytes(b"damaged")
    assert (revision(repository), dirty(repository)) == (commit, "unknown")
