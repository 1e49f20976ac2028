"""Labels of papers by query and by primary category."""

from __future__ import annotations

import pandas as pd
import pytest

from arxiv_hybrid.data.labels import class_index, label_papers, listed_classes
from arxiv_hybrid.system.errors import UserError

PAPERS = pd.DataFrame(
    [
        ("1", "cs.AI", "cs.AI", "cs.AI,cs.LG"),
        ("1", "cs.LG", "cs.AI", "cs.AI,cs.LG"),
        ("2", "cs.CL", "cs.CL", "cs.CL"),
        ("3", "cs.CV", "cs.RO", "cs.RO,cs.CV"),
        ("4", "cs.CV", "cs.CV", "cs.CV,cs.CL"),
    ],
    columns=["id", "category", "primary_category", "all_categories"],
)


def test_query_labels_keep_every_row() -> None:
    documents = label_papers(PAPERS, scheme="query", classes=3)
    assert documents["label"].tolist() == [0, 0, 1, 2, 2]


def test_primary_labels_keep_one_row_per_paper_and_drop_other_fields() -> None:
    documents = label_papers(PAPERS, scheme="primary", classes=3)
    assert documents["id"].tolist() == ["1", "2", "4"]
    assert documents["label"].tolist() == [0, 1, 2]


def test_class_without_papers_is_an_error() -> None:
    with pytest.raises(UserError, match=r"no paper has the label cs\.LG"):
        label_papers(PAPERS, scheme="primary", classes=4)


def test_class_index_with_four_classes() -> None:
    index = class_index(pd.Series(["cs.LG", "cs.AI", "stat.ML"]), 4)
    assert index.tolist() == [3, 0, -1]


def test_listed_classes() -> None:
    listed = listed_classes(PAPERS["all_categories"], 3)
    assert listed.astype(int).tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]]
