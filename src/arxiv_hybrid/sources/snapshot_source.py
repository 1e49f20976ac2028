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
import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from email.utils import parsedate_to_datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from arxiv_hybrid.data.identifiers import Submitted, canonical, submitted
from arxiv_hybrid.data.labels import CATEGORIES
from arxiv_hybrid.data.schema import COLUMNS, is_text, one_line
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.streams import line_blocks

WORTH_PROCESSES = 256 << 20  # bytes of file; below, starting processes takes longer than reading
MOST_PROCESSES = 8  # one parent decompresses for all of them

_KEY = b'"categories"'
_CATEGORIES = re.compile(rb'"categories"\s*:\s*"((?:[^"\\]|\\.)*)"')
_WANTED = re.compile(rb"(?:^|[\s,])(?:" + "|".join(map(re.escape, CATEGORIES)).encode() + rb")\b")
_ASKED_FOR = frozenset(CATEGORIES)
_SEPARATOR = re.compile(r"[,\s]+")


class Paper(NamedTuple):
    """One line of the dump. Texts and date are as they stand there: most are never used."""

    order: Submitted
    id: str
    raw_title: str
    raw_abstract: str
    categories: tuple[str, ...]
    created: str  # of the first version, as in an e-mail's header; empty if the dump has none

    @property
    def title(self) -> str:
        """The title in one line."""
        return one_line(self.raw_title)

    @property
    def abstract(self) -> str:
        """The abstract in one line."""
        return one_line(self.raw_abstract)

    @property
    def published(self) -> str:
        """The day of the first version as YYYY-MM-DD, empty where the dump has no versions."""
        if not self.created:
            return ""
        try:
            return parsedate_to_datetime(self.created).date().isoformat()
        except ValueError:
            raise UserError(f"paper {self.id}: no date: {self.created!r}") from None


@dataclass(frozen=True)
class Window:
    """Which papers count: first and last day of submission, both included; None is open."""

    since: date | None = None
    until: date | None = None

    @classmethod
    def of(cls, since: str | None, until: str | None) -> Window:
        """From days as YYYY-MM-DD."""
        first, last = (date.fromisoformat(day) if day else None for day in (since, until))
        return cls(first, last)

    def holds(self, paper: Paper) -> bool:
        """By the date of the first version, or by the month of the id where there is none."""
        if self.since is None and self.until is None:
            return True
        month = date(paper.order.year, paper.order.month, 1)
        day = date.fromisoformat(paper.published) if paper.published else month
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
    _chosen: dict[str, set[str]] = field(
        default_factory=lambda: {name: set() for name in CATEGORIES}
    )

    def add(self, paper: Paper) -> None:
        """Offer a paper to every category that it lists; a repeated one counts once."""
        rank = (paper.order, paper.id) if self.sample == "newest" else _lot(paper.id, self.seed)
        for name in paper.categories:
            if name not in self._best or paper.id in self._chosen[name]:
                continue
            best = self._best[name]
            self._chosen[name].add(paper.id)
            if len(best) < self.per_category:
                heapq.heappush(best, (rank, paper))
            else:
                self._chosen[name].discard(heapq.heappushpop(best, (rank, paper))[1].id)

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
    same for a paper whatever else the file holds. processes: None takes up to eight cores for
    large files. Papers whose title or abstract is no text are counted as unreadable and left
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


def read_texts(path: Path, *, key: str) -> Iterator[tuple[str, str, str]]:
    """Id, title and abstract of every paper that lists one of the four categories, in order."""
    for _, _, papers in _scanned(path, Window(), key, None):
        yield from ((paper.id, paper.title, paper.abstract) for paper in papers)


def _scanned(path: Path, window: Window, key: str, processes: int | None) -> Iterator[Scanned]:
    """Scan the file's blocks in order, a few a process in memory at any time."""
    if processes is None:
        large = path.is_file() and path.stat().st_size > WORTH_PROCESSES
        processes = min(_cores(), MOST_PROCESSES) if large else 1
    with closing(line_blocks(path, key=key, choose=_dumps)) as blocks:
        if processes == 1:
            for first, block in blocks:
                yield scan(block, first, window, str(path))
        else:
            yield from _scanned_apart(blocks, window, path, processes)


def _scanned_apart(
    blocks: Iterator[tuple[int, bytes]], window: Window, path: Path, processes: int
) -> Iterator[Scanned]:
    # spawn: the parent has a progress bar's thread, which a fork would copy half; Ctrl-C is
    # for the parent to tell
    pool = ProcessPoolExecutor(
        processes,
        mp_context=get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
    waiting: deque[Future[Scanned]] = deque()
    with pool:
        try:
            for first, block in blocks:
                waiting.append(pool.submit(scan, block, first, window, str(path)))
                if len(waiting) > 2 * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise UserError(
                f"{path}: a process that read it was killed, perhaps for want of memory"
            ) from None
        finally:
            for future in waiting:
                future.cancel()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _LineError(ValueError):
    """What is wrong with a line, for whoever knows its number."""


def scan(block: bytes, first: int, window: Window, where: str) -> Scanned:
    """Search whole lines: how many there are, how many are unreadable, the wanted papers.

    first: the number of the block's first line, for messages.
    """
    papers: list[Paper] = []
    unreadable = found = end = 0
    # bytes.find skips to the key several times faster than a search by pattern
    while (at := block.find(_KEY, end)) >= 0:
        match = _CATEGORIES.match(block, at)
        end = match.end() if match else at + len(_KEY)
        if not match:
            continue
        found += 1
        if not _WANTED.search(match[1]) and b"\\" not in match[1]:
            continue
        start = block.rfind(b"\n", 0, at) + 1
        stop = block.find(b"\n", end)
        try:
            paper = _parse(block[start : stop if stop >= 0 else len(block)])
        except _LineError as error:
            number = first + block.count(b"\n", 0, start)
            raise UserError(f"{where}: line {number}: {error}") from None
        if _ASKED_FOR.isdisjoint(paper.categories):  # escaped characters hid that
            continue
        if not (is_text(paper.raw_title) and is_text(paper.raw_abstract)):
            unreadable += 1
        elif window.holds(paper):
            papers.append(paper)
    lines = block.count(b"\n") + (not block.endswith(b"\n"))
    if found != lines or not block.endswith(b"\n"):
        lines = _count_objects(block, first, where)
    return lines, unreadable, papers


def _parse(line: bytes) -> Paper:
    record = _record(line)
    for key in ("id", "title", "abstract", "categories"):
        if not isinstance(record.get(key), str):
            raise _LineError(f"{key} is missing or no text")
    identifier = canonical(record["id"])
    order = submitted(identifier)
    if order is None:
        raise _LineError(f"id {record['id']!r} is not an arXiv id")
    try:
        versions = record.get("versions")
        created = versions[0]["created"] + "" if versions else ""
    except (LookupError, TypeError) as error:
        raise _LineError(f"versions is not sound: {error}") from None
    categories = dict.fromkeys(_SEPARATOR.split(record["categories"].strip()))
    return Paper(order, identifier, record["title"], record["abstract"], tuple(categories), created)


def _record(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise _LineError(f"not sound JSON: {error}") from None
    if not isinstance(record, dict):
        raise _LineError("not a JSON object")
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
        try:
            if not isinstance(_record(line).get("categories"), str):
                raise _LineError("no categories, is it arXiv metadata?")
        except _LineError as error:
            raise UserError(f"{where}: line {first + offset}: {error}") from None
    return count


def _lot(identifier: str, seed: int) -> bytes:
    return hashlib.blake2b(identifier.encode(), key=seed.to_bytes(8, "big"), digest_size=8).digest()


def _dumps(names: list[str]) -> list[str]:
    return [name for name in names if name.endswith((".json", ".jsonl"))]
