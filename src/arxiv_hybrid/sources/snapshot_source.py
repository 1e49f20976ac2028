"""Papers from the public metadata dump: JSON lines, plain, .gz, .xz or .zip, read as a stream.

For each category only the best `per_category` papers so far are kept, so memory does not grow
with the file.
"""

from __future__ import annotations

import hashlib
import heapq
import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

from arxiv_hybrid.data.schema import COLUMNS
from arxiv_hybrid.sources.snapshot_scan import Paper, ScannedBlock, Window, scan
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.runtime import cores
from arxiv_hybrid.system.streams import line_blocks
from arxiv_hybrid.taxonomy.label_sets import CATEGORIES

MIN_PARALLEL_SIZE = 256 << 20  # bytes; smaller files take less time than starting processes
MAX_PROCESSES = 8  # one parent decompresses for all of them


@dataclass
class Selection:
    """The best papers of each category so far, and counts of what was read."""

    per_category: int
    sample: str  # newest | random
    seed: int
    lines: int = 0
    unreadable: int = 0  # papers without a title or an abstract
    _heaps: dict[str, list[tuple[Any, Paper]]] = field(
        default_factory=lambda: {name: [] for name in CATEGORIES}
    )
    _ids: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in CATEGORIES})

    def add(self, paper: Paper) -> None:
        """Offer a paper to every category that it lists; a repeated paper counts once."""
        rank = (
            (paper.order, paper.id)
            if self.sample == "newest"
            else _random_rank(paper.id, self.seed)
        )
        for name in paper.categories:
            if name not in self._heaps or paper.id in self._ids[name]:
                continue
            heap = self._heaps[name]
            self._ids[name].add(paper.id)
            if len(heap) < self.per_category:
                heapq.heappush(heap, (rank, paper))
            else:
                _, dropped = heapq.heappushpop(heap, (rank, paper))
                self._ids[name].discard(dropped.id)

    def table(self) -> pd.DataFrame:
        """One row per category and paper, the best first; columns as `schema.COLUMNS`."""
        rows = [
            (p.id, p.title, p.abstract, name, p.categories[0], ",".join(p.categories), p.published)
            for name in CATEGORIES
            for _, p in sorted(self._heaps[name], reverse=True)
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

    sample: `newest` by time of submission, or `random` by a seeded hash of the id, which does
    not depend on the rest of the file. processes: None uses up to eight cores for large files.
    Papers without a title or an abstract are counted and left out. Raises UserError if the
    file is missing, damaged, truncated or not such a dump.
    """
    selection = Selection(per_category, sample, seed)
    for block in _scan_file(path, window, "fetch.path", processes):
        selection.lines += block.lines
        selection.unreadable += block.unreadable
        for paper in block.papers:
            selection.add(paper)
    if not selection.lines:
        raise UserError(f"{path}: is empty, expected one JSON object per line (fetch.path)")
    return selection


def read_texts(path: Path, *, option: str) -> Iterator[tuple[str, str, str]]:
    """Yield id, title and abstract of every paper that lists a wanted category, in file order.

    option: the option that named the file, for messages.
    """
    for block in _scan_file(path, Window(), option, None):
        yield from ((paper.id, paper.title, paper.abstract) for paper in block.papers)


def _scan_file(
    path: Path, window: Window, option: str, processes: int | None
) -> Iterator[ScannedBlock]:
    """Scan the file's blocks in order."""
    if processes is None:
        large = path.is_file() and path.stat().st_size > MIN_PARALLEL_SIZE
        processes = min(cores(), MAX_PROCESSES) if large else 1
    with closing(line_blocks(path, option=option, members=_json_members)) as blocks:
        if processes == 1:
            for first_line, block in blocks:
                yield scan(block, first_line, window, str(path))
        else:
            yield from _scan_in_parallel(blocks, window, path, processes)


def _scan_in_parallel(
    blocks: Iterator[tuple[int, bytes]], window: Window, path: Path, processes: int
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
                pending.append(pool.submit(scan, block, first_line, window, str(path)))
                if len(pending) > 2 * processes:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool:
            raise UserError(
                f"{path}: a process reading it was killed, perhaps because memory ran out"
            ) from None
        finally:
            for future in pending:
                future.cancel()


def _random_rank(identifier: str, seed: int) -> bytes:
    return hashlib.blake2b(identifier.encode(), key=seed.to_bytes(8, "big"), digest_size=8).digest()


def _json_members(names: list[str]) -> list[str]:
    return [name for name in names if name.endswith((".json", ".jsonl"))]
