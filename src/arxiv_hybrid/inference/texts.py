"""Titles and abstracts of papers, in the forms in which users have them."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from pandas.api.types import is_scalar

from arxiv_hybrid.system.errors import UserError

TEXTS = ("title", "abstract")
_A_TEXT = {"title": "a title", "abstract": "an abstract"}
_EXPECTED = (
    "expected a table with the columns title and abstract, or a list of dictionaries with these "
    "keys or of (title, abstract) pairs"
)


def text_table(papers: pd.DataFrame | Sequence[Any]) -> pd.DataFrame:
    """The columns title and abstract of papers, as a table.

    papers: a table; or a list of dictionaries with these keys, or of (title, abstract) pairs. Other
    columns and keys may hold anything. Raises UserError if a paper lacks one of them.
    """
    if isinstance(papers, pd.DataFrame):
        return papers.loc[:, [name in TEXTS for name in papers.columns]]
    if not isinstance(papers, (list, tuple)):
        raise UserError(f"{_EXPECTED}, found {type(papers).__name__}")
    return pd.DataFrame([_pair(paper, n) for n, paper in enumerate(papers)], columns=[*TEXTS])


def _pair(paper: Any, number: int) -> tuple[Any, Any]:
    """Title and abstract of the paper at this place in a list."""
    if isinstance(paper, Mapping):
        if missing := [name for name in TEXTS if name not in paper]:
            raise UserError(f"every paper needs {_A_TEXT[missing[0]]}: paper {number} has none")
        return paper["title"], paper["abstract"]
    if isinstance(paper, (list, tuple)) and len(paper) == len(TEXTS):
        return paper[0], paper[1]
    raise UserError(f"{_EXPECTED}; paper {number} is {reprlib.repr(paper)}")


def texts(papers: pd.DataFrame, name: str) -> list[str]:
    """The titles or the abstracts of papers, in their order.

    Raises UserError if the column is missing or a cell of it is not a string. Numbers are not
    converted: pandas may have read another text than the file has, such as 10.0 for 0010.
    """
    needs = f"every paper needs {_A_TEXT[name]}"
    if not isinstance(papers, pd.DataFrame):
        raise UserError(f"{needs}: expected a DataFrame, found {type(papers).__name__}")
    if (columns := list(papers.columns).count(name)) != 1:
        raise UserError(f"{needs}: the table has {columns or 'no'} columns called {name}")
    cells: list[Any] = papers[name].tolist()
    for row, cell in enumerate(cells):
        if not isinstance(cell, str):
            where = f"the {name} of {papers.index[row]!r}"
            if is_scalar(cell) and pd.isna(cell):
                raise UserError(f"{needs}, which may be empty but not missing: {where} is missing")
            raise UserError(
                f"{needs} that is text: {where} is {reprlib.repr(cell)}, of type "
                f"{type(cell).__name__}; read files with dtype=str"
            )
    return cells
