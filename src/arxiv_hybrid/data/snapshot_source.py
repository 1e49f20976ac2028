"""Papers from the public metadata dump: JSON lines, plain, .gz, .xz or .zip, read as a stream.

The dump has millions of lines and most of them are of other fields. Blocks of lines are
searched for their categories as bytes, only lines of a wanted category are parsed, and for
each category only the best `per_category` papers so far are kept: memory does not grow with
the file.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from email.utils import parsedate_to_datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from arxiv_hybrid.data.labels import CATEGORIES
from arxiv_hybrid.data.schema import COLUMNS
from arxiv_hybrid.errors import UserError
from arxiv_hybrid.streams import line_blocks

WORTH_PROCESSES = 256 << 20  # bytes of file; below, starting processes takes longer than reading

_CATEGORIES = re.compile(rb'"categories"\s*:\s*"([^"\\]*)"')
_WANTED = re.compile(rb"(?:^|[\s,])(?:" + "|".join(map(re.escape, CATEGORIES)).encode() + rb")\b")
_LETTER = re.compile(r"[A-Za-z]")
_NEW_ID = re.compile(r"^(\d\d)(\d\d)\.(\d{4,5})$")
_OLD_ID = re.compile(r"^[a-z-]+(?:\.[A-Z]{2})?/(\d\d)(\d\d)(\d{3})$")


class Paper(NamedTuple):
    """One line of the dump; `order` grows with the time of submission."""

    order: tuple[int, int]
    id: str
    title: str
    abstract: str
    categories: tuple[str, ...]
    published: str


@dataclass(frozen=True)
class Window:
    """Which papers count: first and last day of submission, both included; None is open."""

    since: date | None = None
    until: date | None = None

    def holds(self, paper: Paper) -> bool:
        """By the date of the first version, or by the month of the id where there is none."""
        year, month = divmod(paper.order[0], 12)
        day = date.fromisoformat(paper.published) if paper.published else date(year, month + 1, 1)
        return (self.since is None or self.since <= day) and (
            self.until is None or day <= self.until
        )


@dataclass
class Selection:
    """The best papers of each category so far, and what was seen on the way."""

    per_category: int
    sample: str  # newest | random
    seed: int
    lines: int = 0
    unreadable: int = 0
    _best: dict[str, list[tuple[Any, Paper]]] = field(
        default_factory=lambda: {name: [] for name in CATEGORIES}
    )

    def add(self, paper: Paper) -> None:
        """Offer a paper to every category that it lists."""
        rank = (paper.order, paper.id) if self.sample == "newest" else _lot(paper.id, self.seed)
        for name in paper.categories:
            best = self._best.get(name)
            if best is None:
                continue
            if len(best) < self.per_category:
                heapq.heappush(best, (rank, paper))
            else:
                heapq.heappushpop(best, (rank, paper))

    def table(self) -> pd.DataFrame:
        """One row a category and paper, the best first; columns as `schema.COLUMNS`."""
        rows = [
            (p.id, p.title, p.abstract, name, p.categories[0], ",".join(p.categories), p.published)
            for name in CATEGORIES
            for _, p in sorted(self._best[name], reverse=True)
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))


def read_snapshot(
    path: Path,
    *,
    per_category: int,
    sample: str,
    seed: int,
    window: Window,
    processes: int | None = None,
) -> Selection:
    """Read the dump and keep up to `per_category` papers that list each category.

    sample: `newest` by the time of submission, or `random` by a seeded lot that falls the
    same for a paper whatever else the file holds. processes: None takes all cores for large
    files. Papers whose title or abstract has no letter are counted as unreadable and left
    out. Raises UserError if the file is missing, damaged, truncated or not such a dump.
    """
    selection = Selection(per_category, sample, seed)
    for lines, unreadable, papers in _scanned(path, window, "fetch.path", processes):
        selection.lines += lines
        selection.unreadable += unreadable
        for paper in papers:
            selection.add(paper)
    if not selection.lines:
        raise UserError(f"{path}: is empty, expected one JSON object a line (fetch.path)")
    return selection


Scanned = tuple[int, int, list[Paper]]


def read_texts(path: Path, *, key: str) -> Iterator[tuple[str, str]]:
    """Id and text of every paper that lists one of the four categories, in the file's order."""
    for _, _, papers in _scanned(path, Window(), key, None):
        for paper in papers:
            yield paper.id, f"{paper.title} {paper.abstract}"


def _scanned(path: Path, window: Window, key: str, processes: int | None) -> Iterator[Scanned]:
    """Scan the file's blocks in order, at most two a process in memory at any time."""
    if processes is None:
        large = path.is_file() and path.stat().st_size > WORTH_PROCESSES
        processes = (os.cpu_count() or 1) if large else 1
    blocks = line_blocks(path, key=key, choose=_dumps)
    if processes == 1:
        for first, block in blocks:
            yield scan(block, first, window, str(path))
        return
    # spawn: the parent has a progress bar's thread, which a fork would copy half
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting: deque[Future[Scanned]] = deque()
        for first, block in blocks:
            waiting.append(pool.submit(scan, block, first, window, str(path)))
            if len(waiting) > 2 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def scan(block: bytes, first: int, window: Window, where: str) -> Scanned:
    """Search whole lines: how many there are, how many are unreadable, the wanted papers.

    first: the number of the block's first line, for messages.
    """
    papers: list[Paper] = []
    unreadable = found = 0
    for match in _CATEGORIES.finditer(block):
        found += 1
        if not _WANTED.search(match[1]):
            continue
        start = block.rfind(b"\n", 0, match.start()) + 1
        end = block.find(b"\n", match.end())
        line = block[start : end if end >= 0 else len(block)]
        paper = _parse(line, partial(_line_number, block, start, first), where)
        if paper is None:
            unreadable += 1
        elif window.holds(paper):
            papers.append(paper)
    lines = block.count(b"\n") + (not block.endswith(b"\n"))
    if found != lines or not block.endswith(b"\n"):
        lines = _count_objects(block, first, where)
    return lines, unreadable, papers


def _line_number(block: bytes, position: int, first: int) -> int:
    return first + block.count(b"\n", 0, position)


def _parse(line: bytes, number: Callable[[], int], where: str) -> Paper | None:
    """A paper, or None if it has no readable text. `number()` is its line's number."""
    record = _record(line, number, where)
    for key in ("id", "title", "abstract", "categories"):
        if not isinstance(record.get(key), str):
            raise UserError(f"{where}: line {number()}: {key} is missing or no text")
    order = _order(record["id"])
    if order is None:
        raise UserError(f"{where}: line {number()}: id {record['id']!r} is not an arXiv id")
    title, abstract = (" ".join(record[key].split()) for key in ("title", "abstract"))
    if not (_LETTER.search(title) and _LETTER.search(abstract)):
        return None
    try:
        published = _published(record)
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(f"{where}: line {number()}: versions is not sound: {error}") from None
    return Paper(
        order, record["id"], title, abstract, tuple(record["categories"].split()), published
    )


def _record(line: bytes, number: Callable[[], int], where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (UnicodeDecodeError, ValueError) as error:
        raise UserError(f"{where}: line {number()}: not sound JSON: {error}") from None
    if not isinstance(record, dict):
        raise UserError(f"{where}: line {number()}: not a JSON object")
    return record


def _count_objects(block: bytes, first: int, where: str) -> int:
    """Count lines with content; UserError at the first one that is no object with categories.

    The last line of a file is parsed in any case: that is where a cut one ends.
    """
    count = 0
    lines = block.split(b"\n")
    for offset, line in enumerate(lines):
        if not line.strip():
            continue
        count += 1
        if offset < len(lines) - 1 and len(_CATEGORIES.findall(line)) == 1:
            continue
        record = _record(line, partial(int, first + offset), where)
        if not isinstance(record.get("categories"), str):
            raise UserError(f"{where}: line {first + offset}: no categories, is it arXiv metadata?")
    return count


def _order(identifier: str) -> tuple[int, int] | None:
    """Month since year 0 and number in the month of an arXiv id; None if it is none."""
    new, old = _NEW_ID.match(identifier), _OLD_ID.match(identifier)
    parts = new or old
    if parts is None:
        return None
    year, month, number = map(int, parts.groups())
    century = 1900 if old and year > 90 else 2000
    return (century + year) * 12 + month - 1, number


def _published(record: dict[str, Any]) -> str:
    """The day of the first version as YYYY-MM-DD, empty where the dump has no versions."""
    versions = record.get("versions")
    if not versions:
        return ""
    return parsedate_to_datetime(versions[0]["created"]).date().isoformat()


def _lot(identifier: str, seed: int) -> bytes:
    return hashlib.blake2b(identifier.encode(), key=seed.to_bytes(8, "big"), digest_size=8).digest()


def _dumps(names: list[str]) -> list[str]:
    return [name for name in names if name.endswith((".json", ".jsonl"))]
