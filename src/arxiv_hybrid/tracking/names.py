"""The names of runs: the stage, and the parameters that differ from the last commit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from arxiv_hybrid.system import fast_yaml
from arxiv_hybrid.system.git import git
from arxiv_hybrid.system.nested import flatten
from arxiv_hybrid.system.redaction import redact

PARAMS = "params.yaml"
_NAMED, _LONGEST = 3, 30  # parameters in a name, and characters of a value
_UNREAD = {"train": ("ensemble", "evaluate")}  # sections that a stage does not read


def run_name(stage: str, member: str | None, workspace: Path) -> str:
    """`train seed-123 · dropout 0.4`: a stage with what is changed in its parameters."""
    unread = _UNREAD.get(stage, ())
    return _joined(f"{stage} {member}" if member else stage, changes(workspace, unread))


def pipeline_name(workspace: Path) -> str:
    """`gusty-dawn · dropout 0.4`: the DVC experiment, or `workspace`, with what is changed."""
    return _joined(os.environ.get("DVC_EXP_NAME") or "workspace", changes(workspace))


def changes(workspace: Path, unread: tuple[str, ...] = ()) -> list[str]:
    """Each parameter whose value differs from the one in the last commit, with its value.

    unread: sections to leave out. Empty where git cannot tell.
    """
    committed = git(workspace, "show", f"HEAD:./{PARAMS}")
    if committed is None:
        return []
    before, hidden = flatten(parsed(committed)), {"tracking", *unread}
    return [
        f"{key} {_shown(value)}"
        for key, value in flatten(read_params(workspace)).items()
        if value != before.get(key) and key.split(".")[0] not in hidden
    ]


def read_params(workspace: Path, name: str = PARAMS) -> dict[str, Any]:
    """The content of a YAML file of parameters; empty if it cannot be read."""
    try:
        return parsed((workspace / name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}


def parsed(text: str) -> dict[str, Any]:
    """The mapping in a YAML text; empty if it holds none."""
    try:
        content = fast_yaml.parse(text)
    except yaml.YAMLError:
        return {}
    return content if isinstance(content, dict) else {}


def _shown(value: Any) -> str:
    text = redact("null" if value is None else str(value)).rsplit("/", 1)[-1]  # a path's last part
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _joined(name: str, changed: list[str]) -> str:
    more = [f"{len(changed) - _NAMED} more"] if len(changed) > _NAMED else []
    return " \N{MIDDLE DOT} ".join([name, *filter(None, [", ".join(changed[:_NAMED] + more)])])
