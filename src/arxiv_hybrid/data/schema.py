"""The table that every source produces, and the checks it passes before anything trains."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from arxiv_hybrid.data.labels import CATEGORIES
from arxiv_hybrid.system.errors import UserError

COLUMNS = (
    "id",
    "title",
    "abstract",
    "category",
    "primary_category",
    "all_categories",
    "published",
)
_NOT_TEXT = {"", "nan", "null", "none", "n/a", "na"}
_LONGEST = max(map(len, _NOT_TEXT))
_LETTER = re.compile(r"[A-Za-z]")
_CATEGORY = r"[a-z]+(-[a-z]+)*(\.[A-Za-z-]+)?"
_ONE_CATEGORY = re.compile(f"^{_CATEGORY}$")


def is_text(value: str) -> bool:
    """Whether a title or abstract says anything: a letter from a to z, and more than `n/a`."""
    bare = value.strip()
    is_placeholder = len(bare) <= _LONGEST and bare.lower() in _NOT_TEXT
    return not is_placeholder and bool(_LETTER.search(bare))


def is_category(name: str) -> bool:
    """Whether a name has the form of an arXiv category."""
    return bool(_ONE_CATEGORY.match(name))


def one_line(text: str) -> str:
    """One line, and nothing that UTF-8 cannot hold (half a surrogate pair becomes `?`)."""
    return " ".join(text.split()).encode("utf-8", "replace").decode("utf-8")


_READABLE = "text with at least one letter from a to z"  # other characters make no tokens
_TEXT = pa.Check(lambda values: values.map(is_text), name=_READABLE)

PAPERS = pa.DataFrameSchema(
    {
        "id": pa.Column(str, pa.Check.str_matches(r"^\S+$"), description="a non-empty id"),
        "title": pa.Column(str, _TEXT, description=_READABLE),
        "abstract": pa.Column(str, _TEXT, description=_READABLE),
        "category": pa.Column(
            str, pa.Check.isin(CATEGORIES), description=f"one of {', '.join(CATEGORIES)}"
        ),
        "primary_category": pa.Column(
            str, pa.Check.str_matches(f"^{_CATEGORY}$"), description="an arXiv category"
        ),
        "all_categories": pa.Column(
            str,
            pa.Check.str_matches(f"^{_CATEGORY}(,{_CATEGORY})*$"),
            description="arXiv categories separated by commas, primary first",
        ),
        "published": pa.Column(
            str,
            pa.Check.str_matches(r"^$|^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$"),
            description="a date as YYYY-MM-DD, or empty",
        ),
    },
    strict=True,
    ordered=True,
)


def check_papers(papers: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return `papers` if every row is sound, else raise UserError naming file, row and column.

    Rows are counted from 1 by the index, the header left out. A paper may stand in several rows
    (one a category query) but never with two different texts.
    """
    if papers.empty:
        raise UserError(f"{where}: holds no rows")
    try:
        PAPERS.validate(papers, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases.dropna(subset=["index"])
        if cases.empty:
            raise UserError(f"{where}: {error.failure_cases['failure_case'].iloc[0]}") from None
        first = cases.sort_values("index", kind="stable").iloc[0]
        row, column = int(first["index"]), str(first["column"])
        found = str(first["failure_case"])
        shown = repr(found if len(found) <= 60 else found[:57] + "...")
        rows = cases["index"].nunique()
        more = f" ({rows - 1:,} more rows fail)" if rows > 1 else ""
        expected = PAPERS.columns[column].description
        raise UserError(
            f"{where}: row {row + 1}, column {column}: found {shown}, expected {expected}{more}"
        ) from None
    _one_text_an_id(papers, where)
    return papers.reset_index(drop=True)


def check_enough(counts: Mapping[str, int], wanted: int, where: str, allow_fewer: bool) -> None:
    """Raise UserError where a category has fewer papers than `fetch.per_category`."""
    short = ", ".join(f"{n:,} of {name}" for name, n in counts.items() if n < wanted)
    if short and not allow_fewer:
        raise UserError(
            f"{where}: holds only {short}, {wanted:,} of each asked for (fetch.per_category); "
            "widen fetch.since and fetch.until or set fetch.allow_fewer=true"
        )


def _one_text_an_id(papers: pd.DataFrame, where: str) -> None:
    for column in ("title", "abstract", "primary_category"):
        clashing = papers.groupby("id")[column].transform("nunique") > 1
        if clashing.any():
            clash = papers[clashing]
            identifier = clash["id"].iloc[0]
            rows = [int(i) + 1 for i in clash.index[clash["id"] == identifier][:2]]
            raise UserError(
                f"{where}: id {identifier} has two different values of {column}, "
                f"in rows {rows[0]} and {rows[1]}; one id is one paper"
            )
    repeated = papers.duplicated(["id", "category"])
    if repeated.any():
        row = int(papers.index[repeated][0])
        raise UserError(
            f"{where}: row {row + 1}: paper {papers['id'][row]} stands twice in category "
            f"{papers['category'][row]}; give each paper once a category"
        )
