"""Splits by row, by paper and by time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.data.splits import split_documents
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
