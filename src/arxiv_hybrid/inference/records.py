"""Papers to classify, read row by row from a CSV or JSON lines of any size.

`sources.csv_source` reads the papers of the pipeline as a whole, with all columns. This
reader needs title and abstract only, keeps one chunk in memory, reports problems with their line
numbers, and can continue after an unreadable row.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pandas as pd
from tqdm import tqdm

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.streams import explain_read_errors

STANDARD = Path("-")  # standard input or output, as JSON lines
JSON_LINES = (".jsonl", ".ndjson")
TEXTS = ("title", "abstract")
LONGEST_FIELD = 64 << 20  # characters
HEADER_SHOWN = 12  # columns named in an error message

Row = dict[str, str]
OnBadRow = Callable[[str], None]  # receives a row's line number and problem; may raise


class _BadRowError(Exception):
    """A row cannot be read; the message says why."""


def is_json_lines(path: Path) -> bool:
    """Whether a file is JSON lines, by its name; standard input and output always are."""
    return path == STANDARD or path.name.removesuffix(".gz").endswith(JSON_LINES)


def read_records(
    path: Path, rows: int, *, key: str, on_bad_row: OnBadRow
) -> Generator[pd.DataFrame, None, None]:
    """Yield tables of up to `rows` papers with title, abstract and, if the file has it, id.

    path: a CSV with a header, or JSON lines whose objects have title and abstract, plain or .gz;
    `-` is standard input. JSON lines always get an id, which is empty if none is given. Every
    unreadable row is passed to `on_bad_row`, and skipped if that returns. key: the option that
    named the file, for messages.

    Raises UserError if the file is missing, truncated or lacks a column, or if the quotes of a
    CSV do not match, because it is then unknown where the next row begins.
    """
    parse = _json_rows if is_json_lines(path) else _csv_rows
    with explain_read_errors(path, key), _open_source(path) as stream:
        good_rows = _report_bad_rows(parse(stream, path), path, on_bad_row)
        while chunk := list(islice(good_rows, rows)):
            yield pd.DataFrame(chunk)


@contextmanager
def _open_source(path: Path) -> Iterator[Iterable[str]]:
    """The file as lines of text, with a progress bar over its bytes.

    Bytes that are not UTF-8 become surrogates, which `_check_unicode` finds row by row.
    """
    if path == STANDARD:
        yield io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", errors="surrogateescape")
        return
    size = path.stat().st_size
    with (
        path.open("rb") as raw,
        gzip.open(raw) if path.suffix == ".gz" else nullcontext(raw) as stream,
        tqdm(total=size, desc=path.name, unit="B", unit_scale=True, disable=None) as bar,
    ):
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
        yield _show_progress(text, raw, bar)


def _show_progress(lines: Iterable[str], raw: IO[bytes], bar: Any) -> Iterator[str]:
    """Yield the lines and move the bar to where the underlying file has been read."""
    for line in lines:
        yield line
        bar.update(raw.tell() - bar.n)


def _report_bad_rows(
    rows: Iterator[Row | _BadRowError], path: Path, on_bad_row: OnBadRow
) -> Iterator[Row]:
    name = "standard input" if path == STANDARD else str(path)
    for row in rows:
        if isinstance(row, _BadRowError):
            on_bad_row(f"{name}: {row}")
        else:
            yield row


def _csv_rows(stream: Iterable[str], path: Path) -> Iterator[Row | _BadRowError]:
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(stream, strict=True)  # strict: a quote that is never closed is an error
    header = _csv_header(reader, path)
    columns = {name: header.index(name) for name in ("id", *TEXTS) if name in header}
    while True:
        first = reader.line_num + 1
        try:
            fields = next(reader, None)
            if fields is None:
                return
            if not fields:
                continue  # an empty line
            if len(fields) != len(header):
                raise _BadRowError(f"{len(fields)} fields, the header has {len(header)}")
            yield _check_unicode({name: fields[column] for name, column in columns.items()})
        except csv.Error as error:
            lines = _lines(first, reader.line_num)
            raise UserError(
                f"{path}: {lines}: {error}; fix the quotes: it is unknown where the next row begins"
            ) from None
        except _BadRowError as error:
            yield _BadRowError(f"{_lines(first, reader.line_num)}: {error}")


def _csv_header(reader: Iterator[list[str]], path: Path) -> list[str]:
    try:
        header = next(reader)
        _check_unicode(dict.fromkeys(header, ""))
    except StopIteration:
        raise UserError(f"{path}: is empty, expected a CSV with a header line") from None
    except (csv.Error, _BadRowError) as error:
        raise UserError(f"{path}: line 1: {error}; expected a CSV with a header line") from None
    missing = [f"no column {name}" for name in TEXTS if name not in header]
    if missing:
        raise UserError(f"{path}: {', '.join(missing)}; it has {', '.join(header[:HEADER_SHOWN])}")
    return header


def _lines(first: int, last: int) -> str:
    return f"line {first}" if last <= first else f"lines {first} to {last}"


def _json_rows(stream: Iterable[str], path: Path) -> Iterator[Row | _BadRowError]:
    del path
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            yield _check_unicode(_json_row(line))
        except _BadRowError as error:
            yield _BadRowError(f"line {number}: {error}")


def _json_row(line: str) -> Row:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _BadRowError(f"not JSON: {error}") from None
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise _BadRowError(f"found a {kind}, expected an object with title and abstract")
    for name in TEXTS:
        if not isinstance(content.get(name), str):
            raise _BadRowError(f"{name} is missing or not a string")
    identifier = content.get("id")
    row = {"id": "" if identifier is None else str(identifier)}
    return row | {name: content[name] for name in TEXTS}


def _check_unicode(row: Row) -> Row:
    """Return the row if all its names and values are valid Unicode."""
    try:
        "".join([*row, *row.values()]).encode()
    except UnicodeEncodeError:
        raise _BadRowError("not UTF-8") from None
    return row
