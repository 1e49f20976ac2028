"""Papers whose label a curator should check: confident mistakes, and ties between two classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from arxiv_hybrid.data.label_set import multi_hot


@dataclass(frozen=True)
class LabelIssue:
    """A paper with its label and the model's prediction, each with its probability.

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
    papers: pd.DataFrame, probabilities: npt.NDArray[np.float64], names: list[str], count: int
) -> list[LabelIssue]:
    """The model's most confident mistakes: possible label errors, the most confident first.

    papers: N labelled papers; probabilities: (N, C). Where the authors list the predicted class
    as well, the label is a matter of choice, so these papers come last.
    """
    wrong = np.flatnonzero(probabilities.argmax(1) != papers["label"].to_numpy())
    issues = _label_issues(papers, probabilities, names, wrong)
    return sorted(issues, key=lambda issue: (issue.listed, -issue.predicted_probability))[:count]


def hardest(
    papers: pd.DataFrame, probabilities: npt.NDArray[np.float64], names: list[str], count: int
) -> list[LabelIssue]:
    """Papers whose two most probable classes are closest, right or wrong, the closest first."""
    ordered = np.sort(probabilities, axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    return _label_issues(papers, probabilities, names, np.argsort(margins, kind="stable")[:count])


def _label_issues(
    papers: pd.DataFrame,
    probabilities: npt.NDArray[np.float64],
    names: list[str],
    rows: npt.NDArray[np.int64],
) -> list[LabelIssue]:
    listed = multi_hot(papers["labels"], len(names))
    labels, predicted = papers["label"].to_numpy(), probabilities.argmax(1)
    return [
        LabelIssue(
            id=str(papers["id"].iloc[row]),
            title=str(papers["title"].iloc[row]),
            label=names[labels[row]],
            predicted=names[predicted[row]],
            label_probability=float(probabilities[row, labels[row]]),
            predicted_probability=float(probabilities[row, predicted[row]]),
            listed=bool(listed[row, predicted[row]]),
        )
        for row in rows
    ]
