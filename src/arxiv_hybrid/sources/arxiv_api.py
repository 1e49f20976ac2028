"""Client for arXiv's API (https://info.arxiv.org/help/api/user-manual.html): one page at a time."""

from __future__ import annotations

import gzip
import hashlib
import sys
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlencode

from arxiv import Client, SortCriterion, SortOrder
from arxiv._feed import ParsedFeed, parse
from lxml import etree
from tqdm import tqdm

from arxiv_hybrid.data.schema import one_line
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import write_bytes
from arxiv_hybrid.system.http import get, new_session, read_body
from arxiv_hybrid.system.locks import RateLimiter
from arxiv_hybrid.system.retry import RequestError, RetryPolicy, TransientError, retry

API_URL = Client.query_url_format.partition("?")[0]
RETRY_POLICY = RetryPolicy(min_interval=3.0)  # terms of use: one request in three seconds
MIN_PAGE_SIZE = 100
_MAX_SUSPICIOUS = 2  # retries of a response that looks wrong but may be right
_ERROR_ID = "/api/errors"

Page: TypeAlias = ParsedFeed


def log(line: str) -> None:
    """Print a line to stderr without breaking the progress bar."""
    tqdm.write(f"arXiv: {line}", file=sys.stderr)


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
            "sortBy": SortCriterion.SubmittedDate.value,
            "sortOrder": SortOrder.Descending.value,
            "start": str(self.start),
            "max_results": str(size),
        }


class ArxivClient:
    """Fetches pages, stores them in `folder`, and reads stored ones from there.

    The attribute `requests` counts the HTTP requests so far.
    """

    def __init__(
        self, folder: Path, rate_limiter: RateLimiter, url: str, policy: RetryPolicy
    ) -> None:
        self.folder = folder
        self.rate_limiter = rate_limiter
        self.url = url
        self.policy = policy
        self.session = new_session()
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
        if page.results:
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
                    raise RequestError(_api_error(_parse(content)) or "the API rejects the query")
                return content


def _api_error(page: Page) -> str | None:
    """The API's error message; it arrives as a paper (section 3.4 of the manual)."""
    if page.results and _ERROR_ID in page.results[0].entry_id:
        return f"the API says: {one_line(page.results[0].summary)}"
    return None


def _parse(content: bytes) -> Page:
    try:
        return parse(content)
    except (ValueError, OverflowError) as error:
        raise TransientError(f"a paper with an unreadable date: {error}") from None


def _read_page(path: Path) -> Page | None:
    """Read a stored page; None if it is missing or damaged. Empty pages are never stored."""
    try:
        page = _parse(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, zlib.error, TransientError):
        return None
    return page if page.results else None


def _is_well_formed(content: bytes) -> bool:
    """Whether XML is well-formed; the package's parser accepts whatever it can read."""
    try:
        etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError:
        return False
    return True


class _PageAttempts:
    """Attempts at one page until it looks right; a page that stays empty is halved."""

    def __init__(self, client: ArxivClient, query: Query, size: int) -> None:
        self.client, self.query, self.size = client, query, size
        self.suspicious = 0

    def run(self) -> tuple[bytes, Page]:
        content = self.client.request(self.query, self.size)
        if not content.rstrip().endswith(b"</feed>"):
            raise TransientError("the response is not a complete page of papers")
        if not _is_well_formed(content):
            self._retry_if_new("the page is not well-formed XML")
        page = _parse(content)
        if error := _api_error(page):
            raise RequestError(error)
        remaining = max(0, page.header.total_results - self.query.start)
        expected = min(self.size, remaining)
        count = len(page.results)
        if count > remaining:
            raise TransientError(f"the page has {count:,} papers, at most {remaining:,} remain")
        if not page.results and expected:
            self.suspicious += 1
            if self.suspicious >= _MAX_SUSPICIOUS:
                self.size = max(min(MIN_PAGE_SIZE, self.size), self.size // 2)
            raise TransientError(f"the page is empty, {remaining:,} papers remain")
        if not expected or count < expected:
            self._retry_if_new(f"the page has {count:,} papers, expected {expected:,}")
        return content, page

    def _retry_if_new(self, reason: str) -> None:
        """Raise TransientError on the first suspicious responses; later ones are accepted."""
        self.suspicious += 1
        if self.suspicious <= _MAX_SUSPICIOUS:
            raise TransientError(reason)
