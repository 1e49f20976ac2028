"""Cursor pagination through the papers on a subject in arXiv's API, newest first.

The cursor is a date, not an offset: each query ends where the page before it ended. So the
API's limit of 30,000 results per query does not matter, papers added or withdrawn meanwhile
shift no page, and the totals of two successive queries show whether a page was complete.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from arxiv_hybrid.data.identifiers import canonical
from arxiv_hybrid.data.schema import is_text, one_line
from arxiv_hybrid.sources.arxiv_api import MIN_PAGE_SIZE, ArxivClient, Query, Subject, log
from arxiv_hybrid.sources.atom import Page, Record
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.taxonomy.categories import (
    archive_of,
    archives,
    categories,
    names_of,
    old_archives,
    parse_listing,
)

MAX_RESULTS = 30_000  # the API's limit on start + max_results
FIRST_DAY = date(1991, 1, 1)
_MINUTE = timedelta(minutes=1)
_MAX_PASSES = 3  # through a subject, while the API's totals contradict its pages

OnProgress = Callable[[int, int], object]  # receives the papers so far, and how many there are


class Entry(NamedTuple):
    """One paper of the API: the part of its record that is needed."""

    id: str  # without version
    title: str
    abstract: str
    categories: tuple[str, ...]  # the primary one first
    unknown: tuple[str, ...]  # other names among them
    published: datetime
    updated: datetime

    @classmethod
    def of(cls, record: Record) -> Entry:
        """From an entry of the API's feed."""
        listing = parse_listing(" ".join([record.primary_category, *record.categories]))
        texts = one_line(record.title), one_line(record.summary)
        return cls(canonical(record.id), *texts, *listing, record.published, record.updated)

    @property
    def listed(self) -> tuple[str, ...]:
        """All names of categories, those that arXiv may have added meanwhile included."""
        return self.categories + self.unknown

    @property
    def has_text(self) -> bool:
        """Whether there are a title and an abstract."""
        return is_text(self.title) and is_text(self.abstract)


@dataclass(frozen=True)
class FetchSpec:
    """What to fetch: the newest `per_category` papers of each category in a window of days.

    categories: None for all. per_category: None for all papers in the window.
    """

    categories: tuple[str, ...] | None
    per_category: int | None
    since: date | None = None
    until: date | None = None

    def includes(self, paper: Entry) -> bool:
        """Whether the day of the first version is in the window."""
        day = paper.published.date()
        return (self.since or FIRST_DAY) <= day and (self.until is None or day <= self.until)

    def subjects(self) -> list[Subject]:
        """What to query: each category if the number of its papers is limited, else all at once."""
        if self.per_category is not None:
            wanted = list(categories()) if self.categories is None else self.categories
            return [Subject(name, _queried_names(name)) for name in wanted]
        if self.categories is None:
            return [Subject("all papers", ())]
        terms = _with_patterns(self.categories)
        name = self.categories[0] if len(terms) == 1 else f"{len(self.categories)} categories"
        return [Subject(name, terms)]


def _queried_names(category: str) -> tuple[str, ...]:
    """A category and its alias; papers of old archives list the category that continues them."""
    return tuple(
        name for name in names_of(category) if name == category or name not in old_archives()
    )


def _with_patterns(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Categories and their aliases, with `math.*` for all categories of an archive."""
    whole = [
        archive for archive in archives()
        if archive not in categories()
        and {name for name in categories() if archive_of(name) == archive} <= set(wanted)
    ]  # fmt: skip
    names = [name for category in wanted for name in _queried_names(category)]
    patterns = [f"{archive}.*" for archive in whole]
    rest = [name for name in names if name.split(".")[0] not in whole or "." not in name]
    return tuple(dict.fromkeys([*patterns, *rest]))


@dataclass
class SubjectPapers:
    """Papers on one subject by id, in the order in which they arrived."""

    spec: FetchSpec
    papers: dict[str, Entry] = field(default_factory=dict)
    usable: int = 0  # papers in the window that have a title and an abstract
    unreadable: int = 0  # the other papers in the window
    missing: int = 0  # papers that the API counts but did not send
    unasked: set[str] = field(default_factory=set)  # ids of papers sent that the query excludes
    _moments: list[datetime] = field(default_factory=list)  # of all papers, sorted

    def add(self, papers: list[Entry]) -> None:
        """Add the papers of a page; papers that are already known do not change."""
        for paper in papers:
            if paper.id in self.papers:
                continue
            self.papers[paper.id] = paper
            insort(self._moments, paper.published)
            if self.spec.includes(paper):
                self.usable += paper.has_text
                self.unreadable += not paper.has_text

    def count_between(self, after: datetime, until: datetime) -> int:
        """Number of papers submitted after `after` and not after `until`."""
        last = bisect_right(self._moments, until)
        return max(0, last - bisect_right(self._moments, after))

    def newest(self, count: int | None) -> list[Entry]:
        """The newest usable papers, newest first; all of them if `count` is None."""
        usable = [
            paper for paper in self.papers.values() if self.spec.includes(paper) and paper.has_text
        ]
        return sorted(usable, key=lambda paper: (paper.published, paper.id), reverse=True)[:count]


class InconsistentTotalsError(Exception):
    """The API's totals do not match the papers that it sent."""

    def __init__(self, counted: int, sent: int, until: datetime) -> None:
        super().__init__(
            f"the API counts {counted:,} papers but sent {sent:,} before {until:%Y-%m-%d %H:%M} UTC"
        )
        self.missing = max(0, counted - sent)


@dataclass(frozen=True)
class SubjectPass:
    """One pass through the pages of a subject.

    until: end of the window, in UTC. refresh: ignore stored pages. allow_missing: count papers
    that the API did not send instead of raising InconsistentTotalsError.
    """

    client: ArxivClient
    spec: FetchSpec
    subject: Subject
    until: datetime
    page_size: int
    on_progress: OnProgress
    refresh: bool = False
    allow_missing: bool = False

    def run(self) -> SubjectPapers:
        """Request pages until there are enough papers or no more."""
        papers = SubjectPapers(self.spec)
        query = Query(self.subject, midnight(self.spec.since or FIRST_DAY), self.until)
        previous: _Answer | None = None
        enough = False
        while True:
            # with enough papers, request one more: the total of that query shows whether the last
            # page was complete; an offset into a minute must be read to the end first
            check_only = enough and not query.start
            size = 1 if check_only else self._size(query, papers)
            if query.start + size > MAX_RESULTS:
                raise UserError(f"arXiv, {self.subject.name}: {MAX_RESULTS:,} papers in one minute")
            page = self.client.fetch_page(query, size, refresh=self.refresh)
            answer = _Answer.from_page(query, page, previous)
            if previous:
                papers.missing += self._missing(previous, answer, papers)
            if check_only:
                return papers
            papers.add(self._asked(map(Entry.of, page.entries), papers))
            self._show(papers, answer)
            if query.start + len(page.entries) >= answer.total:
                end = _Answer(query, 0, query.since - _MINUTE)
                papers.missing += self._missing(answer, end, papers)
                return papers
            limit = self.spec.per_category
            enough = limit is not None and papers.usable >= limit
            previous = answer
            query = _next_query(query, page.entries)

    def _asked(self, entries: Iterable[Entry], papers: SubjectPapers) -> list[Entry]:
        """The papers on the subject; the ids of the others are kept."""
        asked = []
        for paper in entries:
            if self.subject.includes(paper.listed):
                asked.append(paper)
            else:
                papers.unasked.add(paper.id)
        return asked

    def _show(self, papers: SubjectPapers, answer: _Answer) -> None:
        """Report the progress; the papers after this page are those that its query counts."""
        limit = self.spec.per_category
        known = papers.count_between(midnight(FIRST_DAY), answer.query.until)
        every = papers.usable + max(0, answer.total - known)
        if limit is None:
            self.on_progress(papers.usable, every)
        else:
            self.on_progress(min(papers.usable, limit), min(every, limit))

    def _size(self, query: Query, papers: SubjectPapers) -> int:
        """How many papers to request; those in the minute that two queries share arrive twice."""
        if self.spec.per_category is None:
            return self.page_size
        repeated = papers.count_between(query.since, query.until + _MINUTE)
        wanted = self.spec.per_category - papers.usable + repeated
        return min(self.page_size, max(wanted, MIN_PAGE_SIZE))

    def _missing(self, before: _Answer, after: _Answer, papers: SubjectPapers) -> int:
        """How many papers between two queries were counted but not sent."""
        counted = before.total - after.total
        sent = papers.count_between(after.covered_until, before.covered_until)
        if counted == sent:
            return 0
        error = InconsistentTotalsError(counted, sent, before.covered_until)
        if not self.allow_missing:
            raise error
        return error.missing


def fetch_subject(first: SubjectPass, *, allow_fewer: bool) -> SubjectPapers:
    """Run the pass `first`, and again from fresh pages while the API contradicts itself.

    allow_fewer: accept missing papers after the last pass instead of raising UserError.
    """
    problem = ""
    for number in range(_MAX_PASSES):
        try:
            return replace(first, refresh=number > 0).run()
        except InconsistentTotalsError as error:
            problem = str(error)
            log(f"{first.subject.name}: {problem}; fetching it again")
    if allow_fewer:
        return replace(first, allow_missing=True).run()
    raise UserError(
        f"arXiv, {first.subject.name}: {problem}; run the same command again later, or accept the "
        "gap with fetch.allow_fewer=true"
    )


def midnight(day: date) -> datetime:
    """Start of a day in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


@dataclass(frozen=True)
class _Answer:
    """The result of a query: how many papers match it, and up to which moment.

    The API does not document whether a window includes the seconds of its last minute; the
    newest paper shows whether it does.
    """

    query: Query
    total: int
    covered_until: datetime

    @classmethod
    def from_page(cls, query: Query, page: Page, previous: _Answer | None) -> _Answer:
        """Later pages of a window inherit `covered_until` from its first page."""
        if query.start and previous:
            covered_until = previous.covered_until
        else:
            newest = max((paper.published for paper in page.entries), default=query.until)
            covered_until = max(query.until, newest)
        return cls(query, page.total, covered_until)


def _next_query(query: Query, results: list[Record]) -> Query:
    """Move the cursor to the minute of the oldest paper, that minute included.

    If the window is already down to one minute, move the offset instead.
    """
    oldest = min(paper.published for paper in results)
    until = oldest.replace(second=0, microsecond=0) + _MINUTE
    if until < query.until:
        return Query(query.subject, query.since, until)
    return Query(query.subject, query.since, query.until, query.start + len(results))
