"""Tags that link an MLflow run to its code, its DVC experiment and its data."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from arxiv_hybrid.system import fast_yaml
from arxiv_hybrid.system.git import dirty, revision
from arxiv_hybrid.system.identity import ProcessIdentity
from arxiv_hybrid.system.watched import trial_tags

_DVC_VARIABLES = ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "DVC_STAGE")


def run_tags(stage: str, workspace: Path) -> dict[str, str]:
    """Stage, git revision, process, DVC's variables, and the md5 of each data dependency.

    workspace: where the stage runs. Keys: `stage`, `git.revision`, `git.dirty`, `process.*`,
    `DVC_*`, `search.*` in a trial of a search, and `dep.PATH` for each dependency. What git cannot
    tell is `unknown`.
    """
    tags = {
        "stage": stage,
        "git.revision": revision(workspace),
        "git.dirty": dirty(workspace),
        **ProcessIdentity.current().tags,
        **trial_tags(),
    }
    tags |= {name: os.environ[name] for name in _DVC_VARIABLES if os.environ.get(name)}
    dvc_stage = os.environ.get("DVC_STAGE", stage).split(":")[-1]
    md5s = dependency_md5s(workspace, dvc_stage)
    return tags | {f"dep.{path}": md5 for path, md5 in md5s.items()}


def dependency_md5s(workspace: Path, stage: str) -> dict[str, str]:
    """The md5 of each data dependency of a DVC stage, by path.

    Read from the outputs of the other stages in dvc.lock: while a stage runs, its own entry
    there is still that of its previous run. Empty outside a DVC repository.
    """
    try:
        lock = fast_yaml.parse((workspace / "dvc.lock").read_text(encoding="utf-8"))
        pipeline = fast_yaml.parse((workspace / "dvc.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    definition = pipeline.get("stages", {}).get(stage.split("@")[0], {})
    dependencies = {dep for dep in definition.get("deps", []) if isinstance(dep, str)}
    outputs = {
        out["path"]: out.get("md5", "")
        for entry in (lock or {}).get("stages", {}).values()
        for out in entry.get("outs", [])
    }
    return {path: md5 for path, md5 in sorted(outputs.items()) if _covers(dependencies, path)}


def _covers(dependencies: set[str], path: str) -> bool:
    return any(path == dep or path.startswith(f"{dep}/") for dep in dependencies)
