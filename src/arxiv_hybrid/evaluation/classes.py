"""Scores by class as tables, and what is shown of many classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from arxiv_hybrid.data.class_groups import FEW
from arxiv_hybrid.system.files import require

_COLUMNS = ("class", "precision", "recall", "f1", "support", "threshold")


def class_rows(per_class: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """One row per class: its name and its scores, from a report's `per_class`."""
    table = pd.DataFrame([{"class": name, **scores} for name, scores in per_class.items()])
    return table[[column for column in _COLUMNS if column in table]]


def read_class_rows(path: Path) -> pd.DataFrame:
    """Read a CSV of `class_rows`; class names stay strings, whatever they are."""
    require(path)
    return pd.read_csv(path, dtype={"class": str}, keep_default_na=False)


def without_many(report: dict[str, Any]) -> dict[str, Any]:
    """A report for a metrics file: without `per_class` if there are many classes.

    DVC and MLflow show each number of a metrics file, so many classes would bury all others.
    """
    if len(report["per_class"]) <= FEW:
        return report
    return {name: value for name, value in report.items() if name != "per_class"}


def worst_and_best(table: pd.DataFrame, number: int = FEW) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Of many classes the worst and the best by F1, `number` in all, from low to high.

    Few classes are returned as they are, as the first table. Of many, those without test papers are
    left out, and of equal F1 the one with more papers comes first.
    """
    if len(table) <= number:
        return table, table.head(0)
    ordered = table[table["support"] > 0].sort_values(["f1", "support"], ascending=[True, False])
    half = min(number, len(ordered)) // 2
    return ordered.head(half), ordered.tail(half)
