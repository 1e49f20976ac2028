"""Scores by class, few and many."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from arxiv_hybrid.data.class_groups import FEW
from arxiv_hybrid.evaluation.classes import (
    class_rows,
    read_class_rows,
    without_many,
    worst_and_best,
)
from arxiv_hybrid.system.files import write_csv

SCORES = {"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "support": 7}


def table(count: int) -> pd.DataFrame:
    """Classes whose F1 rises with their number; the first one has no papers."""
    return pd.DataFrame(
        {
            "class": [f"c{number}" for number in range(count)],
            "f1": [number / count for number in range(count)],
            "support": [0, *[5] * (count - 1)],
        }
    )[::-1]


def test_a_table_has_a_row_per_class_and_thresholds_if_there_are_any() -> None:
    rows = class_rows({"b": SCORES, "a": SCORES})
    assert rows["class"].tolist() == ["b", "a"]
    assert list(rows) == ["class", "precision", "recall", "f1", "support"]
    rows = class_rows({"a": {"threshold": 0.3, **SCORES}})
    assert list(rows) == ["class", "precision", "recall", "f1", "support", "threshold"]


def test_names_survive_a_csv(tmp_path: Path) -> None:
    rows = class_rows(dict.fromkeys(("NA", "1", "01", "null", "a,b"), SCORES))
    write_csv(tmp_path / "classes.csv", rows)
    read = read_class_rows(tmp_path / "classes.csv")
    assert read["class"].tolist() == ["NA", "1", "01", "null", "a,b"]
    assert read["support"].tolist() == [7] * 5


def test_few_classes_are_shown_in_full_and_in_their_order() -> None:
    worst, best = worst_and_best(table(FEW))
    assert worst.equals(table(FEW))
    assert best.empty


def test_of_many_classes_the_worst_and_the_best_are_shown() -> None:
    worst, best = worst_and_best(table(100), 6)
    assert worst["class"].tolist() == ["c1", "c2", "c3"], "c0 has no papers"
    assert best["class"].tolist() == ["c97", "c98", "c99"]
    few_papers = table(100)
    few_papers["support"] = few_papers["class"].isin(["c1", "c2", "c3", "c4"]) * 5
    worst, best = worst_and_best(few_papers, 6)
    assert [*worst["class"], *best["class"]] == ["c1", "c2", "c3", "c4"], "each one once"


def test_metrics_files_hold_no_tables_of_many_classes() -> None:
    few = {"accuracy": 1.0, "per_class": {str(n): SCORES for n in range(FEW)}}
    assert without_many(few) == few
    many = {"accuracy": 1.0, "per_class": {str(n): SCORES for n in range(FEW + 1)}}
    assert without_many(many) == {"accuracy": 1.0}
