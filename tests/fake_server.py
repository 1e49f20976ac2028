"""A local HTTP server that acts as arXiv's API and as a file host, with faults on demand.

Faults are queued, one per request; once the queue is empty, the server works normally.
"""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import io
import re
import sys
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import numpy as np

from arxiv_hybrid.taxonomy.label_sets import CATEGORIES

NEWEST = datetime(2025, 11, 17, 23, 59, 30, tzinfo=UTC)
HTML = b"<!DOCTYPE html><html><body>Moved.</body></html>"


@dataclass
class Entry:
    """One paper in the API's feed."""

    id: str
    published: datetime
    categories: list[str]
    title: str
    summary: str
    updated: datetime


def entries(
    count: int,
    seconds: int = 37,
    seed: int = 1,
    categories: Sequence[str] = (*CATEGORIES, "stat.ML"),
) -> list[Entry]:
    """Papers `seconds` apart, newest first, with one to three categories and some ACM classes."""
    random = np.random.default_rng(seed)
    papers = []
    for i in range(count):
        published = NEWEST - timedelta(seconds=seconds * i)
        listed = [str(c) for c in random.permutation(categories)]
        listed = listed[: random.integers(1, 4)] + ["I.2.7", "68T50"][: random.integers(0, 3)]
        papers.append(
            Entry(
                id=f"2511.{count - i:05}",
                published=published,
                categories=listed,
                title=f"On é & <topic>\n  {i}",
                summary=f"  We study\nnumber {i}.\n",
                updated=published + timedelta(days=1),
            )
        )
    return papers


def vectors_zip(rows: int = 6000) -> bytes:
    """A .zip of 50-dimensional word vectors, about a megabyte."""
    random = np.random.default_rng(4)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        text = "".join(
            f"w{i} {' '.join(f'{x:.4f}' for x in row)}\n"
            for i, row in enumerate(random.normal(size=(rows, 50)))
        )
        archive.writestr("vectors.50d.txt", text)
    return buffer.getvalue()


@dataclass
class FakeServer:
    """The server's content, its queued faults, and the requests it received."""

    papers: list[Entry] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[Any] = field(default_factory=list)
    max_results: int = 30_000
    page_limit: int = 2000
    whole_minutes: bool = False  # whether the window's last minute includes its seconds
    ranges: bool = True
    redirects: dict[str, str] = field(default_factory=dict)
    drip: float = 0.02  # seconds between two bytes of a slow response
    requests: list[dict[str, Any]] = field(default_factory=list)
    address: str = ""
    concurrent: int = 0
    max_concurrent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def api(self) -> str:
        return f"{self.address}/api/query"

    def paths(self) -> list[str]:
        return [str(request["path"]) for request in self.requests]

    def next_fault(self) -> Any:
        with self.lock:
            return self.faults.pop(0) if self.faults else None

    def matching(self, query: str) -> list[Entry]:
        subject = re.findall(r"cat:([^\s)]+)", query)
        first, last = query.partition("[")[2].rstrip("]").split(" TO ")
        since, until = (
            datetime.strptime(day, "%Y%m%d%H%M").replace(tzinfo=UTC) for day in (first, last)
        )
        if self.whole_minutes:
            until += timedelta(seconds=59)
        matches = [
            paper
            for paper in self.papers
            if since <= paper.published <= until and _lists(paper, subject)
        ]
        return sorted(matches, key=lambda paper: paper.published, reverse=True)


def _lists(paper: Entry, subject: list[str]) -> bool:
    """Whether a paper lists one of the categories or patterns; an empty list finds all."""
    if not subject:
        return True
    return any(fnmatch.fnmatchcase(name, term) for name in paper.categories for term in subject)


@contextmanager
def serving(**content: Any) -> Iterator[FakeServer]:
    """Run a fake server on a free local port."""
    state = FakeServer(**content)
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
        """Ignore clients that hang up; report everything else."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    state: FakeServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every response waits 40 ms for an acknowledgement

    def log_message(self, *_: object) -> None:
        """Keep the test output clean."""

    def do_GET(self) -> None:
        state = self.state
        with state.lock:
            state.concurrent += 1
            state.max_concurrent = max(state.max_concurrent, state.concurrent)
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
                self._respond(urlsplit(self.path))
        finally:
            with state.lock:
                state.concurrent -= 1

    def _respond(self, address: Any) -> None:
        fault = self.state.next_fault()
        if isinstance(fault, dict):  # a status with headers
            parts = dict(fault)
            del parts["status"]
            body = str(parts.pop("body", "Rate exceeded.")).encode()
            headers = {key: str(value) for key, value in parts.items()}
            self._send(body, status=fault["status"], headers=headers)
        elif fault == "html":
            self._send(HTML, headers={"Content-Type": "text/html"})
        elif fault == "hang":
            time.sleep(1.0)
            self.close_connection = True
        elif address.path == "/api/query":
            self._page(parse_qs(address.query), fault)
        elif fault == "redirect loop":
            self._send(b"", status=302, headers={"Location": self.path})
            self.state.faults.insert(0, "redirect loop")
        elif address.path in self.state.redirects:
            self._send(b"", status=301, headers={"Location": self.state.redirects[address.path]})
        else:
            self._file(address.path, fault)

    def _page(self, query: dict[str, list[str]], fault: Any) -> None:
        state = self.state
        start, size = int(query["start"][0]), int(query["max_results"][0])
        if start + size > state.max_results or size > state.page_limit or fault == "refuse":
            self._send(_error("max_results must be smaller"), status=400)
            return
        matches = state.matching(query["search_query"][0])
        if fault == "withdrawn":  # removed for good, from the middle of this page
            withdrawn = matches[start + size // 2]
            state.papers.remove(withdrawn)
            matches.remove(withdrawn)
        page = _wrong_page(matches, matches[start : start + size], fault)
        feed = _wrong_feed(_feed(page, _wrong_total(len(matches), fault), start), fault)
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
        requested = self.headers.get("Range")
        if_range = self.headers.get("If-Range")
        etag = f'"{hashlib.sha256(content).hexdigest()[:12]}"'
        headers = {"ETag": etag, "Content-Type": "application/zip"}
        if fault == "compressed":
            self._send(gzip.compress(content), headers={**headers, "Content-Encoding": "gzip"})
            return
        changed = if_range and if_range != etag and fault != "no If-Range"
        if not requested or not self.state.ranges or changed:
            self._send(content, headers=headers, fault=fault)
            return
        first = int(requested.removeprefix("bytes=").rstrip("-"))
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
        elif fault != "cut without length":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fault in ("cut", "cut without length"):
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        elif fault == "throttle":
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


def _wrong_page(matches: list[Entry], page: list[Entry], fault: Any) -> list[Entry]:
    if fault in ("empty", "nothing"):
        return []
    if fault == "short":
        return page[: len(page) // 2]
    if fault == "hole" and len(page) > 1:  # of full size, but one paper in the middle is missing
        following = matches[matches.index(page[-1]) + 1 :][:1]
        return [page[0], *page[2:], *following]
    if fault == "doubled at start" and page:
        return [page[0], *page[:-1]]
    if fault == "doubled inside" and len(page) > 2:
        return [page[0], page[0], *page[2:]]
    return page[::-1] if fault == "backwards" else page


def _wrong_total(total: int, fault: Any) -> int:
    return {"nothing": 0, "no total": 0, "total": total + 7}.get(str(fault), total)


def _wrong_feed(feed: bytes, fault: Any) -> bytes:
    if fault == "bad date":
        return feed.replace(b"<updated>20", b"<updated>yesterday 20", 1)
    if fault == "no date":
        return re.sub(rb"<published>[^<]*</published>", b"", feed, count=1)
    if fault == "foreign":  # one paper more, of another category
        paper = Entry("2511.99999", NEWEST, ["hep-th"], "Strings", "Words.", NEWEST)
        total = re.search(rb"totalResults>(\d+)", feed)
        assert total
        feed = feed.replace(total[0], b"totalResults>%d" % (int(total[1]) + 1), 1)
        return feed.replace(b"</feed>", _entry(paper).encode() + b"</feed>")
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


def _entry(paper: Entry) -> str:
    terms = "".join(f'<category term="{escape(term)}"/>' for term in sorted(paper.categories))
    return (
        f"<entry><id>http://arxiv.org/abs/{paper.id}v1</id>"
        f"<updated>{paper.updated:%Y-%m-%dT%H:%M:%SZ}</updated>"
        f"<published>{paper.published:%Y-%m-%dT%H:%M:%SZ}</published>"
        f"<title>{escape(paper.title)}</title><summary>{escape(paper.summary)}</summary>"
        "<author><name>N. N.</name></author>"
        f'<arxiv:primary_category term="{paper.categories[0]}"/>{terms}</entry>\n'
    )


def _error(message: str) -> bytes:
    entry = Entry("", NEWEST, ["cs.AI"], "Error", message, NEWEST)
    text = _entry(entry).replace(
        "http://arxiv.org/abs/v1", "http://arxiv.org/api/errors#max_results"
    )
    return _feed([], 1, 0).replace(b"</feed>", text.encode() + b"</feed>")
