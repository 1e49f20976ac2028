"""The tables of an evaluation: all of them, and the readable ones that DVC plots."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.evaluation.classes import class_rows, worst_and_best
from arxiv_hybrid.evaluation.confusion import confusion_rows, count_rows, predicted_beside_actual
from arxiv_hybrid.evaluation.predictions import Predictions
from arxiv_hybrid.evaluation.report import reliability_rows
from arxiv_hybrid.system.cells import plot_safe, spreadsheet_safe


def full_tables(
    papers: pd.DataFrame, label_set: LabelSet, predictions: Predictions, report: dict[str, Any]
) -> dict[str, pd.DataFrame]:
    """By name: the scores of every class, every pair of actual and predicted class, every paper.

    report: the result of `full_report`.
    """
    counts = predicted_beside_actual(papers, label_set, predictions)
    return {
        "classes": spreadsheet_safe(class_rows(report["per_class"])),
        "confusion": spreadsheet_safe(count_rows(counts, list(label_set.names))),
        "predictions": spreadsheet_safe(prediction_rows(papers, label_set, predictions)),
    }


def prediction_rows(
    papers: pd.DataFrame, label_set: LabelSet, predictions: Predictions
) -> pd.DataFrame:
    """One row per paper: id, actual, predicted, probability, correct.

    actual: the paper's class, or all that it lists, joined by `;`. predicted: the likeliest class,
    with its probability. correct: whether it is the paper's, or one that the paper lists.
    """
    names, likeliest = np.array(label_set.names, dtype=object), predictions.likeliest
    listed = papers["labels"] if label_set.multi_label else papers["label"].map(lambda n: [n])
    return pd.DataFrame(
        {
            "id": papers["id"].to_numpy(),
            "actual": [";".join(names[numbers]) for numbers in listed],
            "predicted": names[likeliest],
            "probability": predictions.probabilities.max(1),
            "correct": [n in numbers for n, numbers in zip(likeliest, listed, strict=True)],
        }
    )


def plot_tables(
    papers: pd.DataFrame,
    label_set: LabelSet,
    predictions: Predictions,
    report: dict[str, Any],
    calibration_bins: int,
) -> dict[str, pd.DataFrame]:
    """By name, the data of the plots; of many classes they have the worst and the best."""
    return {
        "classes": plot_safe(pd.concat(worst_and_best(class_rows(report["per_class"])))),
        "confusion": confusion_rows(papers, label_set, predictions),
        "reliability": reliability_rows(papers, label_set, predictions, calibration_bins),
    }
