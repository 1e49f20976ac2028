"""The content of metrics/evaluate.json and metrics/ensemble.json, and the summary of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from arxiv_hybrid.audit.report import best_possible
from arxiv_hybrid.data.label_set import multi_hot
from arxiv_hybrid.evaluation.metrics import bootstrap_interval, paired_comparison, scores

if TYPE_CHECKING:
    from arxiv_hybrid.params import Params

Probabilities = npt.NDArray[np.float64]


def full_report(
    papers: pd.DataFrame,
    probabilities: Probabilities,
    baseline: Probabilities,
    class_names: list[str],
    params: Params,
) -> dict[str, Any]:
    """All scores of `probabilities` (N, C) on N papers, and a comparison with `baseline` (N, C)."""
    settings = params.evaluate
    labels = papers["label"].to_numpy()
    sampling: dict[str, Any] = {
        "samples": settings.bootstrap,
        "confidence": settings.confidence,
        "seed": params.seed,
    }
    report = scores(
        labels,
        probabilities,
        class_names,
        listed=multi_hot(papers["labels"], len(class_names)),
        calibration_bins=settings.calibration_bins,
    )
    right = (probabilities.argmax(1) == labels).astype(np.float64)
    report["accuracy_interval"] = bootstrap_interval(right, **sampling)
    report["against_baseline"] = paired_comparison(labels, probabilities, baseline, **sampling)
    return report


def prediction_rows(
    labels: npt.NDArray[np.int64], probabilities: Probabilities, class_names: list[str]
) -> pd.DataFrame:
    """One row per paper with columns `actual` and `predicted`, for DVC's confusion plots."""
    names = np.array(class_names)
    return pd.DataFrame({"actual": names[labels], "predicted": names[probabilities.argmax(1)]})


def class_rows(report: dict[str, Any]) -> pd.DataFrame:
    """One row per class: its name and its scores, from a report's `per_class`."""
    rows = [{"class": name, **class_scores} for name, class_scores in report["per_class"].items()]
    return pd.DataFrame(rows)[["class", "precision", "recall", "f1", "support"]]


def summary_table(metrics: dict[str, dict[str, Any]], places: dict[str, str]) -> str:
    """The table at the end of `make repro`.

    metrics: the content of metrics/NAME.json by name. places: where each output is, by
    name.
    """
    model = metrics["evaluate"]
    gain = model["against_baseline"]
    lines = ["", f"{'on the test papers':<20}{'accuracy':>10}{'macro-F1':>10}", "-" * 40]
    for name, accuracy, f1, remark in _summary_rows(metrics):
        f1_column = f"{f1:>10.2%}" if f1 is not None else " " * 10
        lines.append(f"{name:<20}{accuracy:>10.2%}{f1_column}  {remark}".rstrip())
    lines.append("")
    lines.append(
        f"against the baseline: {gain['gain']:+.2%} "
        f"({gain['gain_interval'][0]:+.2%} to {gain['gain_interval'][1]:+.2%}), "
        f"McNemar p = {gain['p_value']:.2g}, on {model['papers']:,} papers"
    )
    lines += [f"{name + ':':<20}{place}" for name, place in places.items()]
    return "\n".join(lines)


def _summary_rows(
    metrics: dict[str, dict[str, Any]],
) -> list[tuple[str, float, float | None, str]]:
    """Name, accuracy, macro-F1 where it is known, and a remark."""
    audit, base = metrics["audit"], metrics["baseline"]
    model, votes = metrics["evaluate"], metrics["ensemble"]
    low, high = model["accuracy_interval"]
    ceiling = best_possible(audit)
    if ceiling < 1:
        ceiling_remark = "the highest expected accuracy without leakage"
    else:
        ceiling_remark = "each paper has one label; how many are wrong is unknown"
    return [
        ("majority class", audit["task"]["majority_accuracy"], None, ""),
        ("TF-IDF + linear", base["accuracy"], base["macro_f1"], ""),
        (
            "this model",
            model["accuracy"],
            model["macro_f1"],
            f"interval {low:.1%} to {high:.1%}",
        ),
        ("ensemble", votes["accuracy"], votes["macro_f1"], f"{len(votes['members'])} members"),
        ("oracle ceiling", ceiling, None, ceiling_remark),
    ]
