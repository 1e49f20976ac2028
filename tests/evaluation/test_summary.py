"""The summary of a run, and the lines that stages print."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from random_predictions import at, label_set, one_class, papers_listing, several_classes

from arxiv_hybrid.data.class_groups import FEW
from arxiv_hybrid.evaluation.classes import class_rows
from arxiv_hybrid.evaluation.measures import headline, main_measure, p_value_text
from arxiv_hybrid.evaluation.predictions import Predictions
from arxiv_hybrid.evaluation.report import full_report, majority_scores
from arxiv_hybrid.evaluation.summary import (
    against_baseline,
    evaluation_line,
    if_baseline_wins,
    summary_table,
)
from arxiv_hybrid.params import Params
from arxiv_hybrid.reporting.run_metrics import RunMetrics

PLACES = {"model": "models/main/"}


@pytest.fixture
def report(tiny_params: Params) -> dict[str, Any]:
    labels, p = one_class()
    papers = pd.DataFrame({"label": labels, "labels": [[label] for label in labels]})
    predictions = Predictions(p, unsure=p.max(1) < 0.5)
    baseline = Predictions(one_class(skill=1.0)[1])
    return full_report(papers, label_set(3, multi_label=False), predictions, baseline, tiny_params)


def several(params: Params, classes: int) -> dict[str, Any]:
    listed, p = several_classes(classes=classes)
    papers = papers_listing(listed)
    baseline = at(0.5, several_classes(skill=2.0, classes=classes)[1])
    return full_report(papers, label_set(classes, multi_label=True), at(0.5, p), baseline, params)


def table(report: dict[str, Any], task: dict[str, Any], **baseline: Any) -> str:
    metrics = {
        "audit": {"task": task},
        "baseline": baseline,
        "evaluate": report,
        "ensemble": {**report, "members": {"main": {}, "x": {}}},
    }
    return summary_table(metrics, class_rows(report["per_class"]), PLACES)


def test_the_summary_compares_the_model_with_baseline_and_ceiling(report: dict[str, Any]) -> None:
    task = {"majority_accuracy": 0.4, "oracle_accuracy": 1.0, "label_ceiling": 0.88}
    text = table(report, task, accuracy=0.8, macro_f1=0.79)
    for part in ("TF-IDF + linear", "80.00%", "79.00%", "88.00%", "models/main/", "McNemar",
                 "majority class", "40.00%", "2 members", "oracle ceiling"):  # fmt: skip
        assert part in text
    assert f"{report['accuracy']:.2%}" in text
    assert "lowest F1" not in text, "few classes"


def test_without_a_known_limit_there_is_no_ceiling(report: dict[str, Any]) -> None:
    task = {"majority_accuracy": 0.4, "oracle_accuracy": 1.0, "label_ceiling": None}
    text = table(report, task, accuracy=0.8, macro_f1=0.79)
    assert "ceiling" not in text
    assert "100.00%" not in text


def test_unsure_papers_are_counted(report: dict[str, Any]) -> None:
    unsure = report["unsure"]
    assert 0 < unsure["share"] < 1
    assert unsure["right_if_unsure"] < report["accuracy"] < unsure["right_otherwise"]
    task = {"majority_accuracy": 0.4, "oracle_accuracy": 1.0, "label_ceiling": None}
    text = table(report, task, accuracy=0.8, macro_f1=0.79)
    assert f"unsure about {unsure['share']:.1%} of the papers" in text


def test_the_summary_of_several_classes_shows_its_measures(tiny_params: Params) -> None:
    report = several(tiny_params, 5)
    papers = papers_listing(several_classes()[0])
    majority = majority_scores(papers, papers, label_set(5, multi_label=True))
    scores = {"precision_at_1": 0.61, "micro_f1": 0.62, "macro_f1": 0.63, "sample_f1": 0.64}
    text = table(report, {}, **scores, majority=majority)
    for part in ("precision@1", "micro-F1", "macro-F1", "sample-F1", "61.00%", "64.00%",
                 f"{report['micro_f1']:.2%}", f"{majority['sample_f1']:.2%}"):  # fmt: skip
        assert part in text
    assert "oracle" not in text
    gain = report["against_baseline"]["micro_f1"]
    assert f"micro-F1 {gain['gain']:+.2%}" in text
    lines = [line for line in text.splitlines() if "%" in line and "against" not in line]
    assert all(line.count("%") >= 4 for line in lines)
    assert max(map(len, text.splitlines())) < 140


def test_the_worst_and_best_of_many_classes_are_named(tiny_params: Params) -> None:
    report = several(tiny_params, FEW + 6)
    scores = dict.fromkeys(("precision_at_1", "micro_f1", "macro_f1", "sample_f1"), 0.5)
    text = table(report, {}, **scores, majority=scores)
    lowest, highest = (
        next(line for line in text.splitlines() if line.startswith(name))
        for name in ("lowest F1", "highest F1")
    )
    worst = min(report["per_class"], key=lambda name: report["per_class"][name]["f1"])
    best = max(report["per_class"], key=lambda name: report["per_class"][name]["f1"])
    assert lowest.split()[2] == worst
    assert highest.split()[2] == best


def test_majority_scores() -> None:
    listed = several_classes()[0]
    papers = papers_listing(listed)
    largest = listed.sum(0).argmax()
    scores = majority_scores(papers, papers, label_set(5, multi_label=True))
    assert scores["precision_at_1"] == pytest.approx(listed[:, largest].mean())
    hits = listed[:, largest].sum()
    assert scores["micro_f1"] == pytest.approx(2 * hits / (len(listed) + listed.sum()))


def test_one_line_says_how_a_model_did(report: dict[str, Any], tiny_params: Params) -> None:
    line = evaluation_line(report)
    assert line.startswith(f"accuracy {report['accuracy']:.2%}, macro-F1 ")
    assert f"{report['against_baseline']['gain']:+.2%} over the baseline (p < 0.0001)" in line
    assert main_measure(report) == report["accuracy"]
    line = evaluation_line(several(tiny_params, 5))
    assert line.startswith("precision@1 ")
    assert line.count("micro-F1") == 2
    assert headline(report) in evaluation_line(report)


@pytest.mark.parametrize(
    ("p_value", "text"),
    [(0.0, "p < 0.0001"), (0.000099, "p < 0.0001"), (0.0001, "p = 0.0001"), (0.831812, "p = 0.83"),
     (1.0, "p = 1")],
)  # fmt: skip
def test_a_p_value_is_never_zero(p_value: float, text: str, report: dict[str, Any]) -> None:
    assert p_value_text(p_value) == text
    compared = {**report, "against_baseline": {**report["against_baseline"], "p_value": p_value}}
    assert f"({text})" in evaluation_line(compared)
    assert f"McNemar {text}, on" in against_baseline(compared)


@pytest.mark.parametrize(
    ("absent", "gone"),
    [
        (["ensemble"], ["ensemble"]),
        (["audit"], ["majority class", "oracle ceiling"]),
        (["audit", "baseline", "ensemble"], ["TF-IDF", "majority", "oracle", "ensemble"]),
    ],
)
def test_what_is_of_another_run_is_named_and_not_shown(
    absent: list[str], gone: list[str], report: dict[str, Any]
) -> None:
    task = {"majority_accuracy": 0.4, "oracle_accuracy": 1.0, "label_ceiling": 0.88}
    metrics = {
        "audit": {"task": task},
        "baseline": {"accuracy": 0.8},
        "evaluate": report,
        "ensemble": {**report, "members": {"main": {}}},
    }
    current = {name: part for name, part in metrics.items() if name not in absent}
    remarks = RunMetrics(current, dict.fromkeys(absent, "there is none yet")).remarks()
    text = summary_table(current, class_rows(report["per_class"]), PLACES, remarks)
    head = text.split("\n\n")[0]
    assert f"{report['accuracy']:.2%}" in head
    for words in gone:
        assert words not in head
    for stage in absent:
        assert f"{stage}: not of this run: there is none yet; run `dvc repro {stage}`" in text


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize(("gain", "lines"), [(-0.01, 1), (0.0, 0), (0.02, 0)])
def test_a_baseline_that_wins_says_how_to_use_it(
    gain: float, lines: int, classes: int, report: dict[str, Any], tiny_params: Params
) -> None:
    if classes:
        report = several(tiny_params, classes)
    compared = report["against_baseline"]
    first = compared if "gain" in compared else next(
        part for part in compared.values() if isinstance(part, dict)
    )  # fmt: skip
    first["gain"] = gain
    told = if_baseline_wins(report, "models/baseline")
    assert len(told) == lines
    assert all("scores higher: predict --model models/baseline" in line for line in told)
