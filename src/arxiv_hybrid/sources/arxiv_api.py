"""Pages of arXiv's API, asked for politely: https://info.arxiv.org/help/api/user-manual.html."""

from __future__ import annotations

import gzip
import hashlib
import sys
import zlib
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
from arxiv_hybrid.system.web import (
    PassingError,
    RateLimiter,
    RetryPolicy,
    WebError,
    answer,
    body,
    retry,
    session,
)

ADDRESS = Client.query_url_format.partition("?")[0]
RETRY_POLICY = RetryPolicy(
    pause=3.0
)  # the terms of use: one request in three seconds, one connection
SMALLEST_PAGE = 100
_FEW_TRIES = 2  # for answers that may be right although they look odd
_ERROR = "/api/errors"

Page: TypeAlias = ParsedFeed


def say(line: str) -> None:
    """Print a line past the progress bar."""
    tqdm.write(f"arXiv: {line}", file=sys.stderr)


@dataclass(frozen=True)
class Query:
    """Papers of a category submitted from `since` to `until`, from number `start` on."""

    category: str
    since: datetime
    until: datetime
    start: int = 0

    def arguments(self, size: int) -> dict[str, str]:
        """What follows the question mark of the address."""
        span = f"{self.since:%Y%m%d%H%M} TO {self.until:%Y%m%d%H%M}"
        return {
            "search_query": f"cat:{self.category} AND submittedDate:[{span}]",
            "sortBy": SortCriterion.SubmittedDate.value,
            "sortOrder": SortOrder.Descending.value,
            "start": str(self.start),
            "max_results": str(size),
        }


class Api:
    """Pages by query, from the folder of kept ones or from the server."""

    def __init__(self, folder: Path, pause: RateLimiter, url: str, policy: RetryPolicy) -> None:
        self.folder = folder
        self.pause = pause
        self.url = url
        self.policy = policy
        self.connection = session()
        self.requests = 0

    def page(self, query: Query, size: int, *, anew: bool) -> Page:
        """Up to `size` papers; anew: do not take a kept page.

        Raises UserError where patience does not help.
        """
        arguments = urlencode(query.arguments(size))
        kept = self.folder / f"{hashlib.sha256(arguments.encode()).hexdigest()[:32]}.xml.gz"
        if not anew and (feed := _read_page(kept)):
            return feed
        attempt = _Attempt(self, query, size)
        try:
            content, feed = retry(attempt.run, self.policy, say)
        except WebError as error:
            raise UserError(
                f"arXiv, {query.category}: {error}; what has come is kept for a day: "
                "run the same command again to go on (fetch.source=arxiv)"
            ) from None
        if feed.results:
            write_bytes(kept, gzip.compress(content, compresslevel=3, mtime=0))
        return feed

    def ask(self, query: Query, size: int) -> bytes:
        """One request, no sooner than the terms of use allow."""
        address = f"{self.url}?{urlencode(query.arguments(size))}"
        with self.pause.kept():
            self.requests += 1
            with answer(self.connection, address, self.policy, allowed=(200, 400)) as response:
                content = body(response, self.policy)
                if response.status_code == 400:
                    raise WebError(_refusal(_parsed(content)) or "the API refuses the query")
                return content


def _refusal(feed: Page) -> str | None:
    """What an error that comes as a paper says: the manual's section 3.4."""
    if feed.results and _ERROR in feed.results[0].entry_id:
        return f"the API says: {one_line(feed.results[0].summary)}"
    return None


def _parsed(content: bytes) -> Page:
    """The page that `content` holds; PassingError if a paper's date is none."""
    try:
        return parse(content)
    except (ValueError, OverflowError) as error:
        raise PassingError(f"a paper with an unreadable date: {error}") from None


def _read_page(path: Path) -> Page | None:
    """A kept page; None if there is none or it is damaged. Only pages with papers are kept."""
    try:
        feed = _parsed(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, zlib.error, PassingError):
        return None
    return feed if feed.results else None


def _is_sound(content: bytes) -> bool:
    """Whether XML is well-formed; the parser of the package takes what it can of any other."""
    try:
        etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError:
        return False
    return True


class _Attempt:
    """One page, tried until it looks right; a page that stays empty is asked for in parts."""

    def __init__(self, api: Api, query: Query, size: int) -> None:
        self.api, self.query, self.size = api, query, size
        self.odd = 0

    def run(self) -> tuple[bytes, Page]:
        content = self.api.ask(self.query, self.size)
        if not content.rstrip().endswith(b"</feed>"):
            raise PassingError("an answer that is no whole page of papers")
        if not _is_sound(content):
            self._try_again("a page that is not sound XML")
        feed = _parsed(content)
        if refusal := _refusal(feed):
            raise WebError(refusal)
        there = max(0, feed.header.total_results - self.query.start)
        expected = min(self.size, there)
        if len(feed.results) > there:
            raise PassingError(f"a page of {len(feed.results):,} papers that counts {there:,}")
        if not feed.results and expected:
            self.odd += 1
            if self.odd >= _FEW_TRIES:
                self.size = max(min(SMALLEST_PAGE, self.size), self.size // 2)
            raise PassingError(f"an empty page, {there:,} papers should follow")
        if not expected or len(feed.results) < expected:
            self._try_again(f"a page of {len(feed.results):,} papers for {expected:,}")
        return content, feed

    def _try_again(self, why: str) -> None:
        """Raise for the first few odd answers; one that stays so is taken as it is."""
        self.odd += 1
        if self.odd <= _FEW_TRIES:
            raise PassingError(why)
