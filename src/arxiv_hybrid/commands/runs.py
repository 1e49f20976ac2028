"""Runs in the workspace, in commits and in experiments, read through git and DVC."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from arxiv_hybrid.paths import METRICS, PARAMS, REPORTS, RESOLVED
from arxiv_hybrid.reporting.outdated import same_value
from arxiv_hybrid.system import fast_yaml
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.git import git
from arxiv_hybrid.system.nested import flatten
from arxiv_hybrid.system.redaction import redact

PREDICTIONS = (REPORTS / "predictions.csv").as_posix()
WORKSPACE = "workspace"
_PAUSES = (1, 2, 4, 8)  # seconds between attempts to list experiments
_LONGEST = 40  # characters of a value


class Run:
    """What a run left in git: parameters, metrics and dvc.lock.

    revision: None for the workspace. finished: whether the experiment has run; if not, only its
    params.yaml is its own.
    """

    def __init__(self, revision: str | None, *, finished: bool = True) -> None:
        self.revision, self.finished = revision, finished
        self._read: dict[Path, dict[str, Any]] = {}
        self._current: dict[str, bool] = {}

    def content(self, path: Path) -> dict[str, Any]:
        """A YAML or JSON file; empty if it is missing or damaged."""
        if path not in self._read:
            self._read[path] = self._content(path)
        return self._read[path]

    def _content(self, path: Path) -> dict[str, Any]:
        try:
            if self.revision is None:
                text = path.read_text(encoding="utf-8")
            else:
                text = git(Path.cwd(), "show", f"{self.revision}:./{path.as_posix()}") or "{}"
            found = json.loads(text) if path.suffix == ".json" else fast_yaml.parse(text)
        except (OSError, ValueError, yaml.YAMLError):
            return {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def written(self) -> dict[str, Any]:
        """The values of params.yaml, with dotted keys."""
        return flatten(self.content(PARAMS))

    @cached_property
    def in_force(self) -> dict[str, Any]:
        """The values in force for the main model, with dotted keys; none if not yet resolved."""
        if not (self.finished and self._is_current("resolve")):
            return {}
        resolved = self.content(RESOLVED)
        return flatten(resolved.get("train", {})) | flatten(
            {"augment": resolved.get("augment", {})}
        )

    @cached_property
    def stages(self) -> dict[str, dict[str, Any]]:
        """The entries of dvc.lock by stage."""
        stages = self.content(Path("dvc.lock")).get("stages")
        return stages if isinstance(stages, dict) else {}

    def metrics(self, stage: str) -> dict[str, Any]:
        """metrics/STAGE.json; empty if the stage did not run with these parameters and data."""
        if not (self.finished and self._is_current(stage)):
            return {}
        return self.content(METRICS / f"{stage}.json")

    def predictions_digest(self) -> str | None:
        """MD5 of the test predictions, the name of their copy in DVC's cache; None without any."""
        outs = self.stages.get("evaluate", {}).get("outs", [])
        return next((out.get("md5") for out in outs if out["path"] == PREDICTIONS), None)

    def digests(self) -> dict[str, str]:
        """MD5 of each file of code that a stage ran with, and of each file that params name."""
        found: dict[str, str] = {}
        for entry in self.stages.values():
            code = (d for d in entry.get("deps", []) if d["path"].startswith(("src/", "stages/")))
            found |= {dep["path"]: str(dep.get("md5")) for dep in code}
            files = entry.get("params", {}).get("data/inputs.json", {})
            found |= {f"the file of {key}": value for key, value in flatten(files).items()}
        return found

    def _is_current(self, stage: str) -> bool:
        """Whether a stage and all before it last ran with this run's parameters and data."""
        if stage not in self._current:
            self._current[stage] = self._ran_last(stage)
        return self._current[stage]

    def _ran_last(self, stage: str) -> bool:
        entry = self.stages.get(stage)
        if entry is None or not self._has_params(entry):
            return False
        for dep in entry.get("deps", []):
            name, digest = self._writers.get(dep["path"], (None, None))
            if name and (digest != dep.get("md5") or not self._is_current(name)):
                return False
        return True

    @cached_property
    def _writers(self) -> dict[str, tuple[str, str | None]]:
        """The stage that wrote each output, and the output's MD5."""
        return {
            out["path"]: (name, out.get("md5"))
            for name, entry in self.stages.items()
            for out in entry.get("outs", [])
        }

    def _has_params(self, entry: dict[str, Any]) -> bool:
        files = {PARAMS.name: self.content(PARAMS), RESOLVED.name: self.content(RESOLVED)}
        for file, recorded in entry.get("params", {}).items():
            if file in files:
                now, then = flatten(files[file]), flatten(recorded)
                if any(not same_value(value, now.get(key)) for key, value in then.items()):
                    return False
        return True


@dataclass(frozen=True)
class Listed:
    """A run that DVC lists.

    baseline: the run that an experiment started from. state: finished, queued, running or failed.
    log: that of an experiment which ran in the queue.
    """

    name: str
    run: Run
    baseline: Run | None
    state: str
    log: Path | None = None


def list_runs(*, every_commit: bool) -> list[Listed]:
    """The workspace, HEAD and its experiments; or all commits that have experiments, and theirs.

    Raises UserError with DVC's message if it cannot list them.
    """
    commits = ["HEAD"]
    if every_commit:
        names = git(Path.cwd(), "for-each-ref", "--format=%(refname)", "refs/exps") or ""
        parts = (name.split("/") for name in names.split())
        commits += sorted({f"{p[2]}{p[3]}" for p in parts if len(p) == 5 and len(p[3]) == 38})
    revisions = [f"--rev={commit}" for commit in commits]
    shown = json.loads(_show(revisions))
    listed: dict[tuple[str, str | None], Listed] = {}
    for commit in shown:
        if commit["rev"] == WORKSPACE:
            head = Run("HEAD")
            listed[WORKSPACE, None] = Listed(WORKSPACE, Run(None), head, "finished")
            continue
        base = Run(commit["rev"])
        name = commit["name"] or commit["rev"][:7]
        listed.setdefault((name, commit["rev"]), Listed(name, base, None, "finished"))
        for experiment in commit["experiments"] or []:
            found = _experiment(experiment, base)
            listed[found.name, found.run.revision] = found
    return list(listed.values())


def _show(revisions: list[str]) -> str:
    """What DVC lists; it fails for some seconds while a job of the queue sets up its workspace."""
    for pause in _PAUSES:
        try:
            return dvc("exp", "show", "--json", *revisions)
        except UserError as error:
            if ".dvc/tmp/exps/" not in str(error):
                raise
            time.sleep(pause)
    return dvc("exp", "show", "--json", *revisions)


def _experiment(shown: dict[str, Any], baseline: Run) -> Listed:
    executor = shown["executor"] or {}
    state = {"success": "finished", None: "finished"}.get(
        executor.get("state"), executor.get("state")
    )
    log = (executor.get("local") or {}).get("log")
    revision = shown["revs"][0]["rev"]
    run = Run(revision, finished=state == "finished")
    return Listed(shown["name"] or revision[:7], run, baseline, str(state), log and Path(log))


def dvc(*arguments: str) -> str:
    """The output of a DVC command; UserError with its last line if it fails."""
    done = subprocess.run(  # noqa: S603 (this interpreter)
        [sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = next((line for line in lines if line.startswith("ERROR")), lines[-1:] or [""])
        raise UserError(f"dvc {arguments[0]} {arguments[1]}: {str(reason).removeprefix('ERROR: ')}")
    return done.stdout


def changes(before: Run, after: Run) -> list[str]:
    """What differs in a run: parameters with their values in force, then files and code.

    A parameter that changes no value in force is left out. Values that only follow from the others
    are counted, and the model is named.
    """
    direct = [
        key
        for key in {**before.written, **after.written}
        if not same_value(before.written.get(key), after.written.get(key))
    ]
    parts = []
    for key in direct:
        old, new = (each.in_force.get(key, each.written.get(key)) for each in (before, after))
        if not same_value(old, new):
            parts.append(f"{key} {_shown(old)} -> {_shown(new)}")
    if not after.in_force:
        return parts
    follow = [
        key
        for key in {**before.in_force, **after.in_force}
        if key not in direct and not same_value(before.in_force.get(key), after.in_force.get(key))
    ]
    if "model" in follow:
        parts.append(f"model {before.in_force.get('model')} -> {after.in_force.get('model')}")
        follow.remove("model")
    if follow:
        parts.append(f"{len(follow)} more follow" if parts else f"{len(follow)} values in force")
    return parts + _changed_files(before.digests(), after.digests(), direct)


def _changed_files(
    before: Mapping[str, str], after: Mapping[str, str], direct: list[str]
) -> list[str]:
    changed = [name for name in after if before.get(name, after[name]) != after[name]]
    files = [name for name in changed if name.startswith("the file of ")]
    parts = [name for name in files if name.removeprefix("the file of ") not in direct]
    return [*parts, "code"] if len(changed) > len(files) else parts


def failure(log: Path | None) -> str:
    """The line of a queued job's log that says why it failed."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log else []
    except OSError:
        lines = []
    errors = [line for line in lines if line.lower().startswith("error")]
    return redact(errors[0].partition(":")[2].strip()) if errors else "see `dvc queue logs`"


def cached(cache: Callable[[str], str], run: Run) -> pd.DataFrame | str:
    """The test predictions of a run, or why there are none.

    cache: the path of a digest in DVC's cache.
    """
    digest = run.predictions_digest()
    if digest is None:
        return f"it has no {PREDICTIONS}"
    path = Path(cache(digest))
    if not path.is_file():
        return "its test predictions are not in DVC's cache"
    return pd.read_csv(path, dtype={"id": str, "actual": str}, keep_default_na=False)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        names = (item.get("name", item) if isinstance(item, dict) else item for item in value)
        text = f"[{', '.join(map(str, names))}]"
    else:
        text = "null" if value is None else str(value)
    text = redact(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
