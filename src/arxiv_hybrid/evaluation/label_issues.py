"""Papers whose labels a curator should check."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from arxiv_hybrid.data.label_set import LabelSet, multi_hot
from arxiv_hybrid.evaluation.predictions import Labels, Predictions


@dataclass(frozen=True)
class LabelIssue:
    """A paper with a label and a class that the model thinks of, each with its probability.

    listed: whether the paper's authors list the predicted class as well.
    """

    id: str
    title: str
    label: str
    predicted: str
    label_probability: float
    predicted_probability: float
    listed: bool


def confidently_wrong(
    papers: pd.DataFrame, label_set: LabelSet, predictions: Predictions, count: int
) -> list[LabelIssue]:
    """The model's most confident mistakes: possible label errors, the most confident first.

    Where the authors list the predicted class as well, the label is a matter of choice, so these
    papers come last.
    """
    wrong = np.flatnonzero(predictions.likeliest != papers["label"].to_numpy())
    issues = _label_issues(papers, label_set, predictions, wrong)
    return sorted(issues, key=lambda issue: (issue.listed, -issue.predicted_probability))[:count]


def hardest(
    papers: pd.DataFrame, label_set: LabelSet, predictions: Predictions, count: int
) -> list[LabelIssue]:
    """Papers whose two most probable classes are closest, right or wrong, the closest first."""
    ordered = np.sort(predictions.probabilities, axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    rows = np.argsort(margins, kind="stable")[:count]
    return _label_issues(papers, label_set, predictions, rows)


@dataclass(frozen=True)
class LabelDoubt:
    """A paper with several labels, and one class whose label is doubtful.

    label, probability: the class in doubt and its probability. listed, assigned: the paper's
    classes and those that the model assigns.
    """

    id: str
    title: str
    label: str
    probability: float
    listed: list[str]
    assigned: list[str]


def missing_labels(
    papers: pd.DataFrame, label_set: LabelSet, predictions: Predictions, count: int
) -> list[LabelDoubt]:
    """The most probable classes that papers do not list, at most one per paper.

    Together with `doubtful_labels` this is the ranking by self-confidence of confident learning
    with several labels (Thyagarajan et al. 2022).
    """
    listed = multi_hot(papers["labels"], len(label_set))
    p = np.where(listed, -1.0, predictions.probabilities)
    rows = np.argsort(-p.max(1), kind="stable")[:count]
    rows = rows[~listed[rows].all(1)]
    return _label_doubts(papers, label_set, predictions, rows, p.argmax(1))


def doubtful_labels(
    papers: pd.DataFrame, label_set: LabelSet, predictions: Predictions, count: int
) -> list[LabelDoubt]:
    """The least probable classes that papers list, at most one per paper."""
    listed = multi_hot(papers["labels"], len(label_set))
    p = np.where(listed, predictions.probabilities, 2.0)
    rows = np.argsort(p.min(1), kind="stable")[:count]
    return _label_doubts(papers, label_set, predictions, rows, p.argmin(1))


def _label_doubts(
    papers: pd.DataFrame,
    label_set: LabelSet,
    predictions: Predictions,
    rows: npt.NDArray[np.int64],
    doubtful: npt.NDArray[np.int64],
) -> list[LabelDoubt]:
    listed = multi_hot(papers["labels"].iloc[rows], len(label_set))
    return [
        LabelDoubt(
            id=str(papers["id"].iloc[row]),
            title=str(papers["title"].iloc[row]),
            label=label_set.names[doubtful[row]],
            probability=float(predictions.probabilities[row, doubtful[row]]),
            listed=_names(listed[number], label_set),
            assigned=_names(predictions.assigned[row], label_set),
        )
        for number, row in enumerate(rows)
    ]


def _names(chosen: Labels, label_set: LabelSet) -> list[str]:
    return [label_set.names[number] for number in np.flatnonzero(chosen)]


def _label_issues(
    papers: pd.DataFrame,
    label_set: LabelSet,
    predictions: Predictions,
    rows: npt.NDArray[np.int64],
) -> list[LabelIssue]:
    names, p = label_set.names, predictions.probabilities
    listed = multi_hot(papers["labels"], len(label_set))
    labels, predicted = papers["label"].to_numpy(), predictions.likeliest
    return [
        LabelIssue(
            id=str(papers["id"].iloc[row]),
            title=str(papers["title"].iloc[row]),
            label=names[labels[row]],
            predicted=names[predicted[row]],
            label_probability=float(p[row, labels[row]]),
            predicted_probability=float(p[row, predicted[row]]),
            listed=bool(listed[row, predicted[row]]),
        )
        for row in rows
    ]
