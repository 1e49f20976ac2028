"""Papers to classify: a CSV or JSON lines of any size, read row by row, damage told by line.

Unlike `csv_source`, which reads the pipeline's own papers whole, this needs texts only, keeps a
chunk in memory at a time, and can go on after a row that cannot be read.
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
LONGEST_FIELD = 64 << 20

Row = dict[str, str]
BadRow = Callable[[str], None]  # gets what is wrong with a row, and where; may raise


class _UnreadableError(Exception):
    """A row that cannot be read, and why."""


def is_json_lines(path: Path) -> bool:
    """Whether a file is of JSON lines, by its name; standard input and output are."""
    return path == STANDARD or path.name.removesuffix(".gz").endswith(JSON_LINES)


def read_records(
    path: Path, rows: int, *, key: str, on_bad_row: BadRow
) -> Generator[pd.DataFrame, None, None]:
    """Yield papers, up to `rows` at a time: title, abstract and, where the file has one, id.

    path: a CSV with a header, or JSON lines (an object with title and abstract each), plain or
    .gz; `-` is standard input. JSON lines always have an id, empty where none is given. Each row
    that cannot be read goes to `on_bad_row`; if that returns, the row is left out. Raises
    UserError if the file is missing, cut off, or has no such columns, or where a CSV's quotes do
    not match, since what follows could not be told apart.
    """
    parse = _json_rows if is_json_lines(path) else _csv_rows
    with explain_read_errors(path, key), _opened(path) as stream:
        found = _readable(parse(stream, path), path, on_bad_row)
        while chunk := list(islice(found, rows)):
            yield pd.DataFrame(chunk)


@contextmanager
def _opened(path: Path) -> Iterator[Iterable[str]]:
    """The file as text, with a bar that counts its bytes; what is no UTF-8 stays to be found."""
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
        yield _counted(text, raw, bar)


def _counted(text: Iterable[str], raw: IO[bytes], bar: Any) -> Iterator[str]:
    """Lines of a text, a bar following to where the file below has been read."""
    for line in text:
        yield line
        bar.update(raw.tell() - bar.n)


def _readable(
    rows: Iterator[Row | _UnreadableError], path: Path, on_bad_row: BadRow
) -> Iterator[Row]:
    name = "standard input" if path == STANDARD else str(path)
    for row in rows:
        if isinstance(row, _UnreadableError):
            on_bad_row(f"{name}: {row}")
        else:
            yield row


def _csv_rows(stream: Iterable[str], path: Path) -> Iterator[Row | _UnreadableError]:
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(stream, strict=True)  # a quote that is never closed is no text
    try:
        header = next(reader)
        _checked(dict.fromkeys(header, ""))
    except StopIteration:
        raise UserError(f"{path}: is empty, expected a CSV with a header line") from None
    except (csv.Error, _UnreadableError) as error:
        raise UserError(f"{path}: line 1: {error}; expected a CSV with a header line") from None
    absent = [f"no column {name}" for name in TEXTS if name not in header]
    if absent:
        raise UserError(f"{path}: {', '.join(absent)}; it has {', '.join(header[:12])}")
    kept = {name: header.index(name) for name in ("id", *TEXTS) if name in header}
    while True:
        first = reader.line_num + 1
        try:
            fields = next(reader, None)
            if fields is None:
                return
            if not fields:
                continue  # an empty line
            if len(fields) != len(header):
                raise _UnreadableError(f"{len(fields)} fields, the header has {len(header)}")
            yield _checked({name: fields[place] for name, place in kept.items()})
        except csv.Error as error:
            lines = _lines(first, reader.line_num)
            raise UserError(
                f"{path}: {lines}: {error}; mend its quotes: where the next row begins is unknown"
            ) from None
        except _UnreadableError as error:
            yield _UnreadableError(f"{_lines(first, reader.line_num)}: {error}")


def _lines(first: int, last: int) -> str:
    return f"line {first}" if last <= first else f"lines {first} to {last}"


def _json_rows(stream: Iterable[str], path: Path) -> Iterator[Row | _UnreadableError]:
    del path
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            yield _checked(_paper(line))
        except _UnreadableError as error:
            yield _UnreadableError(f"line {number}: {error}")


def _paper(line: str) -> Row:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _UnreadableError(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise _UnreadableError(
            f"a {type(found).__name__}, expected an object with title and abstract"
        )
    for name in TEXTS:
        if not isinstance(found.get(name), str):
            raise _UnreadableError(f"no {name} that is a text")
    identifier = found.get("id")
    known = {"id": "" if identifier is None else str(identifier)}
    return known | {name: found[name] for name in TEXTS}


def _checked(row: Row) -> Row:
    """The row, if all of it, names and values, is Unicode text."""
    try:
        "".join([*row, *row.values()]).encode()
    except UnicodeEncodeError:
        raise _UnreadableError("not UTF-8") from None
    return row
