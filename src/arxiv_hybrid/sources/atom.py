"""Pages of arXiv's API, which are Atom feeds (section 3.3 of its manual), read safely.

The parser resolves no entities, loads nothing from the network, and bounds depth and lengths.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from lxml import etree

_ATOM = "{http://www.w3.org/2005/Atom}"
_ARXIV = "{http://arxiv.org/schemas/atom}"
_TOTAL = "{http://a9.com/-/spec/opensearch/1.1/}totalResults"
_ERROR_ID = "/api/errors"


class FeedError(ValueError):
    """The content is not a page of the API; the message says why."""


class Record(NamedTuple):
    """One paper as the API sends it; a text that is missing is empty."""

    id: str  # the URL of its page, with the version
    title: str
    summary: str
    primary_category: str
    categories: tuple[str, ...]
    published: datetime
    updated: datetime


@dataclass
class Page:
    """A page: its papers, and how many papers the query has in all.

    undated: the ids of entries without a date, which cannot be used. error: the API's error
    message; it arrives as an entry (section 3.4 of the manual). Empty if there is none.
    """

    total: int
    entries: list[Record] = field(default_factory=list)
    undated: list[str] = field(default_factory=list)
    error: str = ""


def parse_page(content: bytes, *, recover: bool = False) -> Page:
    """Parse a response; FeedError if it is no feed, or not well-formed, or has an unreadable date.

    recover: read what can be read of a feed that is not well-formed.
    """
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, huge_tree=False, recover=recover
    )
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise FeedError(f"the page is not well-formed XML: {error}") from None
    if root is None or root.tag != f"{_ATOM}feed":
        raise FeedError("the response is not a page of papers")
    page = Page(_total(root))
    for entry in root.iterfind(f"{_ATOM}entry"):
        _add(page, entry)
    return page


def _add(page: Page, entry: Any) -> None:
    identifier, title = _text(entry, "id"), _text(entry, "title")
    published = _text(entry, "published")
    if _ERROR_ID in identifier or (title.strip() == "Error" and not published):
        page.error = " ".join(_text(entry, "summary").split()) or "an error without a reason"
    elif not identifier or not published:
        page.undated.append(identifier or "an entry without an id")
    else:
        primary = entry.find(f"{_ARXIV}primary_category")
        terms = [category.get("term") for category in entry.iterfind(f"{_ATOM}category")]
        day = _moment(published)
        page.entries.append(
            Record(
                identifier,
                title,
                _text(entry, "summary"),
                "" if primary is None else primary.get("term") or "",
                tuple(term for term in terms if term),
                day,
                _moment(_text(entry, "updated")) if _text(entry, "updated") else day,
            )
        )


def _total(root: Any) -> int:
    text = (root.findtext(_TOTAL) or "").strip()
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise FeedError("the page does not say how many papers there are")
    return int(text)


def _text(entry: Any, name: str) -> str:
    """The text of an element, with that of elements inside; empty if there is none."""
    element = entry.find(f"{_ATOM}{name}")
    text = "" if element is None else "".join(element.itertext())
    return text.strip() if name in ("id", "published", "updated") else text


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise FeedError(f"a paper with an unreadable date: {text[:40]!r}") from None
