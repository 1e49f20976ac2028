"""Which classes are taken for which, as matrices and as tables that stay readable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from arxiv_hybrid.data.class_groups import FEW
from arxiv_hybrid.data.label_set import LabelSet, multi_hot
from arxiv_hybrid.evaluation.metrics import confusion
from arxiv_hybrid.evaluation.predictions import Floats, Labels, Predictions
from arxiv_hybrid.system.cells import plot_safe

Counts = npt.NDArray[np.int64]
CONFUSED = 12  # of many classes, those in a matrix
OTHERS = "other classes"


def predicted_beside_actual(
    papers: pd.DataFrame, label_set: LabelSet, predictions: Predictions
) -> Counts:
    """Counts (C, C): papers of the class in the row for which the class in the column is predicted.

    With one label per paper this is the confusion matrix. With several, a paper counts for each
    pair of a listed and an assigned class, and the diagonal has the papers whose class was found.
    """
    if not label_set.multi_label:
        return confusion(papers["label"].to_numpy(), predictions.likeliest, len(label_set))
    listed = multi_hot(papers["labels"], len(label_set))
    return _products(listed, predictions.assigned)


def mistakes(papers: pd.DataFrame, label_set: LabelSet, predictions: Predictions) -> Counts:
    """Counts (C, C): papers where the class in the column was predicted instead of the row's.

    With several labels: a listed class was not assigned, and one that is not listed was.
    """
    if not label_set.multi_label:
        counts = predicted_beside_actual(papers, label_set, predictions)
        np.fill_diagonal(counts, 0)
        return counts
    listed, assigned = multi_hot(papers["labels"], len(label_set)), predictions.assigned
    return _products(listed & ~assigned, assigned & ~listed)


def most_confused(wrong: Counts, number: int = CONFUSED) -> list[int]:
    """The classes with the most `mistakes`, as actual or predicted class, in their own order."""
    involved = wrong.sum(0) + wrong.sum(1)
    return sorted(np.argsort(-involved, kind="stable")[:number].tolist())


def frequent_mistakes(wrong: Counts, number: int) -> list[tuple[int, int, int]]:
    """The most frequent `mistakes`: actual class, predicted class, papers; the most frequent first.

    At most `number`, none without papers.
    """
    order = np.argsort(-wrong, axis=None, kind="stable")[:number]
    rows, columns = np.unravel_index(order, wrong.shape)
    return [
        (int(i), int(j), int(wrong[i, j]))
        for i, j in zip(rows, columns, strict=True)
        if wrong[i, j]
    ]


@dataclass(frozen=True)
class ConfusionTable:
    """Counts (K, K) of K classes, and the papers (K,) that have each of them.

    complete: whether these are all classes of the run.
    """

    names: list[str]
    counts: Counts
    papers: Counts
    complete: bool

    @property
    def shares(self) -> Floats:
        """Counts as shares of the papers of the class in the row, (K, K)."""
        result: Floats = self.counts / self.papers.clip(min=1)[:, None]
        return result


def confusion_table(
    papers: pd.DataFrame, label_set: LabelSet, predictions: Predictions
) -> ConfusionTable:
    """`predicted_beside_actual` of all classes, or of many the most confused."""
    counts = predicted_beside_actual(papers, label_set, predictions)
    column = "labels" if label_set.multi_label else "label"
    sizes = np.bincount(papers[column].explode().astype(np.int64), minlength=len(label_set))
    shown = list(range(len(label_set)))
    if len(label_set) > FEW:
        shown = most_confused(mistakes(papers, label_set, predictions))
    return ConfusionTable(
        [label_set.names[number] for number in shown],
        counts[np.ix_(shown, shown)],
        sizes[shown],
        len(shown) == len(label_set),
    )


def confusion_rows(
    papers: pd.DataFrame, label_set: LabelSet, predictions: Predictions
) -> pd.DataFrame:
    """Rows with the columns `actual` and `predicted`, for DVC's confusion plots.

    With one label per paper and few classes, one row per paper. Otherwise one row per paper and
    pair of classes; of many classes only the most confused ones have rows, and what else was
    predicted for their papers is `other classes`.
    """
    names = np.array([*label_set.names, OTHERS], dtype=object)
    if not label_set.multi_label and len(label_set) <= FEW:
        labels = papers["label"].to_numpy()
        pairs = {"actual": names[labels], "predicted": names[predictions.likeliest]}
        return plot_safe(pd.DataFrame(pairs))
    counts = predicted_beside_actual(papers, label_set, predictions)
    if len(label_set) > FEW:
        shown = most_confused(mistakes(papers, label_set, predictions))
        others = counts[shown].sum(1) - counts[np.ix_(shown, shown)].sum(1)
        counts = np.column_stack([counts[np.ix_(shown, shown)], others])
        names = names[[*shown, len(label_set)]]
    rows, columns = np.nonzero(counts)
    times = counts[rows, columns]
    pairs = {"actual": np.repeat(names[rows], times), "predicted": np.repeat(names[columns], times)}
    return plot_safe(pd.DataFrame(pairs))


def count_rows(counts: Counts, class_names: list[str]) -> pd.DataFrame:
    """Columns actual, predicted and papers: one row per pair of classes with any paper."""
    rows, columns = np.nonzero(counts)
    names = np.array(class_names, dtype=object)
    return pd.DataFrame(
        {"actual": names[rows], "predicted": names[columns], "papers": counts[rows, columns]}
    )


def _products(rows: Labels, columns: Labels) -> Counts:
    """Papers that have the class in the row in the first matrix and the column's in the second."""
    from scipy import sparse

    first, second = (
        sparse.csr_matrix(rows, dtype=np.int64),
        sparse.csr_matrix(columns, dtype=np.int64),
    )
    product: Counts = (first.T @ second).toarray()
    return product
