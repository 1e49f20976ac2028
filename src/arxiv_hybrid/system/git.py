"""Run git commands in the repository."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git(folder: Path, *arguments: str) -> str:
    """Run git in `folder` and return its stripped output; empty if the command fails."""
    try:
        completed = subprocess.run(  # noqa: S603 (arguments are constants)
            ["git", *arguments],  # noqa: S607 (from PATH, as in DVC)
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return completed.stdout.strip() if completed.returncode == 0 else ""
