"""Finds papers of the wanted categories in blocks of the metadata dump, one JSON object per line.

Most lines are of other fields. A block is searched as bytes for its categories, and only the
lines that list a wanted one are parsed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from arxiv_hybrid.data.identifiers import Submitted, canonical, submitted
from arxiv_hybrid.data.schema import is_text, one_line
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.taxonomy.label_sets import CATEGORIES

_KEY = b'"categories"'
_CATEGORIES = re.compile(rb'"categories"\s*:\s*"((?:[^"\\]|\\.)*)"')
_WANTED = re.compile(rb"(?:^|[\s,])(?:" + "|".join(map(re.escape, CATEGORIES)).encode() + rb")\b")
_SEPARATOR = re.compile(r"[,\s]+")
_CATEGORY_SET = frozenset(CATEGORIES)


class Paper(NamedTuple):
    """One line of the dump. Texts and date stay raw, because most papers are dropped later."""

    order: Submitted
    id: str
    raw_title: str
    raw_abstract: str
    categories: tuple[str, ...]
    created: str  # of the first version, as in an e-mail header; empty without versions

    @property
    def title(self) -> str:
        """The title on one line."""
        return one_line(self.raw_title)

    @property
    def abstract(self) -> str:
        """The abstract on one line."""
        return one_line(self.raw_abstract)

    @property
    def published(self) -> str:
        """Day of the first version as YYYY-MM-DD; empty if the dump has no versions."""
        if not self.created:
            return ""
        try:
            return parsedate_to_datetime(self.created).date().isoformat()
        except ValueError:
            raise UserError(f"paper {self.id}: not a date: {self.created!r}") from None


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

    def includes(self, paper: Paper) -> bool:
        """Compare the date of the first version, or the month of the id if there is no date."""
        if self.since is None and self.until is None:
            return True
        month = date(paper.order.year, paper.order.month, 1)
        day = date.fromisoformat(paper.published) if paper.published else month
        return (self.since is None or self.since <= day) and (
            self.until is None or day <= self.until
        )


class ScannedBlock(NamedTuple):
    """Number of lines, number of papers without text, and the papers of a wanted category."""

    lines: int
    unreadable: int
    papers: list[Paper]


class _LineError(ValueError):
    """What is wrong with a line; the caller adds the line number."""


def scan(block: bytes, first_line: int, window: Window, path: str) -> ScannedBlock:
    """Find the papers in a block of whole lines that list a wanted category.

    first_line: number of the block's first line, for messages. Raises UserError on a line that
    is not a JSON object of arXiv metadata.
    """
    papers: list[Paper] = []
    unreadable = keys = end = 0
    # bytes.find skips to the next key several times faster than a regular expression
    while (key := block.find(_KEY, end)) >= 0:
        match = _CATEGORIES.match(block, key)
        end = match.end() if match else key + len(_KEY)
        if not match:
            continue
        keys += 1
        if not _WANTED.search(match[1]) and b"\\" not in match[1]:
            continue
        start = block.rfind(b"\n", 0, key) + 1
        stop = block.find(b"\n", end)
        try:
            paper = _parse(block[start : stop if stop >= 0 else len(block)])
        except _LineError as error:
            line = first_line + block.count(b"\n", 0, start)
            raise UserError(f"{path}: line {line}: {error}") from None
        if _CATEGORY_SET.isdisjoint(paper.categories):  # parsed only because of an escape
            continue
        if not (is_text(paper.raw_title) and is_text(paper.raw_abstract)):
            unreadable += 1
        elif window.includes(paper):
            papers.append(paper)
    lines = block.count(b"\n") + (not block.endswith(b"\n"))
    if keys != lines or not block.endswith(b"\n"):
        lines = _count_objects(block, first_line, path)
    return ScannedBlock(lines, unreadable, papers)


def _parse(line: bytes) -> Paper:
    record = _load(line)
    for key in ("id", "title", "abstract", "categories"):
        if not isinstance(record.get(key), str):
            raise _LineError(f"{key} is missing or not a string")
    identifier = canonical(record["id"])
    order = submitted(identifier)
    if order is None:
        raise _LineError(f"id {record['id']!r} is not an arXiv id")
    try:
        versions = record.get("versions")
        created = versions[0]["created"] + "" if versions else ""
    except (LookupError, TypeError) as error:
        raise _LineError(f"versions is malformed: {error}") from None
    categories = dict.fromkeys(_SEPARATOR.split(record["categories"].strip()))
    return Paper(order, identifier, record["title"], record["abstract"], tuple(categories), created)


def _load(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise _LineError(f"invalid JSON: {error}") from None
    if not isinstance(record, dict):
        raise _LineError("not a JSON object")
    return record


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
            if not isinstance(_load(line).get("categories"), str):
                raise _LineError("no categories; is this arXiv metadata?")
        except _LineError as error:
            raise UserError(f"{path}: line {first_line + offset}: {error}") from None
    return count
