"""Splits by row, by paper, by time and by hash."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.data.splits import absent_classes, split_documents
from arxiv_hybrid.params import Split
from arxiv_hybrid.system.errors import UserError

CLASSES = LabelSet(("cs.AI-LG", "cs.CL", "cs.CV"))


def split(documents: pd.DataFrame, by: str, **changes: object) -> dict[str, pd.DataFrame]:
    """Split by 70/15/15, unless `changes` say otherwise."""
    params = {"by": by, "val": 0.15, "test": 0.15, "seed": 1} | changes
    return split_documents(documents, Split.model_validate(params), CLASSES)


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
def test_splits_are_complete_disjoint_and_of_the_right_size(by: str) -> None:
    whole = documents()
    parts = split(whole, by=by)
    assert [len(parts[n]) for n in ("train", "val", "test")] == [140, 30, 30]
    assert sorted(pd.concat(parts.values())["id"]) == sorted(whole["id"])


def test_split_by_paper_keeps_rows_together_and_split_by_row_leaks() -> None:
    whole = documents()
    twice = pd.concat([whole, whole.assign(label=(whole["label"] + 1) % 3)], ignore_index=True)
    by_paper = split(twice, by="paper")
    by_row = split(twice, by="row")
    assert not set(by_paper["train"]["id"]) & set(by_paper["test"]["id"])
    assert set(by_row["train"]["id"]) & set(by_row["test"]["id"])


@pytest.mark.parametrize("dates", [True, False])
def test_split_by_time_tests_on_the_newest(dates: bool) -> None:
    shuffled = documents(dates=dates).sample(frac=1, random_state=0)
    parts = split(shuffled, by="time")
    assert parts["train"]["id"].max() < parts["val"]["id"].min()
    assert parts["val"]["id"].max() < parts["test"]["id"].min()


def test_split_by_time_needs_dates() -> None:
    undated = documents(dates=False).assign(id=[f"paper-{i}" for i in range(200)])
    with pytest.raises(UserError, match=r"split\.by=time needs a published date"):
        split(undated, by="time")


@pytest.mark.parametrize("by", ["row", "paper"])
def test_class_with_too_few_papers_is_an_error(by: str) -> None:
    few = documents()
    few["label"] = [2 if i < 3 else i % 2 for i in range(len(few))]
    with pytest.raises(UserError, match=r"a class has only 3 papers"):
        split(few, by=by)


def test_months_bound_the_splits_exactly() -> None:
    parts = split(documents(), by="time", val="2025-05", test="2025-07")
    assert parts["train"]["published"].max() == "2025-04-30"
    assert parts["val"]["published"].min() == "2025-05-01"
    assert parts["val"]["published"].max() == "2025-06-30"
    assert parts["test"]["published"].min() == "2025-07-01"


def test_an_empty_set_is_an_error() -> None:
    with pytest.raises(UserError, match="test has no papers"):
        split(documents(), by="time", val="2025-05", test="2027-01")


def test_a_hash_keeps_papers_in_their_set_when_others_are_added() -> None:
    few, many = (split(documents(n), by="hash", val=0.1, test=0.1) for n in (200, 2000))
    for name in ("train", "val", "test"):
        assert set(few[name]["id"]) <= set(many[name]["id"])
    assert len(many["test"]) == pytest.approx(200, abs=40)
    digest = hashlib.md5(many["test"]["id"][0].encode()).hexdigest()
    assert int(digest[:8], 16) / 2**32 < 0.1


def test_several_labels_are_stratified_by_the_rarest() -> None:
    random = np.random.default_rng(1)
    papers = documents(600)
    common = [[int(n)] for n in random.integers(0, 2, 600)]
    papers["labels"] = [sorted({*own, 2} if i % 30 == 0 else own) for i, own in enumerate(common)]
    label_set = LabelSet(("a", "b", "rare"), multi_label=True)
    params = Split.model_validate({"by": "paper", "val": 0.15, "test": 0.15, "seed": 1})
    parts = split_documents(papers, params, label_set)
    rare = [sum(2 in row for row in parts[name]["labels"]) for name in ("train", "val", "test")]
    assert rare == [14, 3, 3]


def test_with_many_classes_a_small_one_may_be_missing_from_the_test_set() -> None:
    papers = documents(100).assign(label=[i % 25 if i < 50 else 0 for i in range(100)])
    label_set = LabelSet(tuple(f"class {i}" for i in range(25)))
    params = Split.model_validate({"by": "time", "val": 0.15, "test": 0.15, "seed": 1})
    test = split_documents(papers, params, label_set)["test"]
    assert absent_classes(test, label_set)[0] == "class 1"
