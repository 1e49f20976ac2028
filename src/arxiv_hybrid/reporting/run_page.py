"""The last run on one page: scores, data, curves, calibration, papers, changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from arxiv_hybrid.audit.report import best_possible
from arxiv_hybrid.evaluation.attention import Explanation
from arxiv_hybrid.evaluation.label_issues import LabelIssue
from arxiv_hybrid.params import Params
from arxiv_hybrid.reporting.attention_page import pieces
from arxiv_hybrid.reporting.changes import Changes
from arxiv_hybrid.reporting.charts import Chart
from arxiv_hybrid.reporting.page import render

PARAMS_SHOWN = ("model", "recipe", "seed", "dropout", "learning_rate", "batch_size", "epochs",
                "class_weights", "loss", "embeddings", "pretrained", "precision")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """The outputs of a run.

    metrics: the content of metrics/NAME.json by name (audit, vocab, baseline, train, evaluate,
    ensemble). curves, confusion, reliability: the tables behind the plots. wrong, hard: papers
    whose label to check, see `evaluation.label_issues`.
    """

    params: Params
    metrics: dict[str, dict[str, Any]]
    curves: pd.DataFrame
    confusion: pd.DataFrame
    reliability: pd.DataFrame
    wrong: list[LabelIssue]
    hard: list[LabelIssue]
    explained: list[Explanation]
    changes: Changes | None


def run_page(run: LastRun) -> str:
    """HTML about a run."""
    names = list(run.metrics["evaluate"]["per_class"])
    counts = pd.crosstab(run.confusion["actual"], run.confusion["predicted"])
    params = run.params.model_dump(mode="json")
    content = {
        "run": run,
        "names": names,
        "ceiling": best_possible(run.metrics["audit"]),
        "charts": _learning_curves(run.curves),
        "reliability": _reliability_diagram(run.reliability),
        "counts": counts.reindex(index=names, columns=names, fill_value=0),
        "papers": [
            (paper, [(part, pieces(part)) for part in (paper.title, paper.abstract)])
            for paper in run.explained
        ],
        "shown_params": {name: params[name] for name in PARAMS_SHOWN},
    }
    return render("run.html", content)


def _learning_curves(curves: pd.DataFrame) -> list[Chart]:
    charts = []
    for name, percent in (("loss", False), ("accuracy", True)):
        lines = {
            label: list(zip(curves["epoch"], curves[f"{part}_{name}"], strict=True))
            for label, part in (("training", "train"), ("validation", "val"))
        }
        charts.append(Chart(f"{name} by epoch", "epoch", name, lines, percent=percent))
    return charts


def _reliability_diagram(bins: pd.DataFrame) -> Chart:
    line = list(zip(bins["confidence"], bins["accuracy"], strict=True))
    shares = (0.0, 1.0)
    return Chart("accuracy by confidence", "confidence", "accuracy", {"this model": line},
                 x=shares, y=shares, percent=True, diagonal=True)  # fmt: skip
