"""Papers from a CSV file, plain or .gz."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from arxiv_hybrid.data.identifiers import canonical
from arxiv_hybrid.data.schema import COLUMNS
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.streams import explain_read_errors
from arxiv_hybrid.taxonomy.label_sets import CATEGORIES

REQUIRED = ("id", "title", "abstract")


def read_csv(path: Path, *, option: str = "fetch.path") -> pd.DataFrame:
    """Read papers from a CSV into the columns of `schema.COLUMNS`; cells are not checked yet.

    Needs id, title, abstract, and one of category, primary_category, all_categories. The
    rest is derived: `primary_category` is the first listed category, `category` the first
    listed one that is a class (papers without one are left out), `published` stays empty.
    arXiv ids are reduced to one form (no `arXiv:`, URL or version). option: the option that
    named the file, for messages.
    Raises UserError if the file is missing, truncated, not UTF-8 or not a table.
    """
    table = _read_table(path, option)
    missing = _missing_columns(table)
    if not {"category", "primary_category", "all_categories"} & set(table.columns):
        missing.append("category (or primary_category, or all_categories)")
    _raise_if_missing(missing, table, path)
    table = _derive_columns(table, path)
    papers = table[list(COLUMNS)].copy()
    for column in ("id", "category", "primary_category", "published"):
        papers[column] = papers[column].str.strip()
    papers["id"] = papers["id"].map(canonical)
    papers["published"] = papers["published"].str.slice(0, 10)
    for column in ("title", "abstract"):
        papers[column] = papers[column].str.replace(r"\s+", " ", regex=True).str.strip()
    return papers


def read_texts(path: Path, *, option: str) -> pd.DataFrame:
    """Read only id, title and abstract, of papers that need no category."""
    table = _read_table(path, option)
    _raise_if_missing(_missing_columns(table), table, path)
    return table[list(REQUIRED)].assign(id=table["id"].map(canonical))


def _missing_columns(table: pd.DataFrame) -> list[str]:
    return [name for name in REQUIRED if name not in table.columns]


def _raise_if_missing(missing: list[str], table: pd.DataFrame, path: Path) -> None:
    if missing:
        columns = ", ".join(map(str, table.columns[:12]))
        raise UserError(f"{path}: no column {', no column '.join(missing)}; it has {columns}")


def _derive_columns(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Fill in the category columns and the date that a file may leave out."""
    if "all_categories" in table:
        table["all_categories"] = (
            table["all_categories"].str.strip().str.replace(r"[,;\s]+", ",", regex=True)
        )
    if "primary_category" not in table:
        source = "all_categories" if "all_categories" in table else "category"
        table["primary_category"] = table[source].str.split(",").str[0]
    if "all_categories" not in table:
        table["all_categories"] = table["primary_category"]
    if "category" not in table:
        table["category"] = [_first_class(listed) for listed in table["all_categories"]]
        table = table[table["category"] != ""].copy()  # the index keeps row numbers for messages
        if table.empty:
            raise UserError(f"{path}: no paper lists any of {', '.join(CATEGORIES)}")
    if "published" not in table:
        table["published"] = ""
    return table


def _first_class(listed: str) -> str:
    return next((name for name in listed.split(",") if name in CATEGORIES), "")


def _read_table(path: Path, option: str) -> pd.DataFrame:
    with _explain_csv_errors(path, option):
        table: pd.DataFrame = pd.read_csv(path, **_read_options(path))
    # pandas turns surplus fields into an index instead of raising
    if table.index.nlevels > 1 or not isinstance(table.index, pd.RangeIndex):
        raise UserError(f"{path}: rows have more fields than the header has names")
    return table.fillna("")


def _read_options(path: Path) -> dict[str, Any]:
    return {
        "dtype": str,
        "keep_default_na": False,
        "encoding": "utf-8-sig",
        "compression": "gzip" if path.suffix == ".gz" else None,
        "on_bad_lines": "error",
    }


@contextmanager
def _explain_csv_errors(path: Path, option: str) -> Iterator[None]:
    """Turn errors of reading a CSV inside the block into a UserError of one line."""
    try:
        with explain_read_errors(path, option):
            yield
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8: byte 0x{error.object[error.start]:02x} at offset {error.start}; "
            "save it as UTF-8"
        ) from None
    except pd.errors.EmptyDataError:
        raise UserError(f"{path}: is empty, expected a CSV with a header line") from None
    except pd.errors.ParserError as error:
        raise UserError(f"{path}: not a valid CSV: {error}") from None
