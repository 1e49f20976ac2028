from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from arxiv_hybrid.audit import labels as audit_labels
from arxiv_hybrid.data.labels import class_index, label_papers, listed_classes
from arxiv_hybrid.data.splits import split_documents
from arxiv_hybrid.system.errors import UserError


def table(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["id", "category", "primary_category", "all_categories"])


PAPERS = table(
    ("1", "cs.AI", "cs.AI", "cs.AI,cs.LG"),
    ("1", "cs.LG", "cs.AI", "cs.AI,cs.LG"),
    ("2", "cs.CL", "cs.CL", "cs.CL"),
    ("3", "cs.CV", "cs.RO", "cs.RO,cs.CV"),
    ("4", "cs.CV", "cs.CV", "cs.CV,cs.CL"),
)


def test_query_labels_keep_every_row() -> None:
    documents = label_papers(PAPERS, scheme="query", classes=3)
    assert documents["label"].tolist() == [0, 0, 1, 2, 2]


def test_primary_labels_keep_one_row_a_paper_and_leave_out_other_fields() -> None:
    documents = label_papers(PAPERS, scheme="primary", classes=3)
    assert documents["id"].tolist() == ["1", "2", "4"]
    assert documents["label"].tolist() == [0, 1, 2]


def test_a_class_without_papers_is_named() -> None:
    with pytest.raises(UserError, match=r"no paper has the label cs\.LG"):
        label_papers(PAPERS, scheme="primary", classes=4)


def test_class_index_with_four_classes() -> None:
    found = class_index(pd.Series(["cs.LG", "cs.AI", "stat.ML"]), 4)
    assert found.tolist() == [3, 0, -1]


def test_listed_classes() -> None:
    listed = listed_classes(PAPERS["all_categories"], 3)
    assert listed.astype(int).tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]]


def test_contradictions_and_oracle() -> None:
    ids = pd.Series(["1", "1", "1", "2"])
    labels = pd.Series([0, 0, 1, 2])
    assert audit_labels.contradicting_share(ids, labels) == 0.75
    assert audit_labels.oracle_accuracy(ids, labels) == 0.75


def documents(number: int = 200, dates: bool = True) -> pd.DataFrame:
    random = np.random.default_rng(0)
    days = pd.date_range("2025-01-01", periods=number).strftime("%Y-%m-%d")
    return pd.DataFrame(
        {
            "id": [f"{2500 + i // 20}.{i:05d}" for i in range(number)],
            "label": random.integers(0, 3, number),
            "published": days if dates else "",
        }
    )


@pytest.mark.parametrize("by", ["row", "paper", "time"])
def test_splits_are_complete_disjoint_and_sized(by: str) -> None:
    whole = documents()
    parts = split_documents(whole, by=by, val=0.15, test=0.15, seed=1, classes=3)
    assert [len(parts[n]) for n in ("train", "val", "test")] == [140, 30, 30]
    assert sorted(pd.concat(parts.values())["id"]) == sorted(whole["id"])


def test_paper_split_keeps_rows_of_a_paper_together_and_row_split_leaks() -> None:
    whole = documents()
    twice = pd.concat([whole, whole.assign(label=(whole["label"] + 1) % 3)], ignore_index=True)
    apart = split_documents(twice, by="paper", val=0.15, test=0.15, seed=1, classes=3)
    mixed = split_documents(twice, by="row", val=0.15, test=0.15, seed=1, classes=3)
    assert not set(apart["train"]["id"]) & set(apart["test"]["id"])
    assert set(mixed["train"]["id"]) & set(mixed["test"]["id"])


@pytest.mark.parametrize("dates", [True, False])
def test_time_split_tests_on_the_newest(dates: bool) -> None:
    shuffled = documents(dates=dates).sample(frac=1, random_state=0)
    parts = split_documents(shuffled, by="time", val=0.15, test=0.15, seed=1, classes=3)
    assert parts["train"]["id"].max() < parts["val"]["id"].min()
    assert parts["val"]["id"].max() < parts["test"]["id"].min()


def test_time_split_needs_dates() -> None:
    undated = documents(dates=False).assign(id=[f"paper-{i}" for i in range(200)])
    with pytest.raises(UserError, match=r"split\.by=time needs a published date"):
        split_documents(undated, by="time", val=0.15, test=0.15, seed=1, classes=3)


@pytest.mark.parametrize("by", ["row", "paper"])
def test_a_class_with_too_few_papers_is_named(by: str) -> None:
    few = documents()
    few["label"] = [2 if i < 3 else i % 2 for i in range(len(few))]
    with pytest.raises(UserError, match=r"only 3 papers of cs\.CV"):
        split_documents(few, by=by, val=0.15, test=0.15, seed=1, classes=3)


def test_audit_counts_leaks() -> None:
    whole = documents()
    whole["title"], whole["abstract"] = "Title " + whole["id"], "Words"
    twice = pd.concat([whole, whole], ignore_index=True)
    parts = split_documents(twice, by="row", val=0.15, test=0.15, seed=1, classes=3)
    shared = audit_labels._shared(parts["train"], parts["test"])
    train = set(parts["train"]["id"])
    assert shared["rows"] == sum(i in train for i in parts["test"]["id"])
    assert shared["share"] == shared["rows"] / len(parts["test"])
    assert shared["rows_with_same_text"] == 0, "the same paper is no other paper"
    renamed = parts["test"].assign(id="other", title=parts["test"]["title"].str.upper() + "!")
    hidden = audit_labels._shared(parts["train"], renamed)
    assert hidden["rows"] == 0
    assert hidden["rows_with_same_text"] == shared["rows"] > 0
