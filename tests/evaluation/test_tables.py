"""The tables that the evaluate stage writes."""

from __future__ import annotations

import numpy as np
import pytest
from random_predictions import at, label_set, one_class, papers_listing, several_classes

from arxiv_hybrid.data.class_groups import FEW
from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.evaluation.predictions import Predictions
from arxiv_hybrid.evaluation.report import scores
from arxiv_hybrid.evaluation.tables import full_tables, plot_tables
from arxiv_hybrid.params import Params

MANY = FEW + 10


def test_plots_show_some_of_many_classes_and_full_tables_all(tiny_params: Params) -> None:
    listed, p = several_classes(number=1000, classes=MANY)
    run = papers_listing(listed), label_set(MANY, multi_label=True), at(0.5, p)
    report = scores(*run, tiny_params.evaluate)
    full, plots = full_tables(*run, report), plot_tables(*run, report, 10)
    assert len(full["classes"]) == MANY
    assert len(plots["classes"]) == FEW
    assert plots["classes"]["f1"].is_monotonic_increasing
    assert full["confusion"]["papers"].sum() == (listed.sum(1) * run[2].assigned.sum(1)).sum()
    assert set(plots["reliability"]) == {"confidence", "accuracy", "probabilities"}


def test_few_classes_are_plotted_as_they_are(tiny_params: Params) -> None:
    labels, p = one_class()
    papers = papers_listing(np.eye(3, dtype=bool)[labels])
    run = papers, label_set(3, multi_label=False), Predictions(p)
    report = scores(*run, tiny_params.evaluate)
    plots = plot_tables(*run, report, 10)
    assert plots["classes"].equals(full_tables(*run, report)["classes"])
    assert plots["classes"]["class"].tolist() == ["c0", "c1", "c2"]
    assert len(plots["confusion"]) == len(papers)
    assert plots["reliability"]["papers"].sum() == len(papers)


@pytest.mark.parametrize("multi_label", [True, False])
def test_every_test_paper_has_a_row_with_its_prediction(
    tiny_params: Params, multi_label: bool
) -> None:
    listed, p = several_classes(number=200)
    papers = papers_listing(listed)
    classes = label_set(5, multi_label=multi_label)
    run = papers, classes, at(0.5, p) if multi_label else Predictions(p)
    report = scores(*run, tiny_params.evaluate)
    rows = full_tables(*run, report)["predictions"]
    assert rows["id"].tolist() == papers["id"].tolist()
    assert rows["correct"].mean() == report["precision_at_1" if multi_label else "accuracy"]
    assert rows["predicted"].tolist() == [f"c{number}" for number in p.argmax(1)]
    assert rows["probability"].tolist() == p.max(1).tolist()
    for actual, numbers in zip(rows["actual"], papers["labels"], strict=True):
        assert actual == ";".join(f"c{n}" for n in (numbers if multi_label else numbers[:1]))


@pytest.mark.parametrize("classes", [5, MANY])
@pytest.mark.parametrize("multi_label", [True, False])
def test_labels_bring_no_tags_into_plots_and_no_formulas_into_spreadsheets(
    tiny_params: Params, classes: int, multi_label: bool
) -> None:
    names = LabelSet(tuple(f"=<b>{number}" for number in range(classes)), multi_label)
    listed, p = several_classes(number=300, classes=classes)
    run = papers_listing(listed), names, at(0.5, p) if multi_label else Predictions(p)
    report = scores(*run, tiny_params.evaluate)
    for table in plot_tables(*run, report, 10).values():
        assert "<" not in table.to_csv()
    for table in full_tables(*run, report).values():
        assert ",=" not in table.to_csv()
        assert "'=<b>0" in table.to_csv()
