"""Training a challenger on the store, and comparing it with the champion on the same papers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from arxiv_hybrid.audit.monitoring import classes_of
from arxiv_hybrid.daily.predictions import CHUNK, Learned, texts_of
from arxiv_hybrid.daily.store import Stored
from arxiv_hybrid.data.splits import in_test_by_hash
from arxiv_hybrid.evaluation.metrics import compare_correct
from arxiv_hybrid.inference.classifier import TextClassifier
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.git import experiment, git

SPLIT = "split"  # the tag of a version: how its test papers were chosen
SETTINGS = {  # whatever params.yaml says
    "fetch.source": "snapshot",
    "fetch.per_category": "null",
    "fetch.since": "null",
    "fetch.until": "null",
    "split.by": "hash",
    "tracking.enabled": "true",
    "tracking.log_model": "true",
}
_METRICS, _WEIGHTS = "metrics/evaluate.json", "models/main/model.safetensors"


def command(papers: Path, name: str, register_as: str) -> list[str]:
    """The command that trains on the papers of a store as an experiment, and registers the model.

    It runs in a copy of the workspace, whose files stay as they are. By hash, a test paper remains
    one when others are added.
    """
    settings = {
        **SETTINGS, "fetch.path": str(papers.resolve()), "tracking.register_as": register_as,
    }  # fmt: skip
    changes = [part for key, value in settings.items() for part in ("-S", f"{key}={value}")]
    run = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", name]
    return [*run, *changes, "evaluate"]


def train(root: Path, papers: Path, day: str, register_as: str) -> tuple[str, str]:
    """Train a challenger; return the name of its experiment and the model's digest.

    Raises UserError if the pipeline fails; what it printed is on the terminal.
    """
    name = _unused(root, f"daily-{day}")
    if subprocess.run(command(papers, name, register_as), cwd=root, check=False).returncode:  # noqa: S603
        raise UserError("--retrain: training failed, see above; the champion stays")
    metrics: dict[str, Any] = json.loads(
        git(root, "show", f"{experiment(root, name)}:{_METRICS}") or "{}"
    )
    for line in metrics.get("computed_from", []):
        digest, _, file = line.partition(" ")
        if file == _WEIGHTS:
            return name, digest
    raise UserError(f"--retrain: experiment {name} has no {_METRICS} of a model")


def _unused(root: Path, name: str) -> str:
    number, candidate = 1, name
    while experiment(root, candidate):
        number += 1
        candidate = f"{name}-{number}"
    return candidate


@dataclass(frozen=True)
class Duel:
    """Two models on the same papers. Accuracies are from 0 to 1; p: of an exact McNemar test."""

    papers: int
    challenger: float
    champion: float
    p: float

    @property
    def won(self) -> bool:
        """Whether the challenger is better."""
        return self.challenger > self.champion


def duel(
    challenger: TextClassifier,
    champion: TextClassifier,
    papers: Iterable[Stored],
    categories: Mapping[str, Collection[str]],
    test: float,
    learned: Learned | None,
) -> Duel:
    """Compare two models on the challenger's test papers, those whose hash is below `test`.

    categories: of each class. learned: what the champion may have learned from; None if it has the
    same test papers. Raises UserError if the classes differ or there are no papers.
    """
    if challenger.config.classes != champion.config.classes:
        raise UserError(
            "--retrain: the champion has other classes, so the two cannot be compared; it stays"
        )
    several = challenger.config.multi_label
    held_out = [
        (paper, actual)
        for paper in papers
        if in_test_by_hash(paper.id, test)
        and (actual := classes_of(paper.categories, categories, several=several))
        and not (learned and learned.may_include(paper))
    ]
    if not held_out:
        raise UserError(
            "--retrain: the champion may have learned from all test papers, so the two cannot be "
            "compared; it stays. Papers that arrive from now on can decide"
        )
    new, old = (_right(model, held_out) for model in (challenger, champion))
    compared = compare_correct(new, old, samples=200, confidence=0.95, seed=0)
    return Duel(len(held_out), float(new.mean()), float(old.mean()), float(compared["p_value"]))


def _right(
    classifier: TextClassifier, papers: list[tuple[Stored, frozenset[str]]]
) -> npt.NDArray[np.bool_]:
    right: list[bool] = []
    for start in range(0, len(papers), CHUNK):
        part = papers[start : start + CHUNK]
        likeliest = classifier.classify(texts_of(paper for paper, _ in part))["category"]
        right += [name in classes for name, (_, classes) in zip(likeliest, part, strict=True)]
    return np.array(right, bool)
