"""Repositories of the project's files, in which tests run DVC for real."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, TINY, merged

BIN = Path(sys.executable).parent


def environment() -> dict[str, str]:
    """The user's environment, with this interpreter first and no settings of DVC and MLflow."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_", "GIT_"))}
    identity = {f"GIT_{who}_{what}": "test@example.org"
                for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}  # fmt: skip
    path = {"PATH": f"{BIN}{os.pathsep}{kept['PATH']}"}
    # with tiny models a second thread would only wait, for long on a busy machine
    return {**kept, **identity, **path, "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1"}


def sh(repo: Path, *command: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, cwd=repo, env=environment(), capture_output=True, text=True, timeout=300
    )
    if ok and done.returncode:
        pytest.fail(f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def set_params(repo: Path, changes: dict[str, Any]) -> None:
    path = repo / "params.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(merged(content, changes), sort_keys=False), encoding="utf-8")


def first_run(folder: Path) -> None:
    """Make a repository of the project's files with tiny parameters and run its pipeline once."""
    folder.mkdir()
    for name in ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("src", "stages"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    shutil.copy(ROOT / ".dvc" / ".gitignore", folder / ".dvc" / ".gitignore")
    set_params(folder, TINY)
    sh(folder, "git", "init", "-q")
    first = sh(folder, "dvc", "repro")
    assert "Warning" not in first.stderr, "a user's first run starts without foreign warnings"
    sh(folder, "git", "add", "-A")
    sh(folder, "git", "commit", "-qm", "first run")
