"""The audit report: contradicting labels, the oracle, leakage between splits, several labels."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from conftest import CLASSES
from random_papers import PRIMARY, random_papers, split_rows

from arxiv_hybrid.audit.duplicates import near_duplicates
from arxiv_hybrid.audit.report import (
    audit_report,
    best_possible,
    contradicting_share,
    frequent_pairs,
    leakage,
    listed_together,
    oracle_accuracy,
    text_hashes,
)
from arxiv_hybrid.data.class_groups import FEW
from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.data.splits import split_documents
from arxiv_hybrid.params import Labels, Split
from arxiv_hybrid.taxonomy.categories import categories

LISTED = Labels.model_validate({"from": "listed", "classes": "all"})
COLUMN = Labels.model_validate({"from": "column", "classes": "auto"})


def audited(
    rows: pd.DataFrame, labels: Labels, label_set: LabelSet, ceiling: Any = None
) -> dict[str, Any]:
    splits = split_rows(rows)
    pairs = near_duplicates(splits, multi_label=label_set.multi_label)
    return audit_report(rows, splits, labels, label_set, ceiling=ceiling, pairs=pairs)


def test_contradicting_share_and_oracle() -> None:
    ids = pd.Series(["1", "1", "1", "2"])
    labels = pd.Series([0, 0, 1, 2])
    assert contradicting_share(ids, labels) == 0.75
    assert oracle_accuracy(ids, labels) == 0.75


def test_leakage_counts_papers_by_id_and_by_text() -> None:
    papers = random_papers(count=200)
    papers["title"], papers["abstract"] = "Title " + papers["id"], "Words"
    twice = pd.concat([papers, papers], ignore_index=True)
    parts = split_documents(twice, Split(by="row", val=0.15, test=0.15, seed=1), CLASSES)
    train, test = parts["train"], parts["test"]
    leaked = leakage(train["id"], test["id"], text_hashes(train), text_hashes(test))
    assert leaked["rows"] == test["id"].isin(set(train["id"])).sum()
    assert leaked["share"] == leaked["rows"] / len(test)
    assert leaked["rows_with_same_text"] == 0, "the same paper does not count as another one"
    renamed = test.assign(id="other", title=test["title"].str.upper() + "!")
    hidden = leakage(train["id"], renamed["id"], text_hashes(train), text_hashes(renamed))
    assert hidden["rows"] == 0
    assert hidden["rows_with_same_text"] == leaked["rows"] > 0


def test_the_ceiling_is_that_of_the_published_sets() -> None:
    rows = random_papers()
    known = {"3": 0.9, "4": 0.8}
    report = audited(rows, PRIMARY, CLASSES, known)
    assert report["task"]["label_ceiling"] == 0.9
    assert best_possible(report) == 0.9
    own = LabelSet(("a", "b", "c"), categories={n: (f"cs.{n}",) for n in ("a", "b", "c")})
    report = audited(rows, PRIMARY, own, known)
    assert report["task"]["label_ceiling"] is None, "three classes, but not the published ones"
    assert best_possible(report) is None


def test_several_labels_do_not_contradict_each_other() -> None:
    rows = random_papers()
    rows["labels"] = [[0], [0, 2], [0, 1, 2]] * 40
    rows["label"] = 0
    label_set = LabelSet(CLASSES.names, True, CLASSES.categories)
    report = audited(rows, LISTED, label_set, {"3": 0.9})
    task = report["task"]
    assert task["labels_per_paper"] == pytest.approx(2)
    assert task["papers_with_several"] == pytest.approx(2 / 3)
    assert task["papers_by_labels"] == {"1": 40, "2": 40, "3": 40}
    assert task["listed_together"] == {
        "cs.AI-LG | cs.CV": 80, "cs.AI-LG | cs.CL": 40, "cs.CL | cs.CV": 40
    }  # fmt: skip
    assert sum(task["documents_per_class"]["cs.AI-LG"].values()) == 120
    assert sum(task["documents_per_class"]["cs.CL"].values()) == 40
    assert not {"oracle_accuracy", "label_ceiling", "majority_accuracy"} & set(task)
    assert "rows_contradicting" not in report["papers_csv"]
    assert best_possible(report) is None


def test_classes_listed_together_count_papers_once() -> None:
    rows = random_papers(count=4).assign(labels=[[0, 1], [0, 1], [1, 2], [2]])
    splits = {"train": rows, "test": rows[:2]}
    counts = listed_together(splits, LabelSet(("a", "b", "c"), True))
    assert counts.tolist() == [[2, 2, 0], [2, 3, 1], [0, 1, 2]]
    assert frequent_pairs(counts, 9) == [(0, 1, 2), (1, 2, 1)]


def test_own_labels_have_no_categories_and_no_dates() -> None:
    rows = random_papers().assign(
        category="", primary_category="", all_categories="", published="", label="x"
    )
    rows["id"] = [f"row-{number}" for number in range(len(rows))]
    numbered = rows.assign(label=[0, 1, 2] * 40)
    splits = split_rows(numbered)
    label_set = LabelSet(("x", "y", "z"))
    pairs = near_duplicates(splits)
    report = audit_report(rows, splits, COLUMN, label_set, ceiling={"3": 0.9}, pairs=pairs)
    raw = report["papers_csv"]
    assert raw["rows_contradicting"] == 0
    assert raw["published"] == {"first": None, "last": None}
    assert not {"rows_per_category", "papers_per_primary_category", "oracle_accuracy"} & set(raw)
    assert report["task"]["label_ceiling"] is None


def test_rows_of_other_categories_have_no_published_oracle() -> None:
    rows = random_papers()
    assert set(audited(rows, PRIMARY, CLASSES)["papers_csv"]["oracle_accuracy"]) == {"3", "4"}
    rows.loc[5, "category"] = "math.AG"
    assert "oracle_accuracy" not in audited(rows, PRIMARY, CLASSES)["papers_csv"]


def test_many_classes_are_summed_up_and_those_left_out_are_named() -> None:
    names = tuple(categories())[: FEW + 10]
    rows = random_papers().assign(label=[number % len(names) for number in range(120)])
    rows["labels"] = [[label] for label in rows["label"]]
    label_set = LabelSet(names, True, {name: (name,) for name in names})
    task = audited(rows, LISTED, label_set)["task"]
    assert task["largest_class"] == {"name": names[0], "documents": 4}
    assert task["smallest_class"]["documents"] == 3
    assert not {"classes", "documents_per_class"} & set(task)
    assert len(task["listed_together"]) == 0
    assert task["classes_left_out"] == list(categories())[FEW + 10 :]


def test_papers_in_no_split_are_counted() -> None:
    rows = random_papers()
    splits = split_rows(rows[:110])
    report = audit_report(
        rows, splits, PRIMARY, CLASSES, ceiling=None, pairs=near_duplicates(splits)
    )
    assert report["task"]["papers_left_out"] == 10
