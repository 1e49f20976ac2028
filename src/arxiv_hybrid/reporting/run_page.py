"""The last run on one page: scores, data, curves, calibration, papers, changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from arxiv_hybrid.data.class_groups import FEW, by_archive
from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.evaluation.attention import Explanation
from arxiv_hybrid.evaluation.classes import worst_and_best
from arxiv_hybrid.evaluation.confusion import ConfusionTable
from arxiv_hybrid.evaluation.label_issues import LabelDoubt, LabelIssue
from arxiv_hybrid.evaluation.measures import main_measure, p_value_text, shown_measures
from arxiv_hybrid.evaluation.summary import ceiling, gains, majority
from arxiv_hybrid.params import Params
from arxiv_hybrid.reporting.attention_page import pieces
from arxiv_hybrid.reporting.changes import Changes
from arxiv_hybrid.reporting.charts import Chart
from arxiv_hybrid.reporting.page import render
from arxiv_hybrid.reporting.run_metrics import Metrics, RunMetrics, command
from arxiv_hybrid.reporting.search import Search

PARAMS_SHOWN = ("model", "recipe", "seed", "dropout", "learning_rate", "batch_size", "epochs",
                "class_weights", "loss", "embeddings", "pretrained", "precision")  # fmt: skip
MORE_MEASURES = {"recall_at_3": "recall@3", "label_ranking_average_precision": "label ranking"}


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """The outputs of a run.

    model: the classifier in one line. unknown_words: the share of words in test papers that it
    does not know. classes, baseline_classes: see `evaluation.classes.class_rows`. mistakes: see
    `evaluation.confusion.frequent_mistakes`. curves, reliability: the tables behind the plots.
    wrong, hard, or with several labels per paper missing, doubtful: papers whose labels to check,
    see `evaluation.label_issues`. outdated: why the scores are not those of `params`, if so.
    curves and baseline_classes are None if `metrics` has none of their stage. search: None without
    a search that has finished trials.
    """

    params: Params
    label_set: LabelSet
    model: str
    metrics: RunMetrics
    unknown_words: float
    curves: pd.DataFrame | None
    classes: pd.DataFrame
    baseline_classes: pd.DataFrame | None
    confusion: ConfusionTable
    mistakes: list[tuple[int, int, int]]
    reliability: pd.DataFrame
    wrong: list[LabelIssue]
    hard: list[LabelIssue]
    missing: list[LabelDoubt]
    doubtful: list[LabelDoubt]
    explained: list[Explanation]
    changes: Changes | None
    outdated: str | None
    search: Search | None = None


def run_page(run: LastRun) -> str:
    """HTML about a run."""
    params = run.params.model_dump(mode="json")
    metrics = run.metrics.current
    model = metrics["evaluate"]
    content = {
        "run": run,
        "several": run.label_set.multi_label,
        "names": run.label_set.names,
        "measures": shown_measures(model),
        "main": next(iter(shown_measures(model))),
        "more_measures": MORE_MEASURES if run.label_set.multi_label else {},
        "score": main_measure(model),
        "gains": gains(model),
        "metrics": metrics,
        "absent": run.metrics.absent,
        "command": command,
        "rows": _score_rows(metrics),
        "ceiling": ceiling(metrics),
        "p_value": p_value_text(model["against_baseline"]["p_value"]),
        "charts": _learning_curves(run.curves, next(iter(shown_measures(model).values()))),
        "reliability": _reliability_diagram(run.reliability),
        "papers": [
            (paper, [(part, pieces(part)) for part in (paper.title, paper.abstract)])
            for paper in run.explained
        ],
        "shown_params": {name: params[name] for name in PARAMS_SHOWN},
        **_class_tables(run),
    }
    return render("run.html", content)


def _score_rows(metrics: Metrics) -> list[tuple[str, dict[str, Any], str]]:
    """Name, scores and colour of what is compared, as far as its scores are known."""
    limit = ceiling(metrics)
    rows = [
        ("majority class", majority(metrics), "c"),
        ("TF-IDF + linear", metrics.get("baseline"), "b"),
        ("this model", metrics["evaluate"], "a"),
        ("ensemble", metrics.get("ensemble"), "a"),
        ("oracle ceiling", None if limit is None else {"accuracy": limit}, "c"),
    ]
    return [(name, scores, colour) for name, scores, colour in rows if scores is not None]


def _class_tables(run: LastRun) -> dict[str, Any]:
    """Scores by class: the worst and the best of many, and all by archive."""
    table = run.classes
    if run.baseline_classes is not None:
        other = run.baseline_classes.set_index("class")["f1"]
        table = table.assign(baseline=table["class"].map(other))
    worst, best = worst_and_best(table)
    groups = {
        archive: table[table["class"].isin(names)]
        for archive, names in by_archive(run.label_set).items()
    }
    return {"worst": worst, "best": best, "groups": groups if len(table) > FEW else {}}


def _learning_curves(curves: pd.DataFrame | None, score: str) -> list[Chart]:
    """A chart of the loss, and one of the score: the share of right predictions."""
    charts: list[Chart] = []
    if curves is None:
        return charts
    for name, shown, percent in (("loss", "loss", False), ("accuracy", score, True)):
        lines = {
            label: list(zip(curves["epoch"], curves[f"{part}_{name}"], strict=True))
            for label, part in (("training", "train"), ("validation", "val"))
        }
        charts.append(Chart(f"{shown} by epoch", "epoch", shown, lines, percent=percent))
    return charts


def _reliability_diagram(bins: pd.DataFrame) -> Chart:
    line = list(zip(bins["confidence"], bins["accuracy"], strict=True))
    shares = (0.0, 1.0)
    return Chart("accuracy by confidence", "confidence", "accuracy", {"this model": line},
                 x=shares, y=shares, percent=True, diagonal=True)  # fmt: skip
