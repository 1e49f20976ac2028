"""Schema of the table that every source returns, and the checks before anything trains."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.taxonomy.categories import old_archives, parse_listing, spelled

TEXTS = ("title", "abstract")
CATEGORY_COLUMNS = ("category", "primary_category", "all_categories")
COLUMNS = ("id", *TEXTS, *CATEGORY_COLUMNS, "published")
LABEL = "label"  # one more column if labels come from a column of the user's file
_PLACEHOLDERS = {"", "nan", "null", "none", "n/a", "na"}
_LONGEST_PLACEHOLDER = max(map(len, _PLACEHOLDERS))
_SHOWN = 5  # categories named in a message


def is_text(value: str) -> bool:
    """Whether a title or abstract is there: not empty, and no placeholder like `n/a`.

    A number, a formula or a text in any script is one.
    """
    stripped = value.strip()
    return len(stripped) > _LONGEST_PLACEHOLDER or stripped.lower() not in _PLACEHOLDERS


def one_line(text: str) -> str:
    """Collapse white space and NULs; what UTF-8 cannot encode (lone surrogates) becomes `?`."""
    line = text.replace("\n", " ").strip()
    if line.isascii():  # a chain of searches is ten times as fast as a regular expression
        odd = ("\t" in line or "\r" in line or "\v" in line or "\f" in line or "\x1c" in line
               or "\x1d" in line or "\x1e" in line or "\x1f" in line
               or "\0" in line)  # fmt: skip
    else:
        odd = not line.isprintable()  # white space other than a blank, half of a surrogate pair
    if odd or "  " in line:
        text = text.replace("\0", " ")  # which ends a cell in other programs
        return " ".join(text.split()).encode("utf-8", "replace").decode("utf-8")
    return line


def _is_listing(cell: str) -> bool:
    listing = parse_listing(cell)
    return bool(listing.categories) and ",".join(listing.categories) == cell


def _column(check: Callable[[str], bool], description: str, *, repeats: bool) -> pa.Column:
    """A column whose cells pass `check`; with `repeats`, equal cells are checked once."""

    def passes(cells: pd.Series) -> pd.Series:
        return cells.map({cell: check(cell) for cell in cells.unique()} if repeats else check)

    return pa.Column(str, pa.Check(passes, name=description), description=description)


ONE_CATEGORY = "a category of arXiv, such as cs.LG"
CATEGORIES = "categories of arXiv, such as cs.LG, separated by commas"
_TEXT = _column(is_text, "text", repeats=False)
_ONE_CATEGORY = _column(lambda cell: spelled(cell) == cell, ONE_CATEGORY, repeats=True)
PAPERS = pa.DataFrameSchema(
    {
        "id": pa.Column(str, pa.Check.str_matches(r"^\S+( \S+)*$"), description="a non-empty id"),
        "title": _TEXT,
        "abstract": _TEXT,
        "category": _ONE_CATEGORY,
        "primary_category": _ONE_CATEGORY,
        "all_categories": _column(_is_listing, CATEGORIES, repeats=True),
        "published": pa.Column(
            str,
            pa.Check.str_matches(r"^$|^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$"),
            description="a date as YYYY-MM-DD, or empty",
        ),
    },
    strict=True,
    ordered=True,
)
_ANY = pa.Column(str)
# own labels need no categories
LABELLED = PAPERS.update_columns(
    {name: {"checks": [], "description": ""} for name in CATEGORY_COLUMNS}
).add_columns({LABEL: _ANY})


def check_papers(
    papers: pd.DataFrame, where: str, *, without: Collection[str] = ()
) -> pd.DataFrame:
    """Return `papers` if every row is valid; else UserError with file, row and column.

    Rows are numbered by the index, starting at 1 after the header. A paper may have several
    rows (one per category query), but only one text. A table with the column `label` needs no
    categories. without: title or abstract, if that column may be empty.
    """
    if papers.empty:
        raise UserError(f"{where}: has no rows")
    schema = LABELLED if LABEL in papers else PAPERS
    schema = schema.update_columns({name: {"checks": []} for name in without})
    try:
        schema.validate(papers, lazy=True)
    except SchemaErrors as error:
        raise UserError(f"{where}: {_describe(error.failure_cases)}") from None
    _check_ids(papers, where)
    return papers.reset_index(drop=True)


def _describe(failures: pd.DataFrame) -> str:
    """The first invalid cell, what is allowed there, and the number of invalid rows."""
    cases = failures.dropna(subset=["index"])
    if cases.empty:
        return str(failures["failure_case"].iloc[0])
    first = cases.sort_values("index", kind="stable").iloc[0]
    row, column, cell = int(first["index"]), str(first["column"]), str(first["failure_case"])
    expected = PAPERS.columns[column].description or ""
    return bad_cell(row, column, cell, expected, rows=cases["index"].nunique())


def bad_cell(row: int, column: str, cell: str, expected: str, *, rows: int) -> str:
    """The message about an invalid cell; row: from 0. rows: the number of invalid rows."""
    shown = repr(cell if len(cell) <= 60 else cell[:57] + "...")
    more = f" ({rows - 1:,} more rows fail)" if rows > 1 else ""
    return f"row {row + 1:,}, column {column}: found {shown}, expected {expected}{more}"


def too_few(counts: Mapping[str, int], wanted: int) -> str:
    """The categories with fewer than `wanted` papers, in words; empty if there are none.

    Old archives do not count: they get no new papers.
    """
    active = {name: n for name, n in counts.items() if name not in old_archives()}
    short = [f"{n:,} of {name}" for name, n in active.items() if n < wanted]
    more = f" and fewer of {len(short) - _SHOWN} more categories" if len(short) > _SHOWN else ""
    return ", ".join(short[:_SHOWN]) + more


def check_enough(counts: Mapping[str, int], wanted: int, where: str, allow_fewer: bool) -> None:
    """Raise UserError if a category has fewer papers than `fetch.per_category`."""
    short = too_few(counts, wanted)
    if short and not allow_fewer:
        raise UserError(
            f"{where}: has only {short}; fetch.per_category asks for {wanted:,} of each: widen "
            "fetch.since and fetch.until or set fetch.allow_fewer=true"
        )


def _check_ids(papers: pd.DataFrame, where: str) -> None:
    """Raise UserError if an id names two papers, or a paper has a category twice."""
    if papers["id"].is_unique:
        return
    labelled = LABEL in papers
    for column in (*TEXTS, LABEL if labelled else "primary_category"):
        clashing = papers.groupby("id")[column].transform("nunique") > 1
        if clashing.any():
            clash = papers[clashing]
            identifier = clash["id"].iloc[0]
            rows = [int(i) + 1 for i in clash.index[clash["id"] == identifier][:2]]
            advice = (
                "write several labels into one cell (labels.separator)"
                if column == LABEL
                else "an id must name one paper"
            )
            raise UserError(
                f"{where}: id {identifier} has two different values of {column}, "
                f"in rows {rows[0]} and {rows[1]}; {advice}"
            )
    repeated = papers.duplicated(["id", "category"])
    if repeated.any() and not labelled:
        row = int(papers.index[repeated][0])
        raise UserError(
            f"{where}: row {row + 1}: paper {papers['id'][row]} appears twice in category "
            f"{papers['category'][row]}; keep one row per paper and category"
        )
