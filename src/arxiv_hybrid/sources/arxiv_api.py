"""Client for arXiv's API (https://info.arxiv.org/help/api/user-manual.html): one page at a time."""

from __future__ import annotations

import gzip
import hashlib
import sys
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlencode

from arxiv_hybrid.sources.atom import FeedError, Page, parse_page
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import write_bytes
from arxiv_hybrid.system.http import get, new_session, read_body
from arxiv_hybrid.system.locks import RateLimiter
from arxiv_hybrid.system.retry import RequestError, RetryPolicy, TransientError, retry
from arxiv_hybrid.system.ticker import print_line

API_URL = "https://export.arxiv.org/api/query"
RETRY_POLICY = RetryPolicy(min_interval=3.0)  # terms of use: one request in three seconds
MIN_PAGE_SIZE = 100
_MAX_SUSPICIOUS = 2  # retries of a response that looks wrong but may be right


def log(line: str) -> None:
    """Print a line to stderr in place of the progress line."""
    print_line(f"arXiv: {line}", sys.stderr)


@dataclass(frozen=True)
class Subject:
    """What papers must list: one of some categories.

    name: for messages. terms: categories, or patterns such as `math.*`; none stand for all papers.
    """

    name: str
    terms: tuple[str, ...]

    @property
    def search(self) -> str:
        """The condition as the API reads it; empty for all papers."""
        fields = [f"cat:{term}" for term in self.terms]
        return f"({' OR '.join(fields)})" if len(fields) > 1 else "".join(fields)

    def includes(self, categories: Iterable[str]) -> bool:
        """Whether a paper with these categories is one of the subject."""
        if not self.terms:
            return True
        archives = tuple(term.removesuffix("*") for term in self.terms if term.endswith(".*"))
        return any(name in self.terms or name.startswith(archives) for name in categories)


@dataclass(frozen=True)
class Query:
    """Papers on a subject submitted between two moments, newest first, from offset `start`."""

    subject: Subject
    since: datetime
    until: datetime
    start: int = 0

    def parameters(self, size: int) -> dict[str, str]:
        """Parameters of the URL's query string for a page of `size` papers."""
        span = f"submittedDate:[{self.since:%Y%m%d%H%M} TO {self.until:%Y%m%d%H%M}]"
        return {
            "search_query": " AND ".join(filter(None, [self.subject.search, span])),
            "sortBy": "submittedDate",
            "sortOrder": "descending",
            "start": str(self.start),
            "max_results": str(size),
        }


class ArxivClient:
    """Fetches pages, stores them in `folder`, and reads stored ones from there.

    contact: how arXiv can reach the user, for the header User-Agent. The attribute `requests`
    counts the HTTP requests so far.
    """

    def __init__(
        self,
        folder: Path,
        rate_limiter: RateLimiter,
        url: str,
        policy: RetryPolicy,
        *,
        contact: str | None = None,
    ) -> None:
        self.folder = folder
        self.rate_limiter = rate_limiter
        self.url = url
        self.policy = policy
        self.session = new_session(contact)
        self.requests = 0

    def fetch_page(self, query: Query, size: int, *, refresh: bool) -> Page:
        """Return a page of up to `size` papers; with `refresh`, ignore a stored page.

        Raises UserError if retries do not help.
        """
        parameters = urlencode(query.parameters(size))
        stored = self.folder / f"{hashlib.sha256(parameters.encode()).hexdigest()[:32]}.xml.gz"
        if not refresh and (page := _read_page(stored)):
            return page
        attempts = _PageAttempts(self, query, size)
        try:
            content, page = retry(attempts.run, self.policy, log)
        except RequestError as error:
            raise UserError(
                f"arXiv, {query.subject.name}: {error}; downloaded pages are kept for a day: "
                "run the same command again to resume (fetch.source=arxiv)"
            ) from None
        if page.entries:
            write_bytes(stored, gzip.compress(content, compresslevel=3, mtime=0))
        return page

    def request(self, query: Query, size: int) -> bytes:
        """Send one request within the rate limit and return the response body."""
        url = f"{self.url}?{urlencode(query.parameters(size))}"
        with self.rate_limiter.slot():
            self.requests += 1
            with get(self.session, url, self.policy, allowed=(200, 400)) as response:
                content = read_body(response, self.policy)
                if response.status_code == 400:
                    raise RequestError(_refusal(content))
                return content


def _refusal(content: bytes) -> str:
    """Why the API refuses a query, as far as the body of its response says."""
    with suppress(FeedError):
        if error := parse_page(content).error:
            return f"the API says: {error}"
    return "the API refuses the query without a reason"


def _read_page(path: Path) -> Page | None:
    """Read a stored page; None if it is missing or damaged. Empty pages are never stored."""
    try:
        page = parse_page(gzip.decompress(path.read_bytes()), recover=True)
    except (OSError, EOFError, zlib.error, FeedError):
        return None
    return page if page.entries else None


class _PageAttempts:
    """Attempts at one page until it looks right; a page that stays empty is halved."""

    def __init__(self, client: ArxivClient, query: Query, size: int) -> None:
        self.client, self.query, self.size = client, query, size
        self.suspicious = 0

    def run(self) -> tuple[bytes, Page]:
        content = self.client.request(self.query, self.size)
        if not content.rstrip().endswith(b"</feed>"):
            raise TransientError("the response is not a complete page of papers")
        page = self._parse(content)
        if page.error:
            raise RequestError(f"the API says: {page.error}")
        remaining = max(0, page.total - self.query.start)
        expected = min(self.size, remaining)
        count = len(page.entries) + len(page.undated)
        if count > remaining:
            raise TransientError(f"the page has {count:,} papers, at most {remaining:,} remain")
        if not count and expected:
            self.suspicious += 1
            if self.suspicious >= _MAX_SUSPICIOUS:
                self.size = max(min(MIN_PAGE_SIZE, self.size), self.size // 2)
            raise TransientError(f"the page is empty, {remaining:,} papers remain")
        if not expected or count < expected:
            self._retry_if_new(f"the page has {count:,} papers, expected {expected:,}")
        if page.undated:
            self._retry_if_new(f"{page.undated[0]} has no date")
            log(f"left out, because they have no date: {', '.join(page.undated)}")
        return content, page

    def _parse(self, content: bytes) -> Page:
        """Parse a page; one that stays malformed is read as far as possible."""
        try:
            return parse_page(content)
        except FeedError as error:
            self._retry_if_new(str(error))
            log(f"{error}; reading as much of it as possible")
        try:
            return parse_page(content, recover=True)
        except FeedError as error:
            raise TransientError(str(error)) from None

    def _retry_if_new(self, reason: str) -> None:
        """Raise TransientError on the first suspicious responses; later ones are accepted."""
        self.suspicious += 1
        if self.suspicious <= _MAX_SUSPICIOUS:
            raise TransientError(reason)
