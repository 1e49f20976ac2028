"""A server that stands in for arXiv's API and for a host of large files, and misbehaves on order.

Faults are taken from a queue, one a request: what was queued happens, then all is well again.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import numpy as np

from arxiv_hybrid.data.labels import CATEGORIES

NEWEST = datetime(2025, 11, 17, 23, 59, 30, tzinfo=timezone.utc)
HTML = b"<!DOCTYPE html><html><body>Moved.</body></html>"


@dataclass
class Entry:
    """One paper as the API knows it."""

    id: str
    published: datetime
    categories: list[str]
    title: str
    summary: str
    updated: datetime


def entries(count: int, seconds: int = 37, seed: int = 1) -> list[Entry]:
    """Papers `seconds` apart, newest first, in one to three categories and a class of the ACM."""
    random = np.random.default_rng(seed)
    made = []
    for i in range(count):
        published = NEWEST - timedelta(seconds=seconds * i)
        listed = [str(c) for c in random.permutation([*CATEGORIES, "stat.ML"])]
        listed = listed[: random.integers(1, 4)] + ["I.2.7", "68T50"][: random.integers(0, 3)]
        made.append(
            Entry(
                id=f"2511.{count - i:05}",
                published=published,
                categories=listed,
                title=f"On é & <topic>\n  {i}",
                summary=f"  We study\nnumber {i}.\n",
                updated=published + timedelta(days=1),
            )
        )
    return made


@dataclass
class StandIn:
    """What the server holds, what it is told to do wrong, and what it was asked."""

    papers: list[Entry] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[Any] = field(default_factory=list)
    cap: int = 30_000
    page_limit: int = 2000
    whole_minutes: bool = False  # whether a date's last minute counts with its seconds
    ranges: bool = True
    redirects: dict[str, str] = field(default_factory=dict)
    drip: float = 0.02  # seconds between two bytes of a slow answer
    requests: list[dict[str, Any]] = field(default_factory=list)
    address: str = ""
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def api(self) -> str:
        return f"{self.address}/api/query"

    def asked(self) -> list[str]:
        return [str(request["path"]) for request in self.requests]

    def next_fault(self) -> Any:
        with self.lock:
            return self.faults.pop(0) if self.faults else None

    def matching(self, query: str) -> list[Entry]:
        category = query.split()[0].removeprefix("cat:")
        first, last = query.partition("[")[2].rstrip("]").split(" TO ")
        since, until = (
            datetime.strptime(day, "%Y%m%d%H%M").replace(tzinfo=timezone.utc)
            for day in (first, last)
        )
        if self.whole_minutes:
            until += timedelta(seconds=59)
        found = [
            one
            for one in self.papers
            if category in one.categories and since <= one.published <= until
        ]
        return sorted(found, key=lambda one: one.published, reverse=True)


@contextmanager
def serving(**content: Any) -> Iterator[StandIn]:
    """Run a stand-in server on a free port of this machine."""
    state = StandIn(**content)
    handler = type("Handler", (_Handler,), {"state": state})
    server = _Server(("127.0.0.1", 0), handler)
    state.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news; all else is."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    state: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        state = self.state
        with state.lock:
            state.at_once += 1
            state.most_at_once = max(state.most_at_once, state.at_once)
            state.requests.append(
                {
                    "path": self.path,
                    "time": time.time(),
                    "agent": self.headers.get("User-Agent"),
                    "range": self.headers.get("Range"),
                    "client": self.client_address,
                }
            )
        try:
            with suppress(BrokenPipeError, ConnectionResetError):
                self._answer(urlsplit(self.path))
        finally:
            with state.lock:
                state.at_once -= 1

    def _answer(self, address: Any) -> None:
        fault = self.state.next_fault()
        if isinstance(fault, dict):  # a status with headers
            headers = {key: str(value) for key, value in fault.items() if key != "status"}
            self._send(b"Rate exceeded.", status=fault["status"], headers=headers)
        elif fault == "html":
            self._send(HTML, headers={"Content-Type": "text/html"})
        elif fault == "hang":
            time.sleep(1.0)
            self.close_connection = True
        elif address.path == "/api/query":
            self._page(parse_qs(address.query), fault)
        elif fault == "circle":
            self._send(b"", status=302, headers={"Location": self.path})
            self.state.faults.insert(0, "circle")
        elif address.path in self.state.redirects:
            self._send(b"", status=301, headers={"Location": self.state.redirects[address.path]})
        else:
            self._file(address.path, fault)

    def _page(self, asked: dict[str, list[str]], fault: Any) -> None:
        state = self.state
        start, size = int(asked["start"][0]), int(asked["max_results"][0])
        if start + size > state.cap or size > state.page_limit or fault == "refuse":
            self._send(_error("max_results must be smaller"), status=400)
            return
        found = state.matching(asked["search_query"][0])
        if fault == "withdrawn":  # gone for good, from the middle of this page
            gone = found[start + size // 2]
            state.papers.remove(gone)
            found.remove(gone)
        page = _wrong_page(found, found[start : start + size], fault)
        feed = _wrong_feed(_feed(page, _wrong_total(len(found), fault), start), fault)
        if fault == "gzip":
            self._send(gzip.compress(feed), headers={"Content-Encoding": "gzip"})
        else:
            self._send(feed, fault=fault)

    def _file(self, path: str, fault: Any) -> None:
        content = self.state.files.get(path)
        if content is None:
            self._send(b"no such file", status=404)
            return
        if fault == "wrong":
            content = bytes([content[0] ^ 1]) + content[1:]
        asked = self.headers.get("Range")
        tag = self.headers.get("If-Range")
        mark = f'"{hashlib.sha256(content).hexdigest()[:12]}"'
        headers = {"ETag": mark, "Content-Type": "application/zip"}
        if fault == "packed":
            self._send(gzip.compress(content), headers={**headers, "Content-Encoding": "gzip"})
            return
        if not asked or not self.state.ranges or (tag and tag != mark and fault != "no If-Range"):
            self._send(content, headers=headers, fault=fault)
            return
        first = int(asked.removeprefix("bytes=").rstrip("-"))
        if first >= len(content):
            self._send(b"", status=416, headers={"Content-Range": f"bytes */{len(content)}"})
            return
        if fault == "shifted":
            first += 1
        headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        self._send(content[first:], status=206, headers=headers, fault=fault)

    def _send(
        self,
        content: bytes,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        fault: Any = None,
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if fault == "longer":
            content += b"more"
            self.send_header("Transfer-Encoding", "chunked")
            content = b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)
        elif fault != "cut quietly":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fault in ("cut", "cut quietly"):
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        elif fault == "crawl":
            for first in range(0, len(content), 1 << 14):
                self.wfile.write(content[first : first + (1 << 14)])
                time.sleep(self.state.drip)
        elif fault == "drip":
            for byte in content:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(self.state.drip)
        else:
            self.wfile.write(content)


def _wrong_page(found: list[Entry], page: list[Entry], fault: Any) -> list[Entry]:
    if fault in ("empty", "nothing"):
        return []
    if fault == "short":
        return page[: len(page) // 2]
    if fault == "hole" and len(page) > 1:  # as many as asked for, one in the middle left out
        following = found[found.index(page[-1]) + 1 :][:1]
        return [page[0], *page[2:], *following]
    if fault == "doubled" and page:
        return [page[0], *page[:-1]]
    if fault == "doubled within" and len(page) > 2:
        return [page[0], page[0], *page[2:]]
    return page[::-1] if fault == "backwards" else page


def _wrong_total(total: int, fault: Any) -> int:
    return {"nothing": 0, "no total": 0, "total": total + 7}.get(str(fault), total)


def _wrong_feed(feed: bytes, fault: Any) -> bytes:
    if fault == "bad date":
        return feed.replace(b"<updated>20", b"<updated>yesterday 20", 1)
    if fault == "bad XML":
        return feed.replace(b"We study", b"We < study", 1)
    return feed


def _feed(page: list[Entry], total: int, start: int) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<feed xmlns="http://www.w3.org/2005/Atom" xmlns:arxiv="http://arxiv.org/schemas/atom" '
        'xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/">\n'
        f"<opensearch:totalResults>{total}</opensearch:totalResults>\n"
        f"<opensearch:startIndex>{start}</opensearch:startIndex>\n"
        f"<opensearch:itemsPerPage>{len(page)}</opensearch:itemsPerPage>\n"
        + "".join(map(_entry, page))
        + "</feed>\n"
    ).encode()


def _entry(one: Entry) -> str:
    terms = "".join(f'<category term="{escape(term)}"/>' for term in sorted(one.categories))
    return (
        f"<entry><id>http://arxiv.org/abs/{one.id}v1</id>"
        f"<updated>{one.updated:%Y-%m-%dT%H:%M:%SZ}</updated>"
        f"<published>{one.published:%Y-%m-%dT%H:%M:%SZ}</published>"
        f"<title>{escape(one.title)}</title><summary>{escape(one.summary)}</summary>"
        "<author><name>N. N.</name></author>"
        f'<arxiv:primary_category term="{one.categories[0]}"/>{terms}</entry>\n'
    )


def _error(message: str) -> bytes:
    entry = Entry("", NEWEST, ["cs.AI"], "Error", message, NEWEST)
    text = _entry(entry).replace(
        "http://arxiv.org/abs/v1", "http://arxiv.org/api/errors#max_results"
    )
    return _feed([], 1, 0).replace(b"</feed>", text.encode() + b"</feed>")
