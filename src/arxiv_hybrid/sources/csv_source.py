"""Papers from a table of the user: .csv, or .tsv with tabs, plain or compressed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd

from arxiv_hybrid.data.identifiers import LostZeros, canonical, lost_zeros, made_of
from arxiv_hybrid.data.schema import (
    CATEGORIES,
    CATEGORY_COLUMNS,
    COLUMNS,
    LABEL,
    ONE_CATEGORY,
    TEXTS,
    bad_cell,
    one_line,
)
from arxiv_hybrid.params.schema import Columns
from arxiv_hybrid.system.csv_rows import BadRowError, CsvRows
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.taxonomy.categories import parse_listing, unaliased

_ROWS_AT_ONCE = 4096
_OWN_LABELS = "set labels.from=column, or use `data inspect --label`"


@dataclass(frozen=True)
class CsvFile:
    """The rows of a file, and what it lacks.

    papers: the columns of `schema.COLUMNS`, then `label` if labels come from a column; not checked
    yet, and numbered by the index as in the file. without: title or abstract, if there is no such
    column. has_ids: whether there is a column of ids; if not, they are made from the texts.
    lost_zeros: ids of arXiv that became numbers, if there are any.
    """

    papers: pd.DataFrame
    without: tuple[str, ...]
    has_ids: bool
    lost_zeros: LostZeros | None = None

    def distinct(self, *, per_query: bool = False) -> pd.DataFrame:
        """The rows without those that repeat an earlier one.

        Made ids repeat with the text; per_query: each category of it has a row. Rows of one id in
        the file are repeats if texts and categories agree. With labels all are kept, because two
        labels of a paper are an error.
        """
        if not self.has_ids:
            return self.papers.drop_duplicates(["id", "category"] if per_query else ["id"])
        if LABEL in self.papers:
            return self.papers
        return self.papers.drop_duplicates(["id", *TEXTS, "category", "primary_category"])


def load_csv(
    path: Path,
    *,
    option: str = "fetch.path",
    columns: Columns | None = None,
    label: str | None = None,
    wanted: tuple[str, ...] | None = None,
) -> CsvFile:
    """Read papers from a CSV.

    columns: the names of its columns; case and surrounding spaces do not matter. A title or an
    abstract must exist; ids and dates are optional. label: the column of the labels; without one,
    one of `category`, `primary_category` and `all_categories` is needed, and the others are
    derived: the primary category is the first one listed, and `category` the first one of
    `wanted`, else the primary one. Categories are written as arXiv spells them, separated by
    commas, the primary one first. option: the option that named the file, for messages.

    Raises UserError if the file is missing, truncated, not UTF-8 or not a table (see
    `system.csv_rows`), if a column is missing or ambiguous, or if a name is no category of arXiv.
    """
    table = _Table(path, option, columns or Columns())
    papers, without, has_ids = _texts(table)
    if label is None:
        papers = papers.assign(**_categories(table, papers["id"], wanted))
    else:
        papers = papers.assign(**dict.fromkeys(CATEGORY_COLUMNS, ""))
    published = table.find("published")
    papers["published"] = "" if published is None else published.str.strip().str.slice(0, 10)
    papers = papers[list(COLUMNS)]
    if label is not None:
        papers = papers.assign(**{LABEL: _labels(table, label)})
    return CsvFile(papers, without, has_ids, lost_zeros(papers["id"].tolist()))


def read_csv(path: Path, *, option: str = "fetch.path") -> pd.DataFrame:
    """The rows of a CSV with categories; see `load_csv`."""
    return load_csv(path, option=option).papers


def read_texts(path: Path, *, option: str) -> pd.DataFrame:
    """Read only id, title and abstract, of papers that need no category."""
    return _texts(_Table(path, option, Columns()))[0]


class _Table:
    """The cells of a file, found by the names of its columns."""

    def __init__(self, path: Path, option: str, columns: Columns) -> None:
        self.path = path
        self._columns = columns
        self._rows = CsvRows(path, option)
        self._cells = _cells(self._rows, path)

    def name(self, role: str) -> str:
        """The name of the column that has a role, such as `title`."""
        return str(getattr(self._columns, role))

    def find(self, role: str) -> pd.Series | None:
        """The cells of the column that has a role; None if the file has no such column.

        Raises UserError if the user named the column and it does not exist.
        """
        name = self.name(role)
        cells = self.named(name)
        if cells is None and name != Columns.model_fields[role].default:
            raise self.missing(f"no column {name} (fetch.columns.{role})")
        return cells

    def named(self, name: str) -> pd.Series | None:
        """The cells of a column by its name in any case; None if there is none."""
        place = self._rows.find(name)
        return None if place is None else pd.Series(self._cells[place], dtype=object)

    def missing(self, what: str) -> UserError:
        """The error that a column is missing."""
        return self._rows.missing(what)


def _cells(rows: CsvRows, path: Path) -> list[list[str]]:
    """The cells of each column; UserError on the first row that cannot be read."""
    cells: list[list[str]] = [[] for _ in rows.header]
    every = iter(rows)
    while chunk := list(islice(every, _ROWS_AT_ONCE)):
        for row in chunk:
            if isinstance(row, BadRowError):
                raise UserError(f"{path}: {row}")
        for column, part in zip(cells, zip(*chunk, strict=True), strict=True):
            column.extend(part)
    return cells


def _texts(table: _Table) -> tuple[pd.DataFrame, tuple[str, ...], bool]:
    """Id, title and abstract; which text has no column; and whether there is a column of ids."""
    found = {name: table.find(name) for name in TEXTS}
    without = tuple(name for name, cells in found.items() if cells is None)
    if len(without) == len(TEXTS):
        names = " and no column ".join(table.name(text) for text in TEXTS)
        raise table.missing(f"no column {names} (fetch.columns); a paper needs one of them")
    texts = pd.DataFrame({name: cells.map(one_line) for name, cells in found.items()
                          if cells is not None})  # fmt: skip
    texts = texts.assign(**dict.fromkeys(without, ""))
    ids = table.find("id")
    if ids is None:
        made = map(made_of, texts["title"], texts["abstract"])
        texts["id"] = pd.Series(list(made), index=texts.index, dtype=object)
    else:
        texts["id"] = ids.map(canonical)
    return texts[["id", *TEXTS]], without, ids is not None


def _labels(table: _Table, column: str) -> pd.Series:
    cells = table.named(column)
    if cells is None:
        raise table.missing(f"no column {column} (labels.column)")
    if len(cells) and not cells.str.strip().any():
        raise UserError(f"{table.path}: column {column} is empty in every row (labels.column)")
    return cells.map(one_line)


Listed = list[tuple[str, ...]]  # the categories in each row


def _categories(
    table: _Table, ids: pd.Series, wanted: tuple[str, ...] | None
) -> dict[str, list[str]]:
    """The columns category, primary_category and all_categories, from those that there are."""
    cells = {name: table.find(name) for name in CATEGORY_COLUMNS}
    if all(column is None for column in cells.values()):
        names = " or ".join(table.name(name) for name in reversed(CATEGORY_COLUMNS))
        raise table.missing(f"no column {names}; for labels of your own {_OWN_LABELS}")
    category, primary, every = (_listings(table, name, cells) for name in CATEGORY_COLUMNS)
    if every is not None:
        listed = every if primary is None else list(map(_joined, primary, every))
    elif primary is not None:
        listed = primary
    else:
        several = any(len(names) > 1 for names in category or [])
        listed = _joined_by_id(ids, category or [])
        category = None if several else category
    if category is None:
        category = [(_first_wanted(names, wanted),) for names in listed]
    return {
        "category": [names[0] for names in category],
        "primary_category": [names[0] for names in listed],
        "all_categories": [",".join(names) for names in listed],
    }


def _listings(table: _Table, name: str, columns: dict[str, pd.Series | None]) -> Listed | None:
    """The categories in a column; None if there is no such column. UserError on other names."""
    cells = columns[name]
    if cells is None:
        return None
    alone = sum(column is not None for column in columns.values()) == 1
    single = name == "primary_category" or (name == "category" and not alone)
    listings = [parse_listing(cell) for cell in cells]
    bad = [
        row for row, (known, unknown) in enumerate(listings)
        if unknown or not known or (single and len(known) > 1)
    ]  # fmt: skip
    if bad:
        expected = ONE_CATEGORY if single else CATEGORIES
        if unknown := listings[bad[0]].unknown:
            expected += f"; arXiv has no {unknown[0]}"
        problem = bad_cell(bad[0], table.name(name), cells.iloc[bad[0]], expected, rows=len(bad))
        raise UserError(f"{table.path}: {problem}")
    return [listing.categories for listing in listings]


def _joined(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(first + second))


def _joined_by_id(ids: pd.Series, listed: Listed) -> Listed:
    """For each row the categories in all rows of its paper."""
    papers: dict[str, tuple[str, ...]] = {}
    for identifier, names in zip(ids, listed, strict=True):
        papers[identifier] = _joined(papers.get(identifier, ()), names)
    return [papers[identifier] for identifier in ids]


def _first_wanted(listed: tuple[str, ...], wanted: tuple[str, ...] | None) -> str:
    """The first listed category that is wanted, else the primary one."""
    return next((name for name in listed if unaliased(name) in (wanted or ())), listed[0])
