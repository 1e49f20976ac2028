"""Which classes are taken for which."""

from __future__ import annotations

import numpy as np
import pandas as pd
from random_predictions import at, label_set, one_class, papers_listing, several_classes

from arxiv_hybrid.data.class_groups import FEW
from arxiv_hybrid.evaluation.confusion import (
    CONFUSED,
    OTHERS,
    confusion_rows,
    confusion_table,
    count_rows,
    frequent_mistakes,
    mistakes,
    most_confused,
    predicted_beside_actual,
)
from arxiv_hybrid.evaluation.predictions import Predictions

MANY = FEW + 26


def of_one_class(classes: int, number: int = 2000) -> tuple[pd.DataFrame, Predictions]:
    labels, p = one_class(number, classes=classes)
    return pd.DataFrame({"label": labels, "labels": [[n] for n in labels]}), Predictions(p)


def test_few_classes_have_one_row_per_paper() -> None:
    papers = pd.DataFrame({"label": [0, 2], "labels": [[0], [2]]})
    predictions = Predictions(np.array([[0.9, 0.1, 0], [0.5, 0.3, 0.2]]))
    rows = confusion_rows(papers, label_set(3, multi_label=False), predictions)
    assert rows.to_dict("list") == {"actual": ["c0", "c2"], "predicted": ["c0", "c0"]}


def test_predicted_beside_listed() -> None:
    listed = np.array([[1, 1, 0], [0, 0, 1]], dtype=bool)
    predictions = at(0.5, np.array([[0.9, 0.1, 0.8], [0.2, 0.4, 0.3]]))
    papers, classes = papers_listing(listed), label_set(3, multi_label=True)
    # paper 1 lists c0, c1 and is assigned c0, c2; paper 2 lists c2 and is assigned c1
    counts = predicted_beside_actual(papers, classes, predictions)
    assert counts.tolist() == [[1, 0, 1], [1, 0, 1], [0, 1, 0]]
    assert mistakes(papers, classes, predictions).tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0]]
    table = confusion_table(papers, classes, predictions)
    assert table.complete
    assert table.papers.tolist() == [1, 1, 1]
    assert table.shares.tolist() == counts.tolist()
    rows = confusion_rows(papers, classes, predictions)
    assert sorted(zip(rows["actual"], rows["predicted"], strict=True)) == [
        ("c0", "c0"), ("c0", "c2"), ("c1", "c0"), ("c1", "c2"), ("c2", "c1")
    ]  # fmt: skip


def test_the_diagonal_is_the_recall() -> None:
    listed, p = several_classes()
    predictions = at(0.4, p)
    table = confusion_table(papers_listing(listed), label_set(5, multi_label=True), predictions)
    recall = (listed & predictions.assigned).sum(0) / listed.sum(0)
    np.testing.assert_allclose(table.shares.diagonal(), recall)


def test_mistakes_of_one_class_are_the_confusion_matrix_without_its_diagonal() -> None:
    papers, predictions = of_one_class(4)
    classes = label_set(4, multi_label=False)
    counts = predicted_beside_actual(papers, classes, predictions)
    wrong = mistakes(papers, classes, predictions)
    assert wrong.diagonal().tolist() == [0] * 4
    assert wrong.sum() == (predictions.likeliest != papers["label"]).sum()
    assert (counts - wrong == np.diag(counts.diagonal())).all()


def test_frequent_mistakes_come_first_and_are_mistakes() -> None:
    wrong = np.array([[0, 5, 0], [9, 0, 0], [0, 1, 0]])
    assert frequent_mistakes(wrong, 9) == [(1, 0, 9), (0, 1, 5), (2, 1, 1)]
    assert frequent_mistakes(wrong, 1) == [(1, 0, 9)]
    assert most_confused(wrong, 2) == [0, 1]


def test_of_many_classes_the_most_confused_are_shown_and_nothing_is_lost() -> None:
    papers, predictions = of_one_class(MANY)
    classes = label_set(MANY, multi_label=False)
    rows = confusion_rows(papers, classes, predictions)
    shown = set(rows["actual"])
    assert len(shown) == CONFUSED
    assert set(rows["predicted"]) <= {*shown, OTHERS}
    names = np.array(classes.names)
    of_shown = np.isin(names[papers["label"]], list(shown))
    assert len(rows) == of_shown.sum(), "every paper of these classes has one row"
    others = of_shown & ~np.isin(names[predictions.likeliest], list(shown))
    assert (rows["predicted"] == OTHERS).sum() == others.sum() > 0
    table = confusion_table(papers, classes, predictions)
    assert not table.complete
    assert set(table.names) == shown
    assert (table.shares.sum(1) < 1).any(), "shares of all papers of a class"
    full = count_rows(predicted_beside_actual(papers, classes, predictions), list(classes.names))
    assert full["papers"].sum() == len(papers)
    assert (full["papers"] > 0).all()
