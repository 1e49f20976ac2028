"""Papers from the public metadata dump: JSON lines, plain, .gz, .xz or .zip, read as a stream.

With a limit, only the best papers of each category so far are kept, so memory does not grow with
the file. Without one, papers go to a file, and only their ids stay in memory. The text of a paper
is kept once, however many categories it lists.
"""

from __future__ import annotations

import hashlib
import heapq
import signal
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

from arxiv_hybrid.data.identifiers import submission_order
from arxiv_hybrid.sources import tables
from arxiv_hybrid.sources.snapshot_scan import RawPaper, Request, ScannedBlock, Window, scan
from arxiv_hybrid.sources.spool import Spool
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.runtime import cores
from arxiv_hybrid.system.streams import line_blocks
from arxiv_hybrid.taxonomy.categories import without_aliases

MIN_PARALLEL_SIZE = 1 << 30  # bytes; smaller files take less time than starting processes
MAX_PROCESSES = 8  # one parent decompresses for all of them


@dataclass
class Counts:
    """What was read of a dump."""

    lines: int = 0
    unreadable: int = 0  # papers without a title or an abstract
    uncategorized: int = 0  # papers without any category of arXiv
    other: int = 0  # papers of no wanted category
    outside: int = 0  # papers outside the window
    repeated: int = 0  # lines of papers that an earlier line has
    lost_zeros: int = 0  # papers whose id lost its last zero
    first_lost: str = ""
    unknown: int = 0  # names among the categories that arXiv does not have
    first_unknown: str = ""

    def count(self, block: ScannedBlock) -> None:
        """Add the counts of a block."""
        self.lines += block.lines
        self.other += block.other
        self.outside += block.outside
        self.unreadable += block.unreadable
        self.uncategorized += block.uncategorized
        self.lost_zeros += block.lost_zeros
        self.first_lost = self.first_lost or block.first_lost
        self.first_unknown = self.first_unknown or block.first_unknown
        self.unknown += block.unknown


@dataclass
class Selection(Counts):
    """The papers selected so far, and counts of what was read.

    categories: the wanted ones, aliases replaced; None for all. per_category: how many papers of
    each to keep; None for all. sample: which ones, `newest` or `random` by `seed`.
    """

    categories: tuple[str, ...] | None = None
    per_category: int | None = None
    sample: str = "newest"
    seed: int = 0
    _papers: dict[str, RawPaper] = field(default_factory=dict)  # by id
    _heaps: dict[str, list[tuple[Any, str]]] = field(default_factory=lambda: defaultdict(list))
    _ids: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # of each heap
    _uses: Counter[str] = field(default_factory=Counter)  # heaps that hold a paper

    def add_block(self, block: ScannedBlock) -> None:
        """Offer the papers of a block, and add its counts."""
        for paper in block.papers:
            self.add(paper)
        self.count(block)

    def add(self, paper: RawPaper) -> None:
        """Offer a paper to every wanted category that it lists; a repeated paper counts once."""
        self.repeated += paper.id in self._papers
        if self.per_category is None:
            self._papers.setdefault(paper.id, paper)
            return
        rank = self._rank(paper)
        for name in self._queries(paper):
            if paper.id in self._ids[name]:
                continue
            heap = self._heaps[name]
            self._ids[name].add(paper.id)
            self._uses[paper.id] += 1
            self._papers.setdefault(paper.id, paper)
            if len(heap) < self.per_category:
                heapq.heappush(heap, (rank, paper.id))
            else:
                _, dropped = heapq.heappushpop(heap, (rank, paper.id))
                self._drop(dropped, name)

    def _drop(self, identifier: str, name: str) -> None:
        self._ids[name].discard(identifier)
        self._uses[identifier] -= 1
        if not self._uses[identifier]:
            del self._uses[identifier], self._papers[identifier]

    def _rank(self, paper: RawPaper) -> str | bytes:
        if self.sample == "newest":
            return submission_order(paper.id)
        return _random_rank(paper.id, self.seed)

    def _queries(self, paper: RawPaper) -> list[str]:
        """The wanted categories that a paper lists, aliases replaced."""
        listed = without_aliases(paper.categories)
        wanted = listed if self.categories is None else set(self.categories)
        return [name for name in listed if name in wanted]

    @property
    def beyond(self) -> int:
        """The number of papers that `per_category` left out."""
        left_out = self.other + self.outside + self.repeated + self.unreadable + self.uncategorized
        return self.lines - left_out - len(self._papers)

    def counts(self) -> dict[str, int]:
        """The number of selected papers of each wanted category, or of each one that occurs."""
        return {name: len(papers) for name, papers in self._found().items()}

    def _found(self) -> dict[str, list[RawPaper]]:
        """The papers of each category, the best first; in the order of `categories`."""
        heaps = self._heaps
        if self.per_category is None:
            heaps = defaultdict(list)
            for paper in self._papers.values():
                for name in self._queries(paper):
                    heaps[name].append((self._rank(paper), paper.id))
        names = sorted(heaps) if self.categories is None else self.categories
        return {
            name: [self._papers[identifier] for _, identifier in sorted(heaps[name], reverse=True)]
            for name in names
        }

    def table(self, *, per_query: bool = True) -> pd.DataFrame:
        """The selected papers, with the columns of `schema.COLUMNS`.

        per_query: one row per paper and category that selected it, the best first; else one row
        per paper, the newest first.
        """
        if per_query:
            found = self._found().items()
            return tables.by_query({name: (p.paper() for p in papers) for name, papers in found})
        newest = sorted(self._papers, key=submission_order, reverse=True)
        return tables.by_paper(self._papers[identifier].paper() for identifier in newest)


def read_snapshot(
    path: Path,
    *,
    categories: tuple[str, ...] | None,
    per_category: int | None,
    sample: str,
    seed: int,
    window: Window,
    processes: int | None = None,
    option: str = "fetch.path",
) -> Selection:
    """Read the dump and keep up to `per_category` papers that list each wanted category.

    categories: None wants all. per_category: None keeps all. sample: `newest` by time of
    submission, or `random` by a seeded hash of the id, which does not depend on the rest of the
    file. processes: None uses up to eight cores for large files. option: the option that named the
    file, for messages. Papers without a title or an
    abstract are counted and left out. Raises UserError if the file is missing, damaged, truncated
    or not such a dump.
    """
    selection = Selection(
        categories=categories, per_category=per_category, sample=sample, seed=seed
    )
    request = Request(str(path), categories, window, all_kept=per_category is None)
    for block in _scan_file(path, request, option, processes):
        selection.add_block(block)
    _check_lines(selection, path, option)
    return selection


def read_all(
    path: Path,
    spool: Spool,
    *,
    categories: tuple[str, ...] | None,
    window: Window,
    option: str = "fetch.path",
) -> Counts:
    """Add every paper of the dump that lists a wanted category to a spool, each once.

    See `read_snapshot`; memory holds the ids only.
    """
    counts = Counts()
    for block in _scan_file(path, Request(str(path), categories, window, all_kept=True), option):
        counts.count(block)
        counts.repeated += spool.add([paper.paper() for paper in block.papers])
    _check_lines(counts, path, option)
    return counts


def read_texts(
    path: Path, *, option: str, categories: tuple[str, ...] | None
) -> Iterator[tuple[str, str, str]]:
    """Yield id, title and abstract of every paper that lists a wanted category, in file order.

    option: the option that named the file, for messages. categories: None wants all.
    """
    request = Request(str(path), categories, all_kept=True)
    for block in _scan_file(path, request, option):
        yield from ((paper.id, paper.title, paper.abstract) for paper in block.papers)


def blocks_of_all(path: Path, *, option: str) -> Iterator[ScannedBlock]:
    """Yield the papers of every category, with what was counted, block by block in file order.

    option: the option that named the file, for messages. Raises UserError if the file is empty.
    """
    counts = Counts()
    for block in _scan_file(path, Request(str(path), all_kept=True), option):
        counts.count(block)
        yield block
    _check_lines(counts, path, option)


def _check_lines(counts: Counts, path: Path, option: str) -> None:
    if not counts.lines:
        raise UserError(f"{path}: is empty, expected one JSON object per line ({option})")


def _scan_file(
    path: Path, request: Request, option: str, processes: int | None = None
) -> Iterator[ScannedBlock]:
    """Scan the file's blocks in order."""
    if processes is None:
        large = path.is_file() and path.stat().st_size > MIN_PARALLEL_SIZE
        processes = min(cores(), MAX_PROCESSES) if large else 1
    with closing(line_blocks(path, option=option, members=_json_members)) as blocks:
        if processes == 1:
            for first_line, block in blocks:
                yield scan(block, first_line, request)
        else:
            yield from _scan_in_parallel(blocks, request, processes)


def _scan_in_parallel(
    blocks: Iterator[tuple[int, bytes]], request: Request, processes: int
) -> Iterator[ScannedBlock]:
    """Scan blocks in several processes; at most two or three per process are in memory."""
    # spawn, because a fork would copy the parent's progress bar without its thread; workers
    # ignore Ctrl-C, because the parent reports it
    pool = ProcessPoolExecutor(
        processes,
        mp_context=get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
    pending: deque[Future[ScannedBlock]] = deque()
    with pool:
        try:
            for first_line, block in blocks:
                pending.append(pool.submit(scan, block, first_line, request))
                if len(pending) > 2 * processes:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool:
            raise UserError(
                f"{request.path}: a process reading it was killed, perhaps because memory ran out"
            ) from None
        finally:
            for future in pending:
                future.cancel()


def _random_rank(identifier: str, seed: int) -> bytes:
    return hashlib.blake2b(identifier.encode(), key=seed.to_bytes(8, "big"), digest_size=8).digest()


def _json_members(names: list[str]) -> list[str]:
    return [name for name in names if name.endswith((".json", ".jsonl"))]
