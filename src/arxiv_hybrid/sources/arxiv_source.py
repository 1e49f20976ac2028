"""The newest papers from arXiv's API, with a checkpoint from which an interrupted fetch resumes."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from arxiv_hybrid.data.schema import check_enough
from arxiv_hybrid.sources import tables
from arxiv_hybrid.sources.arxiv_api import API_URL, RETRY_POLICY, ArxivClient, log
from arxiv_hybrid.sources.arxiv_pagination import (
    Entry,
    FetchSpec,
    OnProgress,
    SubjectPass,
    fetch_subject,
    midnight,
)
from arxiv_hybrid.sources.tables import Paper
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import read_json, write_json
from arxiv_hybrid.system.locks import RateLimiter, file_lock
from arxiv_hybrid.system.retry import RetryPolicy
from arxiv_hybrid.system.ticker import Progress
from arxiv_hybrid.taxonomy.categories import without_aliases

PAGE_SIZE = 2000  # the API's limit
STATE = "fetch.json"
CHECKPOINT_DAYS = 1  # an older checkpoint is deleted, because its pages are out of date


@dataclass
class FetchedPapers:
    """The papers that were found, newest first, and counts of what went wrong.

    found: the ids of the papers of each category. papers: by id, each once.
    """

    until: str  # end of the window in UTC; for an open window, the start of the fetch
    checkpoint: Path  # folder of the stored pages
    found: dict[str, list[str]] = field(default_factory=dict)
    papers: dict[str, Entry] = field(default_factory=dict)
    requests: int = 0
    unreadable: int = 0  # papers without a title or an abstract
    missing: int = 0  # papers that the API counts but did not send
    unasked: set[str] = field(default_factory=set)  # ids of papers of no wanted category
    uncategorized: int = 0  # papers without any category of arXiv
    unknown: int = 0  # names among the categories that arXiv does not have
    first_unknown: str = ""

    def add(self, papers: list[Entry], wanted: Iterable[str] | None, name: str | None) -> None:
        """Add papers to a category, or to all of the wanted ones that they list if it is None."""
        for paper in papers:
            if not paper.categories:
                self.uncategorized += 1
                continue
            listed = [name] if name else _wanted(paper.categories, wanted)
            if not listed:  # found by an alias of a category that is not wanted
                self.unasked.add(paper.id)
                continue
            known = self.papers.get(paper.id)
            if known is None:
                self._count_unknown(paper)
            if known is None or paper.updated > known.updated:  # revised between two pages
                self.papers[paper.id] = paper
            for category in listed:
                self.found.setdefault(category, []).append(paper.id)

    def _count_unknown(self, paper: Entry) -> None:
        self.unknown += len(paper.unknown)
        if paper.unknown and not self.first_unknown:
            self.first_unknown = f"{paper.unknown[0]} of {paper.id}"

    def counts(self) -> dict[str, int]:
        """The number of papers of each category."""
        return {name: len(papers) for name, papers in self.found.items()}

    def table(self, *, per_query: bool = True) -> pd.DataFrame:
        """The papers, newest first, with the columns of `schema.COLUMNS`.

        per_query: one row per paper and category that found it; else one row per paper.
        """
        if per_query:
            return tables.by_query(
                {name: [_paper(self.papers[i]) for i in ids] for name, ids in self.found.items()}
            )
        newest = sorted(self.papers.values(), key=lambda p: (p.published, p.id), reverse=True)
        return tables.by_paper(map(_paper, newest))

    def delete_checkpoint(self) -> None:
        """Delete the stored pages; call it once the papers are written."""
        shutil.rmtree(self.checkpoint, ignore_errors=True)


def fetch(
    spec: FetchSpec,
    cache: Path,
    *,
    url: str = API_URL,
    policy: RetryPolicy = RETRY_POLICY,
    page_size: int = PAGE_SIZE,
    allow_fewer: bool = False,
    contact: str | None = None,
) -> FetchedPapers:
    """Fetch the papers that `spec` asks for from the API at `url`.

    Every page is stored in the folder `cache` until `FetchedPapers.delete_checkpoint`, so an
    interrupted fetch resumes within a day. Papers without text are counted and left out.
    allow_fewer: accept fewer papers than `spec` asks for, or than the API counts. contact: how
    arXiv can reach the user. Raises UserError if the server refuses, is unreachable, or contradicts
    itself.
    """
    if spec.since and spec.since > datetime.now(UTC).date():
        raise UserError(f"params.yaml: fetch.since: {spec.since} is in the future")
    waiting = "another fetch is running; waiting, because arXiv allows one connection"
    with file_lock(cache / "arxiv.lock", log, waiting):
        folder, until = _checkpoint(spec, cache, url)
        rate_limiter = RateLimiter(cache / "arxiv.last-request", policy.min_interval)
        client = ArxivClient(folder, rate_limiter, url, policy, contact=contact)
        fetched = FetchedPapers(f"{until:%Y-%m-%dT%H:%MZ}", folder)
        with Progress(unit="papers", leave=True) as bar:
            for subject in spec.subjects():
                bar.what = subject.name
                first = SubjectPass(client, spec, subject, until, page_size, _progress(bar))
                papers = fetch_subject(first, allow_fewer=allow_fewer)
                name = subject.name if spec.per_category is not None else None
                fetched.add(papers.newest(spec.per_category), spec.categories, name)
                fetched.unreadable += papers.unreadable
                fetched.missing += papers.missing
                fetched.unasked |= papers.unasked
        fetched.requests = client.requests
        names = sorted(fetched.found) if spec.categories is None else spec.categories
        fetched.found = {name: fetched.found.get(name, []) for name in names}
        if spec.per_category is not None and spec.categories is not None:
            check_enough(fetched.counts(), spec.per_category, "arXiv", allow_fewer)
    return fetched


def _progress(bar: Progress) -> OnProgress:
    before = bar.n

    def show(papers: int, every: int) -> None:
        bar.total = before + every
        bar.update(before + papers - bar.n)

    return show


def _wanted(listed: Iterable[str], wanted: Iterable[str] | None) -> list[str]:
    """The wanted categories among those listed, aliases replaced."""
    return [name for name in without_aliases(listed) if wanted is None or name in wanted]


def _paper(entry: Entry) -> Paper:
    day = entry.published.date().isoformat()
    return Paper(entry.id, entry.title, entry.abstract, entry.categories, day)


def _checkpoint(spec: FetchSpec, cache: Path, url: str) -> tuple[Path, datetime]:
    """The folder for this fetch's pages, and the end of its window.

    An open window ends when the fetch was first started, so that stored pages stay valid.
    """
    _delete_old_checkpoints(cache / "arxiv")
    key = hashlib.sha256(repr((spec, url)).encode()).hexdigest()[:16]
    folder = cache / "arxiv" / key
    until = _read_window_end(folder)
    if until:
        pages = len(list(folder.glob("*.xml.gz")))
        log(f"resuming an interrupted fetch, {pages} pages are stored")
    else:
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        until = now if spec.until is None else midnight(spec.until + timedelta(days=1))
        write_json(folder / STATE, {"until": until.isoformat()})
    return folder, until


def _read_window_end(folder: Path) -> datetime | None:
    """End of the window of an interrupted fetch; None if there is none to resume."""
    try:
        return datetime.fromisoformat(read_json(folder / STATE)["until"])
    except (UserError, OSError, ValueError, LookupError, TypeError):
        return None


def _delete_old_checkpoints(folder: Path) -> None:
    oldest = time.time() - timedelta(days=CHECKPOINT_DAYS).total_seconds()
    for checkpoint in folder.glob("*/"):
        state = checkpoint / STATE
        if not state.is_file() or state.stat().st_mtime < oldest:
            shutil.rmtree(checkpoint, ignore_errors=True)
