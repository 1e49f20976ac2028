"""Papers whose labels a curator should check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from arxiv_hybrid.data.label_set import LabelSet, multi_hot
from arxiv_hybrid.evaluation.ensemble import Classes, classes_of
from arxiv_hybrid.evaluation.predictions import Floats, Labels, Predictions
from arxiv_hybrid.system.errors import UserError

QUALITY = "label_quality"  # the column after which the classes begin
_COLUMNS = ("rank", "id", "title", "label", "suggested", "in_doubt", QUALITY)
_WEIGHT = 0.8  # of the worse labels of a paper, in the moving average of Thyagarajan et al.


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


def review_table(
    papers: pd.DataFrame, label_set: LabelSet, predictions: Predictions
) -> pd.DataFrame:
    """All papers, the most doubtful label first, with a column of probabilities for each class.

    predictions: out of fold, see `evaluation.out_of_fold`. Columns: rank, id, title, label,
    suggested (what the predictions assign), with several labels per paper also in_doubt (the class
    whose label is least probable), label_quality (see `label_quality`), then the classes. Several
    labels are joined by `;`. Raises UserError if a class has the name of a column, or `;` in it.
    """
    names = label_set.names
    if taken := sorted({*names} & {*_COLUMNS}):
        raise UserError(f"a class cannot be called {taken[0]}, as a column of the table is")
    classes, p = classes_of(papers, label_set), predictions.probabilities
    quality = label_quality(classes, p)
    table: dict[str, npt.NDArray[Any]] = {n: papers[n].to_numpy() for n in ("id", "title")}
    if classes.ndim == 2:
        if several := next((name for name in names if ";" in name), None):
            raise UserError(f"class {several}: `;` joins several labels, so no name can have one")
        table["label"] = _joined(classes, label_set)
        table["suggested"] = _joined(predictions.assigned, label_set)
        table["in_doubt"] = np.array(names)[np.where(classes, p, 1 - p).argmin(1)]
    else:
        table["label"], table["suggested"] = (
            np.array(names)[numbers] for numbers in (classes, predictions.likeliest)
        )
    order = np.argsort(quality, kind="stable")
    columns = {name: values[order] for name, values in {**table, QUALITY: quality}.items()}
    shares = pd.DataFrame(p[order], columns=list(names))
    return pd.concat([pd.DataFrame({"rank": np.arange(1, len(p) + 1), **columns}), shares], axis=1)


def label_quality(classes: Classes, p: Floats) -> Floats:
    """How credible the labels of N papers are (N,), from 0 to 1; p: probabilities (N, C).

    One label: its probability p against that of the likeliest other class q, p / (p + q). Several:
    the probabilities that a class is rightly listed, or not listed, averaged so that the worst
    counts most (Thyagarajan et al. 2022).
    """
    if classes.ndim == 1:
        rows = np.arange(len(p))
        given, others = p[rows, classes], p.copy()
        others[rows, classes] = 0
        quality: Floats = given / np.maximum(given + others.max(1), np.finfo(float).tiny)
        return quality
    right = -np.sort(-np.where(classes, p, 1 - p), axis=1)
    average: Floats = right[:, 0]
    for column in right.T[1:]:
        average = _WEIGHT * column + (1 - _WEIGHT) * average
    return average


def estimated_noise(labels: npt.NDArray[np.int64], p: Floats) -> float:
    """Share of labels (N,) that confident learning calls wrong (Northcutt et al. 2021).

    p (N, C): out-of-fold probabilities. A paper counts for a class if its probability is at least
    the mean probability of that class among the papers with that label; of several such classes,
    for the most probable. Classes that overlap count as wrong labels, too.
    """
    number = p.shape[1]
    counts = np.bincount(labels, minlength=number)
    thresholds = [p[labels == c, c].mean() if counts[c] else np.inf for c in range(number)]
    confident = np.where(p >= np.array(thresholds) - 1e-9, p, -1.0)
    counted, guess = confident.max(1) >= 0, confident.argmax(1)
    of_class = np.bincount(labels[counted], minlength=number)
    agreeing = np.bincount(labels[counted & (guess == labels)], minlength=number)
    agreement = np.where(of_class, agreeing / np.maximum(of_class, 1), 1.0)
    return float(1 - counts @ agreement / len(labels))


def _joined(chosen: Labels, label_set: LabelSet) -> npt.NDArray[np.object_]:
    return np.array([";".join(_names(row, label_set)) for row in chosen], dtype=object)
