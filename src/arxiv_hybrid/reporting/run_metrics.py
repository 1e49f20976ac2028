"""The metrics files of a run, and which of them are of another run.

`dvc exp run evaluate`, for example, leaves the audit and the ensemble of the run before.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arxiv_hybrid.system.digests import COMPUTED_FROM, differing
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import read_json, require

Metrics = dict[str, dict[str, Any]]
_SCORES = "evaluate"  # without its metrics there is nothing to show
_OTHERS = ("audit", "baseline", "train", "ensemble")


@dataclass(frozen=True)
class RunMetrics:
    """What metrics/STAGE.json contain, by stage.

    current: those computed from the papers and models in the workspace. absent: stages without
    such metrics, and why.
    """

    current: Metrics
    absent: dict[str, str]

    def remarks(self) -> list[str]:
        """A line for each stage without metrics of this run."""
        return [
            f"{stage}: not of this run: {reason}; run `{command(stage)}`"
            for stage, reason in self.absent.items()
        ]


def command(stage: str) -> str:
    """The command that computes the metrics of a stage."""
    return f"dvc repro {stage}"


def read_run(workspace: Path, folder: Path) -> RunMetrics:
    """Read the metrics in `folder`, and check what they were computed from.

    workspace: the files that they name are relative to it. Raises UserError if the scores of the
    main model are missing, or of other papers or another model than those in the workspace.
    """
    scores = folder / f"{_SCORES}.json"
    require(scores)
    current, absent = {_SCORES: read_json(scores)}, {}
    if reason := _other(current[_SCORES], workspace):
        raise UserError(
            f"{scores}: not of this run: {reason}; run `{command(_SCORES)}`, "
            "or after `git checkout` `dvc checkout`"
        )
    for stage in _OTHERS:
        path = folder / f"{stage}.json"
        content = read_json(path) if path.exists() else None
        if content is None:
            absent[stage] = "there is none yet"
        elif reason := _other(content, workspace):
            absent[stage] = reason
        else:
            current[stage] = content
    return RunMetrics(current, absent)


def _other(content: dict[str, Any], workspace: Path) -> str | None:
    """Why metrics are not of the files in the workspace; None if they are."""
    record = content.get(COMPUTED_FROM)
    if not isinstance(record, list) or not all(isinstance(line, str) for line in record):
        return "it does not record what it was computed from"
    paths = differing(record, workspace)
    if not paths:
        return None
    if len(paths) == 1:
        return f"{paths[0]} has changed since"
    return f"{paths[0]} and {len(paths) - 1} more files have changed since"
