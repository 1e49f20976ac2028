"""Rows of a CSV, read strictly: a damaged file is an error, never a table with other cells."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.streams import MAX_LINE, text_lines

SUFFIXES = (".csv", ".tsv")
COMPRESSED = ("", ".gz", ".xz", ".zip")
_NAMES_SHOWN = 12
_CELL = 64  # bytes that Python needs for a cell beside its text; a line may hold one
_STRAY_RETURN = "new-line character"  # how the message of the module csv starts


class BadRowError(Exception):
    """A row cannot be read, but the next one can; the message says where and why."""


def is_csv(path: Path) -> bool:
    """Whether a file is a CSV, or a TSV, by its name; it may be compressed."""
    return path.name.endswith(tuple(name + packed for name in SUFFIXES for packed in COMPRESSED))


class CsvRows:
    """The header of a CSV, and its rows: lists of as many cells as the header has.

    The separator is a comma, or a tab if the name says .tsv. Quotes must match, and a cell holds no
    NUL byte. Empty lines are skipped. A row takes up to about `streams.MAX_LINE` bytes.

    Raises UserError if the file cannot be read (see `streams.line_blocks`), has no header, or has
    quotes that do not match, because it is then unknown where the next row begins. option: the
    option that named the file, for messages.
    """

    def __init__(self, path: Path, option: str) -> None:
        csv.field_size_limit(MAX_LINE)
        self._path = path
        self._separator = "\t" if ".tsv" in path.suffixes else ","
        self._first = 1  # line in which the current row begins
        self._left = MAX_LINE  # characters that it may still take
        lines = self._count(text_lines(path, option=option))
        self._reader = csv.reader(lines, delimiter=self._separator, strict=True)
        self.header = self._read_header()

    def find(self, name: str) -> int | None:
        """The place of a column; case and spaces around its name do not matter. None: no such one.

        Raises UserError if several columns have the name.
        """
        wanted = name.strip().casefold()
        places = [i for i, other in enumerate(self.header) if other.casefold() == wanted]
        if len(places) > 1:
            twice = " and ".join(f"{self.header[place]} (column {place + 1})" for place in places)
            raise UserError(f"{self._path}: {twice} have the same name; rename all but one")
        return places[0] if places else None

    def missing(self, what: str) -> UserError:
        """The error that a column is missing."""
        names = ", ".join(name[:60] for name in self.header[:_NAMES_SHOWN])
        marks = {",": ";\t", "\t": ";,"}[self._separator]
        only = len(self.header) == 1 and any(mark in names for mark in marks)
        advice = "; separate the columns by commas, or by tabs in a .tsv" if only else ""
        if names.startswith(("{", "[")):
            advice = "; if these are JSON lines, give the file the ending .jsonl"
        return UserError(f"{self._path}: {what}; it has {names}{advice}")

    def __iter__(self) -> Iterator[list[str] | BadRowError]:
        """The rows in order; one that cannot be read is a BadRowError instead."""
        while True:
            self._first = self._reader.line_num + 1
            self._left = MAX_LINE
            try:
                cells = next(self._reader, None)
                if cells is None:
                    return
                if cells:
                    self._check(cells)
                    yield cells
            except csv.Error as error:
                raise UserError(
                    f"{self._path}: {self._lines()}: {_reason(error)}; fix the quotes: it is "
                    "unknown where the next row begins"
                ) from None
            except BadRowError as error:
                yield BadRowError(f"{self._lines()}: {error}")

    def _check(self, cells: list[str]) -> None:
        if len(cells) != len(self.header):
            fields = f"{len(cells):,} field{'s' if len(cells) > 1 else ''}"
            raise BadRowError(f"{fields}, the header has {len(self.header):,}")
        _check_text(cells)

    def _read_header(self) -> list[str]:
        try:
            header = next(self._reader)
            _check_text(header)
        except StopIteration:
            raise UserError(f"{self._path}: is empty, expected a CSV with a header line") from None
        except (csv.Error, BadRowError) as error:
            raise UserError(
                f"{self._path}: line 1: {_reason(error)}; expected a CSV with a header line"
            ) from None
        return [name.strip() for name in header]

    def _lines(self) -> str:
        first, last = self._first, self._reader.line_num
        return f"line {first}" if last <= first else f"lines {first} to {last}"

    def _count(self, lines: Iterator[str]) -> Iterator[str]:
        """Pass the lines on; UserError if a row takes more than about `MAX_LINE` bytes."""
        for line in lines:
            self._left -= len(line) + _CELL
            if self._left < 0:
                raise UserError(
                    f"{self._path}: the row that begins in line {self._first} is longer than "
                    f"{MAX_LINE >> 20} MiB; is a closing quote missing?"
                )
            yield line


def _check_text(cells: list[str]) -> None:
    """Raise BadRowError if a cell has a NUL byte or is not UTF-8."""
    text = "".join(cells)
    if "\0" in text:
        raise BadRowError("a NUL byte; is the file damaged, or UTF-16?")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) - 0xDC00  # see the error handler "surrogateescape"
        raise BadRowError(f"not UTF-8: byte 0x{byte:02x}; save the file as UTF-8") from None


def _reason(error: Exception) -> str:
    text = str(error)
    return "a carriage return outside quotes" if text.startswith(_STRAY_RETURN) else text
