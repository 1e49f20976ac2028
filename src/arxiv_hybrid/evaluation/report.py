"""The content of metrics/baseline.json, evaluate.json and ensemble.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from arxiv_hybrid.data.label_set import LabelSet, multi_hot
from arxiv_hybrid.data.table import PaperTable
from arxiv_hybrid.evaluation import metrics, multi_label
from arxiv_hybrid.evaluation.predictions import Floats, Labels, Predictions

if TYPE_CHECKING:
    from arxiv_hybrid.params import Params
    from arxiv_hybrid.params.schema import Evaluate


def scores(
    papers: PaperTable, label_set: LabelSet, predictions: Predictions, settings: Evaluate
) -> dict[str, Any]:
    """The scores of predictions on N papers; see `metrics.scores` and `multi_label.scores`."""
    names, bins = list(label_set.names), settings.calibration_bins
    listed = multi_hot(papers["labels"], len(names))
    if label_set.multi_label:
        return multi_label.scores(listed, predictions, names, calibration_bins=bins)
    labels, p = papers["label"].to_numpy(), predictions.probabilities
    return metrics.scores(labels, p, names, listed=listed, calibration_bins=bins)


def full_report(
    papers: pd.DataFrame,
    label_set: LabelSet,
    predictions: Predictions,
    baseline: Predictions,
    params: Params,
) -> dict[str, Any]:
    """`scores` with intervals, a comparison with the baseline, and what the model is unsure of."""
    settings = params.evaluate
    sampling: dict[str, Any] = {
        "samples": settings.bootstrap,
        "confidence": settings.confidence,
        "seed": params.seed,
    }
    report = scores(papers, label_set, predictions, settings)
    if label_set.multi_label:
        listed = multi_hot(papers["labels"], len(label_set))
        ours, theirs = (multi_label.Outcome.of(listed, each) for each in (predictions, baseline))
        report |= multi_label.intervals(ours, **sampling)
        report["against_baseline"] = multi_label.paired_comparison(ours, theirs, **sampling)
        right = ours.first
    else:
        labels = papers["label"].to_numpy()
        right = (predictions.likeliest == labels).astype(np.float64)
        report["accuracy_interval"] = metrics.bootstrap_interval(right, **sampling)
        report["against_baseline"] = metrics.paired_comparison(
            labels, predictions.probabilities, baseline.probabilities, **sampling
        )
    if predictions.unsure is not None:
        report["unsure"] = _unsure(predictions.unsure, right)
    return report


def _unsure(unsure: Labels, right: Floats) -> dict[str, float | None]:
    """The share of papers that a classifier calls unsure, and how often it is right on each kind.

    None where there are no such papers.
    """
    parts = {"right_if_unsure": right[unsure], "right_otherwise": right[~unsure]}
    means = {name: float(part.mean()) if len(part) else None for name, part in parts.items()}
    return {"share": float(unsure.mean()), **means}


def reliability_rows(
    papers: pd.DataFrame, label_set: LabelSet, predictions: Predictions, bins: int
) -> pd.DataFrame:
    """Columns confidence and accuracy, one row per bin: of the likeliest class, or of all classes.

    See `metrics.reliability` and `multi_label.reliability`.
    """
    p = predictions.probabilities
    if label_set.multi_label:
        listed = multi_hot(papers["labels"], len(label_set))
        return pd.DataFrame(multi_label.reliability(listed, p, bins))
    return pd.DataFrame(metrics.reliability(papers["label"].to_numpy(), p, bins))


def majority_scores(train: PaperTable, test: PaperTable, label_set: LabelSet) -> dict[str, float]:
    """The measures of always assigning the class that most training papers list, and no other."""
    listed = [multi_hot(papers["labels"], len(label_set)) for papers in (train, test)]
    shares = np.tile(listed[0].mean(0), (len(test), 1))
    nothing_else = np.full(len(label_set), np.inf)
    outcome = multi_label.Outcome.of(listed[1], Predictions(shares, nothing_else))
    measures = outcome.measures(np.ones((1, len(test))))
    return {name: float(value[0]) for name, value in measures.items()}
