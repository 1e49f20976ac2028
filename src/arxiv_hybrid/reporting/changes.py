"""Changes of parameters and metrics since an earlier commit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arxiv_hybrid.reporting.run_metrics import Metrics
from arxiv_hybrid.system import fast_yaml
from arxiv_hybrid.system.digests import COMPUTED_FROM
from arxiv_hybrid.system.git import git
from arxiv_hybrid.system.nested import flatten

# name on the page: metrics file, key in it
METRICS_SHOWN = {
    "accuracy": ("evaluate", "accuracy"),
    "precision@1": ("evaluate", "precision_at_1"),
    "micro-F1": ("evaluate", "micro_f1"),
    "macro-F1": ("evaluate", "macro_f1"),
    "sample-F1": ("evaluate", "sample_f1"),
    "any listed category": ("evaluate", "accuracy_any_listed"),
    "calibration error": ("evaluate", "calibration_error"),
    "called unsure": ("evaluate", "unsure.share"),
    "gain over the baseline": ("evaluate", "against_baseline.gain"),
    "gain in precision@1": ("evaluate", "against_baseline.precision_at_1.gain"),
    "gain in micro-F1": ("evaluate", "against_baseline.micro_f1.gain"),
    "validation accuracy": ("train", "val_accuracy"),
    "validation precision@1": ("train", "val_precision_at_1"),
    "baseline": ("baseline", "accuracy"),
    "baseline precision@1": ("baseline", "precision_at_1"),
    "baseline micro-F1": ("baseline", "micro_f1"),
    "ensemble": ("ensemble", "accuracy"),
    "ensemble precision@1": ("ensemble", "precision_at_1"),
    "ensemble micro-F1": ("ensemble", "micro_f1"),
}


@dataclass(frozen=True)
class Changes:
    """Metrics now and at a commit, and the parameters that differ.

    since: the commit's short hash and subject. metrics, params: (name, before, now). same_papers:
    whether the commit's metrics were measured on the same split; None if they do not say.
    """

    since: str
    metrics: list[tuple[str, float, float]]
    params: list[tuple[str, Any, Any]]
    same_papers: bool | None


UNKNOWN_CHANGES = Changes(since="", metrics=[], params=[], same_papers=None)  # git cannot tell
_SPLIT = "baseline"  # the metrics that are computed from the split and nothing else


class _GitSilentError(Exception):
    """Git cannot tell what a commit contains."""


def changes(root: Path, folder: Path, metrics: Metrics, params: Path) -> Changes | None:
    """Compare the workspace with the newest commit that differs from it: HEAD or its parent.

    folder: of metrics/NAME.json; metrics: what those of this run contain, by name; params: the
    parameters file; paths are relative to `root`. Returns None if nothing differs, and
    UNKNOWN_CHANGES outside a git repository, before its first commit, or where git fails.
    """
    try:
        return _changes(root, folder, metrics, params)
    except _GitSilentError:
        return UNKNOWN_CHANGES


def _changes(root: Path, folder: Path, metrics: Metrics, params: Path) -> Changes | None:
    title = _asked(root, "log", "-1", "--format=%h %s", "HEAD")
    for revision in ("HEAD", "HEAD~1"):
        files = set(_asked(root, "ls-tree", "-r", "--name-only", "-z", revision).split("\0"))
        committed = {
            name: json.loads(_asked(root, "show", f"{revision}:{(folder / name).as_posix()}.json"))
            for name in metrics
            if (folder / f"{name}.json").as_posix() in files
        }
        result = Changes(
            since=title,
            metrics=_metric_changes(committed, metrics),
            params=_param_changes(root, params, revision, files),
            same_papers=_same_papers(committed, metrics),
        )
        if result.params or any(before != now for _, before, now in result.metrics):
            return result
        parent = git(root, "log", "-1", "--format=%h %s", "HEAD~1")
        if parent is None:  # a repository of one commit, or a shallow clone
            return None
        title = parent
    return None


def _asked(root: Path, *arguments: str) -> str:
    answer = git(root, *arguments)
    if answer is None:
        raise _GitSilentError
    return answer


def _metric_changes(committed: Metrics, current: Metrics) -> list[tuple[str, float, float]]:
    """The metrics that are known both now and at the revision, changed or not."""
    result = []
    for name, (file, key) in METRICS_SHOWN.items():
        before, now = (flatten(side.get(file, {})).get(key) for side in (committed, current))
        if before is not None and now is not None:
            result.append((name, before, now))
    return result


def _same_papers(committed: Metrics, current: Metrics) -> bool | None:
    before, now = (side.get(_SPLIT, {}).get(COMPUTED_FROM) for side in (committed, current))
    return None if before is None or now is None else bool(before == now)


def _param_changes(
    root: Path, path: Path, revision: str, files: set[str]
) -> list[tuple[str, Any, Any]]:
    if path.as_posix() not in files:
        return []
    committed = _asked(root, "show", f"{revision}:{path.as_posix()}")
    current = (root / path).read_text(encoding="utf-8")
    before, now = (flatten(fast_yaml.parse(text)) for text in (committed, current))
    return [
        (key, before.get(key), now.get(key))
        for key in [*before, *(key for key in now if key not in before)]
        if before.get(key) != now.get(key)
    ]
