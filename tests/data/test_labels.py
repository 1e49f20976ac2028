"""From rows of papers.csv to documents with classes."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from conftest import merged

from arxiv_hybrid.data.label_set import LabelSet, multi_hot
from arxiv_hybrid.data.labels import label_papers
from arxiv_hybrid.params import Labels
from arxiv_hybrid.system.errors import UserError

PAPERS = pd.DataFrame(
    [
        ("1", "cs.AI", "cs.AI", "cs.AI,cs.LG"),
        ("1", "cs.LG", "cs.AI", "cs.AI,cs.LG"),
        ("2", "cs.CL", "cs.CL", "cs.CL"),
        ("3", "cs.CV", "cs.RO", "cs.RO,cs.CV"),
        ("4", "cs.CV", "cs.CV", "cs.CV,cs.CL"),
        ("5", "math.AG", "math.AG", "math.AG,math.NA,cs.NA"),
    ],
    columns=["id", "category", "primary_category", "all_categories"],
)
OWN = pd.DataFrame(
    {"id": list("abcd"), "label": ["bird; fish", "fish", " ", "cat"], "all_categories": ""}
)


def labels(**changes: Any) -> Labels:
    return Labels.model_validate(merged({"from": "primary", "classes": "auto"}, changes))


def test_query_labels_keep_every_row() -> None:
    documents = label_papers(PAPERS[:5], labels(**{"from": "query"})).documents
    assert documents["label"].tolist() == [0, 0, 1, 2, 2]


def test_primary_labels_keep_one_row_per_paper_and_count_papers_outside() -> None:
    result = label_papers(PAPERS, labels())
    assert result.documents["id"].tolist() == ["1", "2", "4"]
    assert result.documents["label"].tolist() == [0, 1, 2]
    assert result.documents["labels"].tolist() == [[0], [1], [1, 2]]
    assert result.left_out == "2 papers of no class"


def test_listed_labels_give_every_class_of_a_paper() -> None:
    result = label_papers(PAPERS, labels(**{"from": "listed"}))
    assert result.label_set == LabelSet(
        ("cs.AI-LG", "cs.CL", "cs.CV"),
        multi_label=True,
        categories={"cs.AI-LG": ("cs.AI", "cs.LG"), "cs.CL": ("cs.CL",), "cs.CV": ("cs.CV",)},
    )
    assert result.documents["id"].tolist() == ["1", "2", "3", "4"]
    assert result.documents["labels"].tolist() == [[0], [1], [2], [1, 2]]
    assert result.documents["label"].tolist() == [0, 1, 2, 2]
    assert result.outside == 1


def test_papers_outside_can_be_a_class() -> None:
    result = label_papers(PAPERS, labels(outside="other"))
    assert result.label_set.names == ("cs.AI-LG", "cs.CL", "cs.CV", "other")
    assert result.documents["label"].tolist() == [0, 1, 3, 2, 3]
    assert result.left_out == ""
    listed = label_papers(PAPERS, labels(**{"from": "listed"}, outside="other")).documents
    assert listed["labels"].tolist() == [[0], [1], [2], [1, 2], [3]]


def test_aliases_count_once() -> None:
    result = label_papers(PAPERS, labels(**{"from": "listed"}, classes=["math.AG", "cs.NA", "cs"]))
    assert result.label_set.names == ("math.AG", "cs.NA", "cs")
    assert result.label_set.categories["cs.NA"] == ("math.NA",)
    assert result.documents["labels"].tolist()[-1] == [0, 1]


def test_a_mapping_names_its_classes() -> None:
    classes = {"text": ["cs.CL"], "robots and images": ["cs.RO", "cs.CV"]}
    result = label_papers(PAPERS, labels(classes=classes))
    assert result.label_set.names == ("text", "robots and images")
    assert result.documents["label"].tolist() == [0, 1, 1]


def test_archives_leave_out_those_without_papers() -> None:
    result = label_papers(PAPERS, labels(classes="archives"))
    assert result.label_set.names == ("cs", "math")
    assert "18 classes with fewer than 1 papers: econ (0), eess (0)" in result.left_out


def test_a_class_with_too_few_papers_is_an_error_or_left_out() -> None:
    with pytest.raises(UserError, match=r"too few papers of cs\.LG \(0\); every class needs at"):
        label_papers(PAPERS, labels(classes=4))
    result = label_papers(PAPERS, labels(classes=4, too_few="leave_out"))
    assert result.label_set.names == ("cs.AI", "cs.CL", "cs.CV")
    assert result.small == {"cs.LG": 0}
    with pytest.raises(UserError, match="a classifier needs two"):
        label_papers(PAPERS, labels(classes=4, too_few="leave_out"), minimum=3)


def test_any_values_of_a_column_are_classes() -> None:
    result = label_papers(OWN, labels(**{"from": "column"}))
    assert result.label_set == LabelSet(("bird; fish", "cat", "fish"))
    assert result.documents["label"].tolist() == [0, 2, 1]
    assert result.left_out == "1 papers without a label"


def test_a_cell_can_hold_several_labels() -> None:
    result = label_papers(OWN, labels(**{"from": "column"}, separator=";"))
    assert result.label_set == LabelSet(("bird", "cat", "fish"), multi_label=True)
    assert result.documents["labels"].tolist() == [[0, 2], [2], [1]]
    chosen = label_papers(OWN, labels(**{"from": "column"}, separator=";", classes=["fish", "cat"]))
    assert chosen.documents["labels"].tolist() == [[0], [0], [1]]
    named = label_papers(
        OWN, labels(**{"from": "column"}, classes={"pets": ["cat"], "x": ["fish"]})
    )
    assert named.documents["label"].tolist() == [1, 0]
    assert named.left_out == "1 papers of no class; 1 papers without a label"


def test_labels_that_are_no_class_are_counted_by_value() -> None:
    values = ["cs.LG", "CS.LG", "cs.CV", "CS.LG", "cs.LG; trees", ""]
    rows = pd.DataFrame({"id": list("abcdef"), "label": values, "all_categories": ""})
    chosen = labels(**{"from": "column"}, classes=["cs.LG", "cs.CV"], separator=";")
    result = label_papers(rows, chosen)
    assert result.left_out == "2 papers of no class; 1 papers without a label"
    assert result.remarks == ["labels that are no class, by rows: CS.LG (2), trees (1)"]
    every = label_papers(rows, labels(**{"from": "column"}, separator=";"))
    assert every.remarks == [
        "classes that differ only in case: CS.LG, cs.LG; labels.classes can join them"
    ]
    joined = {"lg": ["cs.LG", "CS.LG"], "cv": ["cs.CV"]}
    assert label_papers(rows, labels(**{"from": "column"}, classes=joined)).not_classes == {
        "cs.LG; trees": 1
    }


def test_rows_of_an_earlier_paper_are_counted() -> None:
    assert label_papers(PAPERS, labels()).remarks == [
        "rows of a paper that an earlier row has, left out: 1"
    ]
    assert label_papers(PAPERS[:5], labels(**{"from": "query"})).remarks == []
    many = {"label": [str(n) for n in range(9)] * 2, "id": [str(n) for n in range(18)]}
    few = label_papers(
        pd.DataFrame(many).assign(all_categories=""),
        labels(**{"from": "column"}, classes=["0", "1"]),
    )
    assert few.remarks[0].endswith("6 (2) and 2 more")


def test_labels_from_a_column_need_one() -> None:
    with pytest.raises(UserError, match=r"needs fetch\.source=csv"):
        label_papers(PAPERS, labels(**{"from": "column"}))


def test_multi_hot() -> None:
    matrix = multi_hot(pd.Series([[0, 2], [], [1]]), 3)
    assert matrix.astype(int).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_a_class_cannot_have_the_name_of_a_column_of_predictions() -> None:
    rows = OWN.assign(label=["unsure", "sure", "sure", "unsure"])
    with pytest.raises(UserError, match="a class cannot be called unsure"):
        label_papers(rows, labels(**{"from": "column"}))
    mapped = {"doubtful": ["unsure"], "sure": ["sure"]}
    result = label_papers(rows, labels(**{"from": "column"}, classes=mapped))
    assert result.label_set.names == ("doubtful", "sure")
