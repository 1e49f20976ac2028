"""Papers that a curator should look at: confident mistakes, and papers between two classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from arxiv_hybrid.data.labels import listed_classes


@dataclass(frozen=True)
class LabelIssue:
    """A paper, what it is filed under, and what the model says instead.

    probability and filed_probability: of the predicted class and of that under which it is filed;
    listed: whether its authors list the predicted class, too, beside the primary one.
    """

    id: str
    title: str
    filed: str
    predicted: str
    probability: float
    filed_probability: float
    listed: bool


def confidently_wrong(
    papers: pd.DataFrame, probabilities: npt.NDArray[np.float64], names: list[str], count: int
) -> list[LabelIssue]:
    """Mistakes of which the model is surest, the surest first: possible errors of the labels.

    papers: N test papers with labels; probabilities (N, C). Mistakes that name a category which
    the authors list come after those that do not, since they are matters of choice.
    """
    wrong = np.flatnonzero(probabilities.argmax(1) != papers["label"].to_numpy())
    found = _told(papers, probabilities, names, wrong)
    return sorted(found, key=lambda paper: (paper.listed, -paper.probability))[:count]


def hardest(
    papers: pd.DataFrame, probabilities: npt.NDArray[np.float64], names: list[str], count: int
) -> list[LabelIssue]:
    """Papers whose two best classes are closest, right or wrong, the closest first."""
    best = np.sort(probabilities, axis=1)
    order = np.argsort(best[:, -1] - best[:, -2], kind="stable")[:count]
    return _told(papers, probabilities, names, order)


def _told(
    papers: pd.DataFrame,
    probabilities: npt.NDArray[np.float64],
    names: list[str],
    rows: npt.NDArray[np.int64],
) -> list[LabelIssue]:
    listed = listed_classes(papers["all_categories"], len(names))
    labels, predicted = papers["label"].to_numpy(), probabilities.argmax(1)
    return [
        LabelIssue(
            id=str(papers["id"].iloc[row]),
            title=str(papers["title"].iloc[row]),
            filed=names[labels[row]],
            predicted=names[predicted[row]],
            probability=float(probabilities[row, predicted[row]]),
            filed_probability=float(probabilities[row, labels[row]]),
            listed=bool(listed[row, predicted[row]]),
        )
        for row in rows
    ]
