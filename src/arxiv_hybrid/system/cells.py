"""Texts of other people's files, made harmless for the programs that show them in tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pandas as pd

_FORMULA = re.compile(r"[=@\t\r]|[+-](?![\d.]+$)")


def plot_safe(frame: pd.DataFrame) -> pd.DataFrame:
    """The table without `<`, which would start a tag in the page of `dvc plots`.

    DVC escapes nothing, and ids and labels come from other people's files.
    """
    return _map_texts(frame, lambda text: text.replace("<", "\u2039"))


def spreadsheet_safe(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with an apostrophe before texts that a spreadsheet would run as a formula.

    Numbers such as -1 stay as they are.
    """
    return _map_texts(frame, lambda text: f"'{text}" if _FORMULA.match(text) else text)


def _map_texts(frame: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """Apply `change` to every text of a table, column names included."""

    def mapped(value: Any) -> Any:
        return change(value) if isinstance(value, str) else value

    texts = frame.select_dtypes(exclude=["number", "bool", "datetime"]).columns
    result = frame.assign(**{name: frame[name].map(mapped) for name in texts})
    return result.rename(columns=mapped)
