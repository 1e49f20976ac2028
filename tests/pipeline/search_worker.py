"""A worker whose pruner and first values a test decides: `python search_worker.py JSON`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.pruners import ThresholdPruner

from arxiv_hybrid.search.runner import Pipeline
from arxiv_hybrid.search.study import Study
from arxiv_hybrid.search.worker import search


def run(
    root: str,
    pipeline: dict[str, Any],
    space: dict[str, list[Any]],
    first: list[dict[str, Any]],
    least: float,
    warmup: int = 0,
    storage: str | None = None,
) -> Study:
    """Search a list of values for each parameter; scores below `least` are pruned."""
    distributions = {key: CategoricalDistribution(values) for key, values in space.items()}
    return search(
        storage,
        lambda opened: Study(
            opened, "tiny", distributions, {}, score="validation accuracy",
            total=len(first),
            pruner=ThresholdPruner(lower=least, n_warmup_steps=warmup),
        ),
        Pipeline(Path(root), params="params.yaml", **pipeline),
        first,
    )  # fmt: skip


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition with a generous deadline."""
    deadline = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def workspaces(root: Path) -> list[Path]:
    """The temporary workspaces of experiments in a repository."""
    return list((root / ".dvc/tmp/exps/standalone").glob("tmp*"))


if __name__ == "__main__":
    run(**json.loads(sys.argv[1]))
