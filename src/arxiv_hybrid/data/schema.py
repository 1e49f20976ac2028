"""Schema of the table that every source returns, and the checks before anything trains."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.taxonomy.label_sets import CATEGORIES

COLUMNS = (
    "id",
    "title",
    "abstract",
    "category",
    "primary_category",
    "all_categories",
    "published",
)
_PLACEHOLDERS = {"", "nan", "null", "none", "n/a", "na"}
_LONGEST_PLACEHOLDER = max(map(len, _PLACEHOLDERS))
_LETTER = re.compile(r"[A-Za-z]")
_CATEGORY = r"[a-z]+(-[a-z]+)*(\.[A-Za-z-]+)?"
_ONE_CATEGORY = re.compile(f"^{_CATEGORY}$")


def is_text(value: str) -> bool:
    """Whether a title or abstract has a letter from a to z and is not a placeholder like `n/a`."""
    stripped = value.strip()
    is_placeholder = len(stripped) <= _LONGEST_PLACEHOLDER and stripped.lower() in _PLACEHOLDERS
    return not is_placeholder and bool(_LETTER.search(stripped))


def is_category(name: str) -> bool:
    """Whether a name has the form of an arXiv category."""
    return bool(_ONE_CATEGORY.match(name))


def one_line(text: str) -> str:
    """Collapse white space; characters that UTF-8 cannot encode (lone surrogates) become `?`."""
    return " ".join(text.split()).encode("utf-8", "replace").decode("utf-8")


_READABLE = "text with at least one letter from a to z"  # other letters give no tokens
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
    """Return `papers` if every row is valid; else UserError with file, row and column.

    Rows are numbered by the index, starting at 1 after the header. A paper may have several
    rows (one per category query), but only one text.
    """
    if papers.empty:
        raise UserError(f"{where}: has no rows")
    try:
        PAPERS.validate(papers, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases.dropna(subset=["index"])
        if cases.empty:
            raise UserError(f"{where}: {error.failure_cases['failure_case'].iloc[0]}") from None
        first = cases.sort_values("index", kind="stable").iloc[0]
        row, column = int(first["index"]), str(first["column"])
        value = str(first["failure_case"])
        value = repr(value if len(value) <= 60 else value[:57] + "...")
        rows = cases["index"].nunique()
        more = f" ({rows - 1:,} more rows fail)" if rows > 1 else ""
        expected = PAPERS.columns[column].description
        raise UserError(
            f"{where}: row {row + 1}, column {column}: found {value}, expected {expected}{more}"
        ) from None
    _check_ids(papers, where)
    return papers.reset_index(drop=True)


def check_enough(counts: Mapping[str, int], wanted: int, where: str, allow_fewer: bool) -> None:
    """Raise UserError if a category has fewer papers than `fetch.per_category`."""
    short = ", ".join(f"{n:,} of {name}" for name, n in counts.items() if n < wanted)
    if short and not allow_fewer:
        raise UserError(
            f"{where}: has only {short}; fetch.per_category asks for {wanted:,} of each: widen "
            "fetch.since and fetch.until or set fetch.allow_fewer=true"
        )


def _check_ids(papers: pd.DataFrame, where: str) -> None:
    """Raise UserError if an id names two papers, or a paper has a category twice."""
    for column in ("title", "abstract", "primary_category"):
        clashing = papers.groupby("id")[column].transform("nunique") > 1
        if clashing.any():
            clash = papers[clashing]
            identifier = clash["id"].iloc[0]
            rows = [int(i) + 1 for i in clash.index[clash["id"] == identifier][:2]]
            raise UserError(
                f"{where}: id {identifier} has two different values of {column}, "
                f"in rows {rows[0]} and {rows[1]}; an id must name one paper"
            )
    repeated = papers.duplicated(["id", "category"])
    if repeated.any():
        row = int(papers.index[repeated][0])
        raise UserError(
            f"{where}: row {row + 1}: paper {papers['id'][row]} appears twice in category "
            f"{papers['category'][row]}; keep one row per paper and category"
        )
