"""The tables of an evaluation: all of them, and the readable ones that DVC plots."""

from __future__ import annotations

from typing import Any

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
    """By name: the scores of every class, and every pair of actual and predicted class.

    report: the result of `full_report`.
    """
    counts = predicted_beside_actual(papers, label_set, predictions)
    return {
        "classes": spreadsheet_safe(class_rows(report["per_class"])),
        "confusion": spreadsheet_safe(count_rows(counts, list(label_set.names))),
    }


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
