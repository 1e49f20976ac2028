"""Whether the metrics belong to params.yaml: a stage may have failed since that changed."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from arxiv_hybrid.params import Params, values_in_force
from arxiv_hybrid.system import fast_yaml
from arxiv_hybrid.system.digests import of_file
from arxiv_hybrid.system.nested import flatten
from arxiv_hybrid.system.redaction import redact

KEYS_NAMED = 3
_MAX_LENGTH = 40  # of a value
_SMALL = 1 << 20  # bytes
INPUTS = "data/inputs.json"  # digests of the files that params.yaml names
_RUN = "run `dvc repro`"


def outdated(workspace: Path, params: Params, absent: Collection[str] = ()) -> str | None:
    """One line if the last results of a stage belong to other parameters or data; else None.

    workspace: holds dvc.lock, in which DVC records what each stage last ran with. Without it
    nothing can be said, and the result is None. absent: stages whose results are not shown.
    """
    stages = _last_runs(workspace, len(params.ensemble.members))
    hidden = {*absent, *({"member"} if "ensemble" in absent else ())}
    stages = {name: entry for name, entry in stages.items() if name.split("@")[0] not in hidden}
    current = {
        "params.yaml": flatten(params.written),
        "params.resolved.yaml": flatten(values_in_force(params)),
        INPUTS: flatten(_read_json(workspace / INPUTS)),
    }
    changed = dict(_changed_params(stages, current))
    if changed:
        keys = sorted(changed, key=lambda key: key.startswith("members."))  # the main model first
        named = [
            f"{key} {_shown(changed[key][0])} (now {_shown(changed[key][1])})"
            for key in keys[:KEYS_NAMED]
        ]
        more = f" and {len(keys) - KEYS_NAMED} more" if len(keys) > KEYS_NAMED else ""
        return f"these scores belong to other parameters: {', '.join(named)}{more}; {_RUN}"
    if behind := _behind(stages):
        names = ", ".join(behind)
        return f"these scores are older than their data: {names} did not run since; {_RUN}"
    return None


def _last_runs(workspace: Path, members: int) -> dict[str, dict[str, Any]]:
    """The entries of dvc.lock by stage, without those of members that params no longer name."""
    try:
        lock = fast_yaml.parse((workspace / "dvc.lock").read_text(encoding="utf-8"))
        stages: dict[str, dict[str, Any]] = dict(lock["stages"])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return {}
    known = {f"member@member{number}" for number in range(members)}
    return {
        name: entry
        for name, entry in stages.items()
        if ("@" not in name or name in known) and _describes(entry, workspace)
    }


def _describes(entry: dict[str, Any], workspace: Path) -> bool:
    """Whether the outputs in the workspace are those of an entry of dvc.lock.

    They are not if a stage ran without DVC. Only the sizes of large files are compared.
    """
    for out in entry.get("outs", []):
        path = workspace / out["path"]
        if not path.is_file() or "size" not in out:
            continue
        size = path.stat().st_size
        if size != out["size"]:
            return False
        if size <= _SMALL and of_file(path, "md5") != out.get("md5"):
            return False
    return True


def _changed_params(
    stages: Mapping[str, dict[str, Any]], current: Mapping[str, dict[str, Any]]
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Key, value in the last run of a stage, and value now; current: values by file and key."""
    for name, entry in stages.items():
        if name == "resolve":  # it writes no scores
            continue
        for file, recorded in entry.get("params", {}).items():
            now = current.get(file, {})
            what = "the file of " if file == INPUTS else ""
            for key, value in flatten(recorded).items():
                if not same_value(value, now.get(key)) and (value is not None or key in now):
                    yield what + key.removeprefix("train."), (value, now.get(key))
            for section in recorded:
                for key in now:
                    if key.startswith(f"{section}.") and key not in flatten(recorded):
                        yield key.removeprefix("train."), (None, now[key])


def _read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file; empty if it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _shown(value: Any) -> str:
    text = "null" if value is None else redact(str(value))
    return text if len(text) <= _MAX_LENGTH else text[: _MAX_LENGTH - 3] + "..."


def same_value(recorded: Any, now: Any) -> bool:
    """Equal, also where DVC reads YAML 1.2 and this library 1.1: 1e-3 is a text in one of them."""
    if recorded == now:
        return True
    try:
        return float(recorded) == float(now)
    except (TypeError, ValueError):
        return False


def _behind(stages: Mapping[str, dict[str, Any]]) -> list[str]:
    """Stages that last read other data than the stage before them has written since."""
    written = {
        out["path"]: out.get("md5") for entry in stages.values() for out in entry.get("outs", [])
    }
    return [
        name
        for name, entry in stages.items()
        if any(
            dep["path"] in written and written[dep["path"]] != dep.get("md5")
            for dep in entry.get("deps", [])
        )
    ]
