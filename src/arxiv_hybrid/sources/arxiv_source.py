"""The newest papers from arXiv's API, with a checkpoint from which an interrupted fetch resumes."""

from __future__ import annotations

import hashlib
import shutil
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
from arxiv import Result
from tqdm import tqdm

from arxiv_hybrid.data.schema import COLUMNS, check_enough, is_category, one_line
from arxiv_hybrid.sources.arxiv_api import API_URL, RETRY_POLICY, ArxivClient, log
from arxiv_hybrid.sources.arxiv_pagination import (
    CategoryPass,
    FetchSpec,
    OnProgress,
    fetch_category,
    midnight,
    paper_id,
)
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import read_json, write_json
from arxiv_hybrid.system.locks import RateLimiter, file_lock
from arxiv_hybrid.system.retry import RetryPolicy

PAGE_SIZE = 2000  # the API's limit
STATE = "fetch.json"
CHECKPOINT_DAYS = 1  # an older checkpoint is deleted, because its pages are out of date


@dataclass
class FetchedPapers:
    """The papers of each category, newest first, and counts of what went wrong."""

    until: str  # end of the window in UTC; for an open window, the start of the fetch
    checkpoint: Path  # folder of the stored pages
    papers: dict[str, list[Result]] = field(default_factory=dict)
    requests: int = 0
    unreadable: int = 0  # papers without a title or an abstract
    missing: int = 0  # papers that the API counts but did not send

    def table(self) -> pd.DataFrame:
        """One row per category and paper, newest first; columns as `schema.COLUMNS`."""
        latest: dict[str, Result] = {}  # a paper may have been revised between two pages
        for papers in self.papers.values():
            for paper in papers:
                known = latest.setdefault(paper_id(paper), paper)
                latest[paper_id(paper)] = max(known, paper, key=lambda version: version.updated)
        rows = [
            (paper_id(paper), *_fields(latest[paper_id(paper)], category))
            for category, papers in self.papers.items()
            for paper in papers
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))

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
) -> FetchedPapers:
    """Fetch the newest papers of each category from the API at `url`.

    Every page is stored in the folder `cache` until `FetchedPapers.delete_checkpoint`, so an
    interrupted fetch resumes within a day. Papers without text are counted and left out.
    allow_fewer: accept fewer papers than `spec` asks for, or than the API counts. Raises
    UserError if the server refuses, is unreachable, or contradicts itself.
    """
    if spec.since and spec.since > datetime.now(timezone.utc).date():
        raise UserError(f"params.yaml: fetch.since: {spec.since} is in the future")
    waiting = "another fetch is running; waiting, because arXiv allows one connection"
    with file_lock(cache / "arxiv.lock", log, waiting):
        folder, until = _checkpoint(spec, cache, url)
        rate_limiter = RateLimiter(cache / "arxiv.last-request", policy.min_interval)
        client = ArxivClient(folder, rate_limiter, url, policy)
        fetched = FetchedPapers(f"{until:%Y-%m-%dT%H:%MZ}", folder)
        total = spec.per_category * len(spec.categories)
        with tqdm(total=total, unit="paper", disable=None) as bar:
            for category in spec.categories:
                bar.set_description(category)
                first = CategoryPass(client, spec, category, until, page_size, _progress(bar))
                papers = fetch_category(first, allow_fewer=allow_fewer)
                fetched.papers[category] = papers.newest(spec.per_category)
                fetched.unreadable += papers.unreadable
                fetched.missing += papers.missing
        fetched.requests = client.requests
        counts = {category: len(papers) for category, papers in fetched.papers.items()}
        check_enough(counts, spec.per_category, "arXiv", allow_fewer)
    return fetched


def _progress(bar: Any) -> OnProgress:
    before = bar.n
    return lambda papers: bar.update(before + papers - bar.n)


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
        now = datetime.now(timezone.utc).replace(second=0, microsecond=0)
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


def _fields(paper: Result, category: str) -> tuple[str, ...]:
    """Title, abstract, category, primary category, all categories, and day.

    The API also lists classes of other schemes as categories (I.2.7, 68T50); they are dropped.
    """
    listed = [name for name in paper.categories if is_category(name)]
    primary = paper.primary_category if is_category(paper.primary_category) else listed[0]
    return (
        one_line(paper.title),
        one_line(paper.summary),
        category,
        primary,
        ",".join(dict.fromkeys([primary, *listed])),
        paper.published.date().isoformat(),
    )
