"""The newest papers from arXiv's API: https://info.arxiv.org/help/api/user-manual.html.

Pages are asked for by date, not by offset: each query ends where the page before ended. So
the API's limit of 30,000 results a query does not matter, what changes while papers are
fetched shifts no page, and two queries' totals tell whether a page was complete.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
from arxiv import Result
from tqdm import tqdm

from arxiv_hybrid.data.identifiers import canonical
from arxiv_hybrid.data.labels import CATEGORIES
from arxiv_hybrid.data.schema import COLUMNS, check_enough, is_category, is_text, one_line
from arxiv_hybrid.sources.arxiv_api import (
    ADDRESS,
    RETRY_POLICY,
    SMALLEST_PAGE,
    Api,
    Page,
    Query,
    say,
)
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import read_json, write_json
from arxiv_hybrid.system.web import RateLimiter, RetryPolicy, file_lock

PAGE = 2000  # the most that the API sends at once
MOST_RESULTS = 30_000  # the API refuses to go further into one query
FIRST_DAY = date(1991, 1, 1)
STATE = "fetch.json"
KEPT_DAYS = 1  # an interrupted fetch goes on within this time, then its pages are old
MINUTE = timedelta(minutes=1)
_ROUNDS = 3  # times that a category is fetched anew when the API's counts contradict its pages

Show = Callable[[int], object]  # takes how many papers of a category have come


@dataclass(frozen=True)
class Wanted:
    """What to fetch: so many of the newest papers of each category, in a window of days."""

    per_category: int
    since: date | None = None
    until: date | None = None
    categories: tuple[str, ...] = CATEGORIES

    def holds(self, paper: Result) -> bool:
        """Whether the day of the first version lies in the window."""
        day = paper.published.date()
        return (self.since or FIRST_DAY) <= day and (self.until is None or day <= self.until)


@dataclass
class Harvest:
    """What came: the papers of each category, newest first, and what was seen on the way."""

    until: str  # the end of the window in UTC, for an open one the start of the fetch
    folder: Path  # of the kept pages
    papers: dict[str, list[Result]] = field(default_factory=dict)
    requests: int = 0
    unreadable: int = 0
    missing: int = 0  # papers that the API counts but did not send

    def table(self) -> pd.DataFrame:
        """One row a category and paper, newest first; columns as `schema.COLUMNS`."""
        latest: dict[str, Result] = {}
        for papers in self.papers.values():  # a paper may have been revised between two pages
            for paper in papers:
                known = latest.setdefault(_id(paper), paper)
                latest[_id(paper)] = max(known, paper, key=lambda one: one.updated)
        rows = [
            (_id(paper), *_texts_and_categories(latest[_id(paper)], name))
            for name, papers in self.papers.items()
            for paper in papers
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def forget_pages(self) -> None:
        """Remove the kept pages, once the papers are written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def fetch(
    wanted: Wanted,
    cache: Path,
    *,
    url: str = ADDRESS,
    policy: RetryPolicy = RETRY_POLICY,
    page_size: int = PAGE,
    allow_fewer: bool = False,
) -> Harvest:
    """Ask the API at `url` for the newest papers of each category, politely.

    Every page is kept in the folder `cache` until `Harvest.forget_pages`: an interrupted fetch
    goes on where it was, for a day. Papers without text are left out and counted. allow_fewer:
    go on where there are fewer papers than wanted, or fewer come than the API counts. Raises
    UserError in one line if the server refuses, stays away, or contradicts itself.
    """
    if wanted.since and wanted.since > _today():
        raise UserError(f"params.yaml: fetch.since: {wanted.since} lies in the future")
    waiting = "another fetch is under way; waiting for it, one connection is allowed"
    with file_lock(cache / "arxiv.lock", say, waiting):
        folder, until = _folder(wanted, cache, url)
        api = Api(folder, RateLimiter(cache / "arxiv.last-request", policy.pause), url, policy)
        harvest = Harvest(f"{until:%Y-%m-%dT%H:%MZ}", folder)
        total = wanted.per_category * len(wanted.categories)
        with tqdm(total=total, unit="paper", disable=None) as bar:
            for name in wanted.categories:
                bar.set_description(name)
                go = _Round(api, name, page_size)
                found = _category(go, wanted, until, allow_fewer, _progress(bar))
                harvest.papers[name] = found.newest(wanted.per_category)
                harvest.unreadable += found.unreadable
                harvest.missing += found.missing
        harvest.requests = api.requests
        counts = {name: len(papers) for name, papers in harvest.papers.items()}
        check_enough(counts, wanted.per_category, "arXiv", allow_fewer)
    return harvest


def _progress(bar: Any) -> Show:
    before = bar.n
    return lambda papers: bar.update(before + papers - bar.n)


def _folder(wanted: Wanted, cache: Path, url: str) -> tuple[Path, datetime]:
    """The folder for this fetch's pages and the end of its window.

    An open window ends when the fetch first began, so that pages of a second try fit.
    """
    _forget_old(cache / "arxiv")
    key = hashlib.sha256(repr((wanted, url)).encode()).hexdigest()[:16]
    folder = cache / "arxiv" / key
    until = _end_of(folder)
    if until:
        pages = len(list(folder.glob("*.xml.gz")))
        say(f"going on with an interrupted fetch, {pages} pages are kept")
    else:
        now = datetime.now(timezone.utc).replace(second=0, microsecond=0)
        until = now if wanted.until is None else _start_of(wanted.until + timedelta(days=1))
        write_json(folder / STATE, {"until": until.isoformat()})
    return folder, until


def _end_of(folder: Path) -> datetime | None:
    """The end of the window of an interrupted fetch; None where there is none to go on with."""
    try:
        return datetime.fromisoformat(read_json(folder / STATE)["until"])
    except (UserError, OSError, ValueError, LookupError, TypeError):
        return None


def _forget_old(folder: Path) -> None:
    oldest = time.time() - timedelta(days=KEPT_DAYS).total_seconds()
    for fetch in folder.glob("*/"):
        state = fetch / STATE
        if not state.is_file() or state.stat().st_mtime < oldest:
            shutil.rmtree(fetch, ignore_errors=True)


def _today() -> date:
    return datetime.now(timezone.utc).date()


def _start_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=timezone.utc)


class _ContradictionError(Exception):
    """The API's totals do not fit the papers that it sent."""

    def __init__(self, counted: int, sent: int, until: datetime) -> None:
        super().__init__(
            f"counts {counted:,} papers where it sent {sent:,}, before {until:%Y-%m-%d %H:%M} UTC"
        )
        self.missing = max(0, counted - sent)


@dataclass
class _Found:
    """Papers of a category by id, as they came."""

    wanted: Wanted
    papers: dict[str, Result] = field(default_factory=dict)
    missing: int = 0

    def add(self, results: list[Result]) -> None:
        for paper in results:
            self.papers.setdefault(_id(paper), paper)

    @property
    def usable(self) -> list[Result]:
        return [paper for paper in self.papers.values() if self._fits(paper)]

    @property
    def unreadable(self) -> int:
        return sum(
            self.wanted.holds(paper) and not _readable(paper) for paper in self.papers.values()
        )

    def between(self, after: datetime, end: datetime) -> int:
        """How many were submitted after one moment and not after the other."""
        return sum(after < paper.published <= end for paper in self.papers.values())

    def newest(self, count: int) -> list[Result]:
        ranked = sorted(self.usable, key=lambda one: (one.published, _id(one)), reverse=True)
        return ranked[:count]

    def _fits(self, paper: Result) -> bool:
        return self.wanted.holds(paper) and _readable(paper)


@dataclass(frozen=True)
class _Round:
    """One go through a category: from kept pages or anew; tolerant of papers that are missing."""

    api: Api
    category: str
    page_size: int
    anew: bool = False
    tolerant: bool = False


def _category(go: _Round, wanted: Wanted, until: datetime, allow_fewer: bool, show: Show) -> _Found:
    """All pages of a category, anew when the API contradicts itself."""
    said = ""
    for number in range(_ROUNDS):
        try:
            return _pages(replace(go, anew=number > 0), wanted, until, show)
        except _ContradictionError as error:
            said = str(error)
            say(f"{go.category}: {said}; asking again")
    if allow_fewer:
        return _pages(replace(go, tolerant=True), wanted, until, show)
    raise UserError(
        f"arXiv, {go.category}: {said}; run the same command again later, or go on without "
        "them with fetch.allow_fewer=true"
    )


@dataclass(frozen=True)
class _Step:
    """A query that was answered: how many papers it matches, and the newest moment it covers.

    Whether the seconds of a window's last minute count is not documented; the papers tell.
    """

    query: Query
    total: int
    end: datetime

    @classmethod
    def of(cls, query: Query, feed: Page, previous: _Step | None) -> _Step:
        """From an answer; in the later pages of a window the end is that of its first page."""
        newest = max((paper.published for paper in feed.results), default=query.until)
        end = previous.end if query.start and previous else max(query.until, newest)
        return cls(query, feed.header.total_results, end)


def _pages(go: _Round, wanted: Wanted, until: datetime, show: Show) -> _Found:
    found = _Found(wanted)
    query = Query(go.category, _start_of(wanted.since or FIRST_DAY), until)
    previous: _Step | None = None
    enough = False
    while True:
        again = found.between(query.since, query.until + MINUTE)  # those at the seam come twice
        more = max(wanted.per_category - len(found.usable) + again, SMALLEST_PAGE)
        # after the last page one more paper: the total shows whether that page was complete
        # (within a minute it does not yet)
        check_only = enough and not query.start
        size = 1 if check_only else min(go.page_size, more)
        if query.start + size > MOST_RESULTS:
            raise UserError(f"arXiv, {go.category}: {MOST_RESULTS:,} papers in one minute")
        feed = go.api.page(query, size, anew=go.anew)
        step = _Step.of(query, feed, previous)
        if previous:
            found.missing += _missing(previous, step, found, go.tolerant)
        if check_only:
            return found
        found.add([paper for paper in feed.results if go.category in paper.categories])
        show(min(len(found.usable), wanted.per_category))
        if query.start + len(feed.results) >= step.total:
            nothing = _Step(query, 0, query.since - MINUTE)
            found.missing += _missing(step, nothing, found, go.tolerant)
            return found
        enough = len(found.usable) >= wanted.per_category
        previous = step
        query = _next(query, feed.results)


def _next(query: Query, results: list[Result]) -> Query:
    """The query for what follows: up to the oldest paper's minute, that minute included.

    Within one minute, where dates do not divide, by number.
    """
    oldest = min(paper.published for paper in results)
    until = oldest.replace(second=0, microsecond=0) + MINUTE
    if until < query.until:
        return Query(query.category, query.since, until)
    return Query(query.category, query.since, query.until, query.start + len(results))


def _missing(before: _Step, now: _Step, found: _Found, tolerant: bool) -> int:
    """How many papers did not come between two queries, by what they count."""
    counted = before.total - now.total
    sent = found.between(now.end, before.end)
    if counted == sent:
        return 0
    error = _ContradictionError(counted, sent, before.end)
    if not tolerant:
        raise error
    return error.missing


def _id(paper: Result) -> str:
    return canonical(paper.entry_id)


def _readable(paper: Result) -> bool:
    return is_text(paper.title) and is_text(paper.summary)


def _texts_and_categories(paper: Result, name: str) -> tuple[str, ...]:
    """Title, abstract, category, primary category, all categories, and day.

    The API lists subject classes of other schemes among the categories (I.2.7, 68T50).
    """
    listed = [one for one in paper.categories if is_category(one)]
    primary = paper.primary_category if is_category(paper.primary_category) else listed[0]
    everything = dict.fromkeys([primary, *listed])
    return (
        one_line(paper.title),
        one_line(paper.summary),
        name,
        primary,
        ",".join(everything),
        paper.published.date().isoformat(),
    )
