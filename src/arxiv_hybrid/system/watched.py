"""How a trial of a search tells its worker the validation score of each epoch.

The worker sets two environment variables and reads the file that grows. Without them nothing is
written, and no result depends on them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

EPOCHS = "ARXIV_HYBRID_EPOCHS"  # the file to append to
TRIAL = "ARXIV_HYBRID_TRIAL"  # the study and the number of the trial, as study/7


def report_epoch(epoch: int, score: float) -> None:
    """Append an epoch and its validation score to the worker's file, if a worker watches."""
    if name := os.environ.get(EPOCHS):
        with open(name, "a", encoding="utf-8") as file:
            file.write(json.dumps([epoch, score]) + "\n")


def read_epochs(path: Path) -> list[tuple[int, float]]:
    """The epochs in a file so far, with their scores; a line that is not yet whole is left out."""
    try:
        *lines, _ = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return []
    return [(int(epoch), float(score)) for epoch, score in map(json.loads, lines)]


def trial_tags() -> dict[str, str]:
    """Study and number of the trial that this process belongs to; empty outside a search."""
    study, _, number = os.environ.get(TRIAL, "").rpartition("/")
    return {"search.study": study, "search.trial": number} if study else {}
