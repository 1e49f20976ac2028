"""Run git commands in the repository."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

UNKNOWN = "unknown"  # what git could not tell


def git(folder: Path, *arguments: str) -> str | None:
    """Run git in `folder` and return its stripped output; None if git cannot answer.

    That is so where git is not installed or too slow, and if it refuses: no repository, one of
    another owner, a damaged one, an unknown revision.
    """
    try:
        completed = subprocess.run(  # noqa: S603 (arguments are constants)
            ["git", *arguments],  # noqa: S607 (from PATH, as in DVC)
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=20,
            check=False,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return completed.stdout.strip() if completed.returncode == 0 else None


def revision(folder: Path) -> str:
    """The commit that is checked out, `none` before the first one, or `unknown`."""
    commit = git(folder, "rev-parse", "--verify", "HEAD")
    if commit is not None:
        return commit
    return "none" if git(folder, "rev-list", "--all", "--count") == "0" else UNKNOWN


def dirty(folder: Path) -> str:
    """Whether files differ from the commit or are untracked: `true`, `false` or `unknown`."""
    status = git(folder, "status", "--porcelain", "--untracked-files=normal")
    return UNKNOWN if status is None else str(bool(status)).lower()


def experiment(root: Path, name: str) -> str | None:
    """The revision of a DVC experiment; None if there is none with this name."""
    found = git(root, "for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{name}")
    return found.split()[0] if found else None
