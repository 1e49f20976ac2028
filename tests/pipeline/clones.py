"""Repositories of the project's files, in which tests run DVC for real."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import DEFAULTS, ROOT, TINY, merged
from warm_python import warm_python

BIN = Path(sys.executable).parent
RESULTS = ("dvc.lock", "metrics", "model", "models", "papers", "vectors.safetensors", "inputs.json")


def environment(*, warm: bool = False) -> dict[str, str]:
    """The user's environment, with this interpreter first and no settings of DVC and MLflow.

    warm: with `warm_python` in front of it, on Linux.
    """
    warm = warm and hasattr(os, "pidfd_open")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_", "GIT_"))}
    identity = {f"GIT_{who}_{what}": "test@example.org"
                for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}  # fmt: skip
    folders = [*([warm_python()] if warm else []), BIN, kept["PATH"]]
    path = {"PATH": os.pathsep.join(map(str, folders))}
    # with tiny models a second thread would only wait, for long on a busy machine
    return {**kept, **identity, **path, "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1"}


def sh(
    repo: Path, *command: str, ok: bool = True, warm: bool = True
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, cwd=repo, env=environment(warm=warm), capture_output=True, text=True, timeout=900
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


def copy_project(folder: Path) -> None:
    """A repository of the project's code with the shipped parameters, in which nothing ever ran.

    Nothing else of the workspace is copied: it may hold a user's parameters, results and settings.
    """
    folder.mkdir(exist_ok=True)
    for name in ("dvc.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", "stages"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("examples", "pretraining"):
        ignored = shutil.ignore_patterns("__pycache__", *RESULTS)
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copytree(DEFAULTS, folder, dirs_exist_ok=True)
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/.gitignore", folder / ".dvc")
    settings = "[core]\n    analytics = false\n    check_update = false\n"
    (folder / ".dvc/config").write_text(settings, encoding="utf-8")
    sh(folder, "git", "init", "-q")


def wait_for_mlflow(folder: Path) -> None:
    """Let the stages of a copy wait for MLflow however busy the machine is, and commit that."""
    path = folder / "src/arxiv_hybrid/tracking/budget.py"
    text = path.read_text(encoding="utf-8")
    changed = re.sub(r"^START, TOTAL = .*$", "START, TOTAL = 300.0, 600.0", text, flags=re.M)
    assert changed != text
    path.write_text(changed, encoding="utf-8")
    sh(folder, "git", "commit", "-qm", "patience", str(path))


def first_run(folder: Path) -> None:
    """`copy_project` with tiny parameters, and a first run of the main pipeline only."""
    copy_project(folder)
    set_params(folder, TINY)
    first = sh(folder, "dvc", "repro", warm=False)
    assert "Warning" not in first.stderr, "a user's first run starts without foreign warnings"
    sh(folder, "git", "add", "-A")
    sh(folder, "git", "commit", "-qm", "first run")
