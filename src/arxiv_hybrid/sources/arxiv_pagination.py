"""Cursor pagination through one category of arXiv's API, newest papers first.

The cursor is a date, not an offset: each query ends where the page before it ended. So the
API's limit of 30,000 results per query does not matter, papers added or withdrawn meanwhile
shift no page, and the totals of two successive queries show whether a page was complete.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone

from arxiv import Result

from arxiv_hybrid.data.identifiers import canonical
from arxiv_hybrid.data.schema import is_text
from arxiv_hybrid.sources.arxiv_api import MIN_PAGE_SIZE, ArxivClient, Page, Query, log
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.taxonomy.label_sets import CATEGORIES

MAX_RESULTS = 30_000  # the API's limit on start + max_results
FIRST_DAY = date(1991, 1, 1)
_MINUTE = timedelta(minutes=1)
_MAX_PASSES = 3  # through a category, while the API's totals contradict its pages

OnProgress = Callable[[int], object]  # receives the number of papers of the category so far


@dataclass(frozen=True)
class FetchSpec:
    """What to fetch: the newest `per_category` papers of each category in a window of days."""

    per_category: int
    since: date | None = None
    until: date | None = None
    categories: tuple[str, ...] = CATEGORIES

    def includes(self, paper: Result) -> bool:
        """Whether the day of the first version is in the window."""
        day = paper.published.date()
        return (self.since or FIRST_DAY) <= day and (self.until is None or day <= self.until)


@dataclass
class CategoryPapers:
    """Papers of one category by id, in the order in which they arrived."""

    spec: FetchSpec
    papers: dict[str, Result] = field(default_factory=dict)
    missing: int = 0  # papers that the API counts but did not send

    def add(self, results: list[Result]) -> None:
        """Add the papers of a page; papers that are already known do not change."""
        for paper in results:
            self.papers.setdefault(paper_id(paper), paper)

    @property
    def usable(self) -> list[Result]:
        """Papers in the window that have a title and an abstract."""
        return [
            paper
            for paper in self.papers.values()
            if self.spec.includes(paper) and _has_text(paper)
        ]

    @property
    def unreadable(self) -> int:
        """Number of papers in the window without a title or an abstract."""
        return sum(
            self.spec.includes(paper) and not _has_text(paper) for paper in self.papers.values()
        )

    def count_between(self, after: datetime, until: datetime) -> int:
        """Number of papers submitted after `after` and not after `until`."""
        return sum(after < paper.published <= until for paper in self.papers.values())

    def newest(self, count: int) -> list[Result]:
        """The newest usable papers, newest first."""
        ranked = sorted(
            self.usable, key=lambda paper: (paper.published, paper_id(paper)), reverse=True
        )
        return ranked[:count]


class InconsistentTotalsError(Exception):
    """The API's totals do not match the papers that it sent."""

    def __init__(self, counted: int, sent: int, until: datetime) -> None:
        super().__init__(
            f"the API counts {counted:,} papers but sent {sent:,} before {until:%Y-%m-%d %H:%M} UTC"
        )
        self.missing = max(0, counted - sent)


@dataclass(frozen=True)
class CategoryPass:
    """One pass through the pages of a category.

    until: end of the window, in UTC. refresh: ignore stored pages. allow_missing: count papers
    that the API did not send instead of raising InconsistentTotalsError.
    """

    client: ArxivClient
    spec: FetchSpec
    category: str
    until: datetime
    page_size: int
    on_progress: OnProgress
    refresh: bool = False
    allow_missing: bool = False

    def run(self) -> CategoryPapers:
        """Request pages until there are enough papers or no more."""
        papers = CategoryPapers(self.spec)
        query = Query(self.category, midnight(self.spec.since or FIRST_DAY), self.until)
        previous: _Answer | None = None
        enough = False
        while True:
            # with enough papers, request one more: the total of that query shows whether the last
            # page was complete; an offset into a minute must be read to the end first
            check_only = enough and not query.start
            size = 1 if check_only else self._size(query, papers)
            if query.start + size > MAX_RESULTS:
                raise UserError(f"arXiv, {self.category}: {MAX_RESULTS:,} papers in one minute")
            page = self.client.fetch_page(query, size, refresh=self.refresh)
            answer = _Answer.from_page(query, page, previous)
            if previous:
                papers.missing += self._missing(previous, answer, papers)
            if check_only:
                return papers
            papers.add([paper for paper in page.results if self.category in paper.categories])
            self.on_progress(min(len(papers.usable), self.spec.per_category))
            if query.start + len(page.results) >= answer.total:
                end = _Answer(query, 0, query.since - _MINUTE)
                papers.missing += self._missing(answer, end, papers)
                return papers
            enough = len(papers.usable) >= self.spec.per_category
            previous = answer
            query = _next_query(query, page.results)

    def _size(self, query: Query, papers: CategoryPapers) -> int:
        """How many papers to request; those in the minute that two queries share arrive twice."""
        repeated = papers.count_between(query.since, query.until + _MINUTE)
        wanted = self.spec.per_category - len(papers.usable) + repeated
        return min(self.page_size, max(wanted, MIN_PAGE_SIZE))

    def _missing(self, before: _Answer, after: _Answer, papers: CategoryPapers) -> int:
        """How many papers between two queries were counted but not sent."""
        counted = before.total - after.total
        sent = papers.count_between(after.covered_until, before.covered_until)
        if counted == sent:
            return 0
        error = InconsistentTotalsError(counted, sent, before.covered_until)
        if not self.allow_missing:
            raise error
        return error.missing


def fetch_category(first: CategoryPass, *, allow_fewer: bool) -> CategoryPapers:
    """Run the pass `first`, and again from fresh pages while the API contradicts itself.

    allow_fewer: accept missing papers after the last pass instead of raising UserError.
    """
    problem = ""
    for number in range(_MAX_PASSES):
        try:
            return replace(first, refresh=number > 0).run()
        except InconsistentTotalsError as error:
            problem = str(error)
            log(f"{first.category}: {problem}; fetching the category again")
    if allow_fewer:
        return replace(first, allow_missing=True).run()
    raise UserError(
        f"arXiv, {first.category}: {problem}; run the same command again later, or accept the "
        "gap with fetch.allow_fewer=true"
    )


def midnight(day: date) -> datetime:
    """Start of a day in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=timezone.utc)


def paper_id(paper: Result) -> str:
    """The arXiv id without version."""
    return canonical(paper.entry_id)


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
            newest = max((paper.published for paper in page.results), default=query.until)
            covered_until = max(query.until, newest)
        return cls(query, page.header.total_results, covered_until)


def _next_query(query: Query, results: list[Result]) -> Query:
    """Move the cursor to the minute of the oldest paper, that minute included.

    If the window is already down to one minute, move the offset instead.
    """
    oldest = min(paper.published for paper in results)
    until = oldest.replace(second=0, microsecond=0) + _MINUTE
    if until < query.until:
        return Query(query.category, query.since, until)
    return Query(query.category, query.since, query.until, query.start + len(results))


def _has_text(paper: Result) -> bool:
    return is_text(paper.title) and is_text(paper.summary)
