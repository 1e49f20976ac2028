"""Finds papers of the wanted categories in blocks of the metadata dump, one JSON object per line.

If only some categories are wanted, a block is searched as bytes for the categories of its lines,
and only the lines that list a wanted one are parsed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import orjson

from arxiv_hybrid.data.identifiers import canonical, month_of, submitted, with_zeros
from arxiv_hybrid.data.schema import is_text, one_line
from arxiv_hybrid.sources.tables import Paper
from arxiv_hybrid.system.errors import UserError, shown
from arxiv_hybrid.system.json_text import parse_json
from arxiv_hybrid.taxonomy.categories import names_of, parse_listing

_KEY = b'"categories"'
_CATEGORIES = re.compile(rb'"categories"\s*:\s*("(?:[^"\\]|\\.){0,2000}"|\[[^\]]{0,2000}\])')
_LONGEST_LISTING = 2000  # characters, so that the listings kept stay small; arXiv's have up to 150
_LISTINGS_KEPT = 1 << 17

Line: TypeAlias = bytes | memoryview


class RawPaper(NamedTuple):
    """One line of the dump; its date stays raw, because most papers are dropped later."""

    id: str
    title: str  # as in the dump, or on one line
    abstract: str
    categories: tuple[str, ...]
    created: str  # of the first version, as in an e-mail header; empty without versions

    @property
    def published(self) -> str:
        """Day of the first version as YYYY-MM-DD; empty if the dump has no versions."""
        if not self.created:
            return ""
        try:
            return parsedate_to_datetime(self.created).date().isoformat()
        except ValueError:
            raise UserError(f"paper {self.id}: not a date: {shown(self.created)}") from None

    def paper(self) -> Paper:
        """The paper as a row of a table."""
        title, abstract = one_line(self.title), one_line(self.abstract)
        return Paper(self.id, title, abstract, self.categories, self.published)


@dataclass(frozen=True)
class Window:
    """First and last day of submission, both inclusive; None means no limit."""

    since: date | None = None
    until: date | None = None

    @classmethod
    def parse(cls, since: str | None, until: str | None) -> Window:
        """From days as YYYY-MM-DD."""
        first, last = (date.fromisoformat(day) if day else None for day in (since, until))
        return cls(first, last)

    def includes(self, paper: RawPaper) -> bool:
        """Compare the date of the first version, or the month of the id if there is no date."""
        if self.since is None and self.until is None:
            return True
        day = date.fromisoformat(paper.published or f"{month_of(paper.id, '')}-01")
        return (self.since is None or self.since <= day) and (
            self.until is None or day <= self.until
        )


@dataclass(frozen=True)
class Request:
    """What to find: papers in a window that list a category or one of its aliases.

    categories: None for all. all_kept: no paper is dropped later, so texts are put on one line.
    path: for messages.
    """

    path: str
    categories: tuple[str, ...] | None = None
    window: Window = field(default_factory=Window)
    all_kept: bool = False

    def names(self) -> frozenset[str] | None:
        """The wanted categories and their aliases."""
        if self.categories is None:
            return None
        return frozenset(name for category in self.categories for name in names_of(category))


@dataclass
class ScannedBlock:
    """The wanted papers of a block, and counts of what was read.

    lines: papers in the block. other: those that list no wanted category. outside: wanted ones
    outside the window. unreadable: wanted ones without a title or an abstract. uncategorized:
    papers without any category of arXiv. lost_zeros: papers whose id lost its last zero, as a
    number does; first_lost: the first of them. unknown: names among the categories of the papers
    read that arXiv does not have; first_unknown: the first, and its line.
    """

    papers: list[RawPaper] = field(default_factory=list)
    lines: int = 0
    other: int = 0
    outside: int = 0
    unreadable: int = 0
    uncategorized: int = 0
    lost_zeros: int = 0
    first_lost: str = ""
    unknown: int = 0
    first_unknown: str = ""


class _LineError(ValueError):
    """What is wrong with a line; the caller adds the line number."""


def scan(block: bytes, first_line: int, request: Request) -> ScannedBlock:
    """Find the requested papers in a block of whole lines.

    first_line: number of the block's first line, for messages. Raises UserError on a line that
    is not a JSON object of arXiv metadata.
    """
    scanned = ScannedBlock()
    names = request.names()
    lines: Iterable[tuple[int, Line]]
    if names is None:
        lines = _every_line(block)
    else:
        keys, lines = _lines_listing(names, block)
        scanned.lines = block.count(b"\n") + (not block.endswith(b"\n"))
        if keys != scanned.lines or not block.endswith(b"\n"):
            scanned.lines = _count_objects(block, first_line, request.path)
    for start, line in lines:
        try:
            unknown = _read(line, names, request, scanned)
        except _LineError as error:
            number = first_line + block.count(b"\n", 0, start)
            raise UserError(f"{request.path}: line {number}: {error}") from None
        if unknown and not scanned.unknown:
            number = first_line + block.count(b"\n", 0, start)
            scanned.first_unknown = f"{unknown[0]} in line {number:,}"
        scanned.unknown += len(unknown)
    lost = [paper.id for paper in scanned.papers if with_zeros(paper.id) != paper.id]
    scanned.lost_zeros, scanned.first_lost = len(lost), lost[0] if lost else ""
    read = scanned.uncategorized + scanned.unreadable + scanned.outside + len(scanned.papers)
    scanned.other = scanned.lines - read
    return scanned


def _every_line(block: bytes) -> Iterator[tuple[int, Line]]:
    """Start and content of each line that is not empty; nothing is copied."""
    view = memoryview(block)
    start = 0
    while start < len(block):
        stop = block.find(b"\n", start)
        stop = stop if stop >= 0 else len(block)
        if not block[start : start + 1].isspace() or block[start:stop].strip():
            yield start, view[start:stop]
        start = stop + 1


def _lines_listing(names: frozenset[str], block: bytes) -> tuple[int, list[tuple[int, Line]]]:
    """The number of keys `categories`, and start and content of each line that lists a name."""
    lines: list[tuple[int, Line]] = []
    keys = end = 0
    # bytes.find skips to the next key several times faster than a regular expression
    while (key := block.find(_KEY, end)) >= 0:
        match = _CATEGORIES.match(block, key)
        end = match.end() if match else key + len(_KEY)
        if not match:
            continue
        keys += 1
        if not names.isdisjoint(_listed(match[1])):
            start = block.rfind(b"\n", 0, key) + 1
            stop = block.find(b"\n", end)
            lines.append((start, block[start : stop if stop >= 0 else len(block)]))
    return keys, lines


@lru_cache(_LISTINGS_KEPT)
def _listed(value: bytes) -> tuple[str, ...]:
    """The categories in a JSON string or list; empty if it is neither."""
    try:
        return parse_listing(_joined(json.loads(value))).categories
    except ValueError:
        return ()


def _joined(categories: Any) -> str:
    """Categories as one string; some copies of the dump have a list."""
    if isinstance(categories, list) and all(isinstance(name, str) for name in categories):
        categories = " ".join(categories)
    if not isinstance(categories, str):
        raise _LineError("no categories; is this arXiv metadata?")
    if len(categories) > _LONGEST_LISTING:
        raise _LineError(f"categories of {len(categories):,} characters; is the file damaged?")
    return categories


def _read(
    line: Line, names: frozenset[str] | None, request: Request, scanned: ScannedBlock
) -> tuple[str, ...]:
    """Add a line to what was scanned; return the names that are no category."""
    record = _load(line)
    listing = parse_listing(_joined(record.get("categories")))
    if names is None:
        scanned.lines += 1
    elif names.isdisjoint(listing.categories):  # the key found is inside another value
        return ()
    paper = _parse(record, listing.categories, tidy=request.all_kept)
    if not listing.categories:
        scanned.uncategorized += 1
    elif not (is_text(paper.title) and is_text(paper.abstract)):
        scanned.unreadable += 1
    elif request.window.includes(paper):
        scanned.papers.append(paper)
    else:
        scanned.outside += 1
    return listing.unknown


def _parse(record: dict[str, Any], categories: tuple[str, ...], *, tidy: bool) -> RawPaper:
    for key in ("id", "title", "abstract"):
        if key == "id" and isinstance(record.get(key), float):
            raise _LineError(
                f"id {record[key]} is a number, which loses zeros at its end: write ids as strings"
            )
        if not isinstance(record.get(key), str):
            raise _LineError(f"{key} is missing or not a string")
    identifier = canonical(record["id"])
    if submitted(identifier) is None:
        raise _LineError(f"id {shown(record['id'])} is not an arXiv id")
    try:
        versions = record.get("versions")
        created = versions[0]["created"] + "" if versions else ""
    except (LookupError, TypeError):
        raise _LineError("versions is malformed: expected the date `created` in each") from None
    title, abstract = record["title"], record["abstract"]
    if tidy:
        title, abstract = one_line(title), one_line(abstract)
    return RawPaper(identifier, title, abstract, categories, created)


def _load(line: Line) -> dict[str, Any]:
    try:
        record = orjson.loads(line)
    except ValueError:
        record = _load_slowly(line)
    if not isinstance(record, dict):
        raise _LineError("not a JSON object")
    return record


def _load_slowly(line: Line) -> Any:
    """Parse what orjson refuses, such as half of a surrogate pair; _LineError if it is no JSON."""
    try:
        return parse_json(bytes(line).decode("utf-8", "surrogatepass"))
    except ValueError as error:
        raise _LineError(f"invalid JSON: {error}") from None


def _count_objects(block: bytes, first_line: int, path: str) -> int:
    """Count non-empty lines; UserError on the first that is not an object with categories.

    The last line of a file is always parsed: that is where a truncated file ends.
    """
    count = 0
    lines = block.split(b"\n")
    for offset, line in enumerate(lines):
        if not line.strip():
            continue
        count += 1
        if offset < len(lines) - 1 and len(_CATEGORIES.findall(line)) == 1:
            continue
        try:
            _joined(_load(line).get("categories"))
        except _LineError as error:
            raise UserError(f"{path}: line {first_line + offset}: {error}") from None
    return count
