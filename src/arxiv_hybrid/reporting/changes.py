"""What changed since a commit: parameters and metrics, as two files of each say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from arxiv_hybrid.system.git import git
from arxiv_hybrid.system.nested import flatten

# by name: the file, and the figure in it
FIGURES = {
    "accuracy": ("evaluate", "accuracy"),
    "macro-F1": ("evaluate", "macro_f1"),
    "any listed category": ("evaluate", "accuracy_any_listed"),
    "calibration error": ("evaluate", "calibration_error"),
    "gain over the baseline": ("evaluate", "against_baseline.gain"),
    "validation accuracy": ("train", "val_accuracy"),
    "baseline": ("baseline", "accuracy"),
    "ensemble": ("ensemble", "accuracy"),
}


@dataclass(frozen=True)
class Changes:
    """What differs from a commit; `since` names it, its first line behind."""

    since: str
    metrics: list[tuple[str, float, float]]  # name, before, now
    params: list[tuple[str, Any, Any]]


def changes(root: Path, metrics: Path, params: Path) -> Changes | None:
    """The workspace against the newest commit that differs: the last one, or the one before.

    metrics: the folder of metrics/*.json, params: the file of parameters, both from `root`. None
    without git, or where neither differs or is there.
    """
    for revision in ("HEAD", "HEAD~1"):
        title = git(root, "log", "-1", "--format=%h %s", revision)
        if not title:
            return None
        found = Changes(title, _metrics(root, metrics, revision), _params(root, params, revision))
        if found.params or any(before != now for _, before, now in found.metrics):
            return found
    return None


def _metrics(root: Path, folder: Path, revision: str) -> list[tuple[str, float, float]]:
    found = []
    for name, (file, figure) in FIGURES.items():
        path = folder / f"{file}.json"
        then = git(root, "show", f"{revision}:{path.as_posix()}")
        if not then or not (root / path).is_file():
            continue
        before, now = (
            flatten(json.loads(text)).get(figure)
            for text in (then, (root / path).read_text(encoding="utf-8"))
        )
        if before is not None and now is not None:
            found.append((name, before, now))
    return found


def _params(root: Path, path: Path, revision: str) -> list[tuple[str, Any, Any]]:
    then = git(root, "show", f"{revision}:{path.as_posix()}")
    if not then:
        return []
    before, now = (
        flatten(yaml.safe_load(text)) for text in (then, (root / path).read_text(encoding="utf-8"))
    )
    return [
        (key, before.get(key), now.get(key))
        for key in [*before, *(key for key in now if key not in before)]
        if before.get(key) != now.get(key)
    ]
