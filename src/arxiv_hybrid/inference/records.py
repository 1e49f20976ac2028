"""Papers to classify, read row by row from a CSV or JSON lines of any size.

`sources.csv_source` reads the papers of the pipeline as a whole, with all columns. This
reader needs title and abstract only, keeps one chunk in memory, reports problems with their line
numbers, and can continue after an unreadable row. Both read a CSV by `system.csv_rows`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pandas as pd

from arxiv_hybrid.data.identifiers import lost_zeros
from arxiv_hybrid.system.csv_rows import BadRowError, CsvRows
from arxiv_hybrid.system.json_text import Number, parse_json
from arxiv_hybrid.system.streams import text_lines

STANDARD = Path("-")  # standard input or output, as JSON lines
JSON_LINES = (".jsonl", ".ndjson")
TEXTS = ("title", "abstract")
CHUNK_LIMIT = 32 << 20  # characters in one table

Row = dict[str, str]
OnBadRow = Callable[[str], None]  # receives a row's line number and problem; may raise


def is_json_lines(path: Path) -> bool:
    """Whether a file is JSON lines, by its name; standard input and output always are."""
    name = path.name.removesuffix(".gz").removesuffix(".xz").removesuffix(".zip")
    return path == STANDARD or name.endswith(JSON_LINES)


def read_records(
    path: Path, rows: int, *, key: str, on_bad_row: OnBadRow
) -> Generator[pd.DataFrame, None, None]:
    """Yield tables of up to `rows` papers with title, abstract and, if the file has it, id.

    path: a CSV with a header, or JSON lines whose objects have title and abstract, plain or
    compressed; `-` is standard input. JSON lines always get an id, which is empty if none is
    given. Every unreadable row is passed to `on_bad_row`, and skipped if that returns. key: the
    option that named the file, for messages. Tables of long papers have fewer rows.

    Raises UserError if the file is missing, truncated or lacks a column, if a line is longer than
    `streams.MAX_LINE`, or if the quotes of a CSV do not match, because it is then unknown where the
    next row begins. Ids of arXiv that have become numbers are told on stderr.
    """
    parse = _json_rows if is_json_lines(path) else _csv_rows
    good_rows = _report_bad_rows(parse(path, key), path, on_bad_row)
    read, told = 0, False
    for chunk in _chunks(good_rows, rows):
        papers = pd.DataFrame(chunk)
        if not told and "id" in papers and (lost := lost_zeros(papers["id"].tolist())):
            told = True
            print(f"{path}: {lost._replace(row=lost.row + read)}", file=sys.stderr)
        read += len(papers)
        yield papers


def _chunks(good_rows: Iterator[Row], rows: int) -> Iterator[list[Row]]:
    """Lists of up to `rows` rows; fewer if their texts are long."""
    chunk: list[Row] = []
    left = CHUNK_LIMIT
    for row in good_rows:
        chunk.append(row)
        left -= sum(map(len, row.values()))
        if len(chunk) == rows or left < 0:
            yield chunk
            chunk, left = [], CHUNK_LIMIT
    if chunk:
        yield chunk


def _report_bad_rows(
    rows: Iterator[Row | BadRowError], path: Path, on_bad_row: OnBadRow
) -> Iterator[Row]:
    name = "standard input" if path == STANDARD else str(path)
    for row in rows:
        if isinstance(row, BadRowError):
            on_bad_row(f"{name}: {row}")
        else:
            yield row


def _csv_rows(path: Path, key: str) -> Iterator[Row | BadRowError]:
    table = CsvRows(path, key)
    places = {name: table.find(name) for name in ("id", *TEXTS)}
    columns = {name: place for name, place in places.items() if place is not None}
    if missing := [f"no column {name}" for name in TEXTS if name not in columns]:
        raise table.missing(", ".join(missing))
    for row in table:
        if isinstance(row, BadRowError):
            yield row
        else:
            yield {name: row[place] for name, place in columns.items()}


def _json_rows(path: Path, key: str) -> Iterator[Row | BadRowError]:
    lines = text_lines(path, option=key, standard_input=path == STANDARD)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _check_unicode(_json_row(line))
        except BadRowError as error:
            yield BadRowError(f"line {number}: {error}")


def _json_row(line: str) -> Row:
    try:
        content = parse_json(line)
    except ValueError as error:
        raise BadRowError(f"not JSON: {error}") from None
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise BadRowError(f"found a {kind}, expected an object with title and abstract")
    for name in TEXTS:
        if not isinstance(content.get(name), str):
            raise BadRowError(f"{name} is missing or not a string")
    identifier = content.get("id")
    if not isinstance(identifier, (str, Number, type(None))):
        kind = type(identifier).__name__
        raise BadRowError(f"id is a {kind}, expected a string or a number")
    row = {"id": "" if identifier is None else str(identifier)}
    return row | {name: content[name] for name in TEXTS}


def _check_unicode(row: Row) -> Row:
    """Return the row if all its names and values are valid Unicode."""
    try:
        "".join([*row, *row.values()]).encode()
    except UnicodeEncodeError:
        raise BadRowError("not UTF-8") from None
    return row
