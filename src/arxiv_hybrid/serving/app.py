"""The ASGI application: MLflow's protocol, health, and the page for people."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import orjson

from arxiv_hybrid.inference.classifier import TextClassifier
from arxiv_hybrid.serving.batcher import Batcher, BusyError, Paper
from arxiv_hybrid.serving.counters import Counters
from arxiv_hybrid.serving.explanation import explanation, one_paper
from arxiv_hybrid.serving.page import Page
from arxiv_hybrid.serving.papers import answering, plain_papers, predictions
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.tracking.scoring import JSON, MalformedError, MlflowParser

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MOST_BYTES = 16 << 20  # in the body of a request
MOST_BYTES_EXPLAINED = 64 << 10
MOST_BYTES_HELD = 128 << 20  # of the bodies of all requests that are being answered
MOST_PAPERS = 5_000  # in a request
MOST_PARSED = 32  # requests that wait for MLflow's parser
READ_SECONDS = 30.0  # in which a body must arrive
RETRY_SECONDS = "1"  # what a client is told when the server is busy


@dataclass(frozen=True)
class Answer:
    """A response: status, body, its type, and more headers."""

    status: int
    body: bytes
    kind: str = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


def refusal(status: int, code: str, message: str, **headers: str) -> Answer:
    """A response that says in MLflow's form why a request is not answered."""
    body = orjson.dumps({"error_code": code, "message": message})
    more = ((name.replace("_", "-").encode(), text.encode()) for name, text in headers.items())
    return Answer(status, body, JSON, tuple(more))


class _TooLargeError(Exception):
    """A body with too many bytes; the message says how many are allowed."""


class App:
    """Answers requests with one classifier.

    name: what `/health` calls the model. counters: shared by all worker processes. draining: set
    when the server is about to stop; each connection then ends with its next response.
    """

    def __init__(self, classifier: TextClassifier, name: str, counters: Counters) -> None:
        self._classifier = classifier
        self._batcher = Batcher(answering(classifier), counters.set_waiting)
        self._parser = MlflowParser()
        self._parsing = ThreadPoolExecutor(1, "parser")
        self._parsed = 0  # requests in or before the parser
        self._held = 0  # bytes
        self.counters = counters
        self._name = name
        self._page = Page(classifier, name)
        self.draining = False
        self._routes: dict[str, tuple[str, Callable[..., Awaitable[Answer]]]] = {
            "/invocations": ("POST", self._invocations),
            "/explain": ("POST", self._explain),
            "/": ("GET", self._show_page),
            "/ping": ("GET", self._ping),
            "/version": ("GET", self._version),
            "/health": ("GET", self._health),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; see the ASGI specification."""
        answer = await self._answer(scope, receive)
        headers = [
            (b"content-type", answer.kind.encode()),
            (b"content-length", str(len(answer.body)).encode()),
            *answer.headers,
        ]
        if self.draining:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        method, handler = self._routes.get(scope["path"], ("", None))
        if handler is None:
            return refusal(
                404,
                "ENDPOINT_NOT_FOUND",
                f"{scope['path'][:80]}: not found; use {', '.join(self._routes)}",
            )
        if scope["method"] != method and (scope["method"], method) != ("HEAD", "GET"):
            message = f"{scope['path']} takes {method} only"
            return refusal(405, "BAD_REQUEST", message, allow=method)
        self.counters.add("requests", 1)
        try:
            return await handler(scope, receive)
        except MalformedError as error:
            return refusal(error.status, "BAD_REQUEST", str(error))
        except _TooLargeError as error:
            return refusal(413, "BAD_REQUEST", str(error))
        except TimeoutError:
            message = f"the body did not arrive within {READ_SECONDS:g} seconds"
            return refusal(408, "BAD_REQUEST", message, connection="close")
        except BusyError:
            message = "too many requests are waiting"
            return refusal(503, "TEMPORARILY_UNAVAILABLE", message, retry_after=RETRY_SECONDS)
        except UserError as error:
            return refusal(500, "INTERNAL_ERROR", str(error))

    async def _invocations(self, scope: Scope, receive: Receive) -> Answer:
        headers = dict(scope["headers"])
        with self._holding() as hold:
            body = await self._read(headers, receive, MOST_BYTES, hold)
            papers = await self._papers(body, headers)
            answers = await self._batcher.answers(papers)
        self.counters.add("papers", len(papers))
        return Answer(200, predictions(answers))

    async def _papers(self, body: bytes, headers: dict[bytes, bytes]) -> list[Paper]:
        """The papers of a request: of a plain one at once, else by MLflow's parser in a thread."""
        kind = headers.get(b"content-type", b"").decode("latin-1")
        papers = plain_papers(body) if kind == JSON else None
        if papers is None:
            if self._parsed >= MOST_PARSED:
                raise BusyError
            self._parsed += 1
            try:
                loop = asyncio.get_running_loop()
                papers = await loop.run_in_executor(self._parsing, self._parser.papers, body, kind)
            finally:
                self._parsed -= 1
        if len(papers) > MOST_PAPERS:
            raise _TooLargeError(f"a request may have {MOST_PAPERS:,} papers, not {len(papers):,}")
        return papers

    async def _explain(self, scope: Scope, receive: Receive) -> Answer:
        with self._holding() as hold:
            headers = dict(scope["headers"])
            body = await self._read(headers, receive, MOST_BYTES_EXPLAINED, hold)
            title, abstract = one_paper(body)
            content = await self._batcher.call(
                lambda: explanation(self._classifier, title, abstract)
            )
        self.counters.add("papers", 1)
        return Answer(200, orjson.dumps(content))

    async def _read(
        self, headers: dict[bytes, bytes], receive: Receive, most: int, hold: Callable[[int], None]
    ) -> bytes:
        """The body of a request; `hold` is told of its bytes as they arrive.

        Raises _TooLargeError, BusyError if all bodies together are too large, TimeoutError if this
        one does not arrive in time, and MalformedError if the client goes away.
        """
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise MalformedError("Content-Encoding is not supported; send the body as it is", 415)
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > most:
            raise _TooLargeError(
                f"the body of a request may have {most:,} bytes, not {int(declared):,}"
            )

        async def read(message: Message) -> bytes:
            parts = []
            while True:
                if message["type"] == "http.disconnect":
                    raise MalformedError("the client closed the connection")
                parts.append(message.get("body", b""))
                hold(len(parts[-1]))
                if sum(map(len, parts)) > most:
                    raise _TooLargeError(f"the body of a request may have {most:,} bytes")
                if not message.get("more_body"):
                    return b"".join(parts)
                message = await receive()

        first = await receive()
        if not first.get("more_body"):
            return await read(first)
        return await asyncio.wait_for(read(first), READ_SECONDS)

    @contextmanager
    def _holding(self) -> Iterator[Callable[[int], None]]:
        """Count the bytes of one request among those of all, until it is answered."""
        size = 0

        def hold(more: int) -> None:
            nonlocal size
            size += more
            self._held += more
            if self._held > MOST_BYTES_HELD:
                raise BusyError

        try:
            yield hold
        finally:
            self._held -= size

    async def _show_page(self, scope: Scope, receive: Receive) -> Answer:
        del scope, receive
        return Answer(200, self._page.html, "text/html; charset=utf-8", self._page.headers)

    async def _ping(self, scope: Scope, receive: Receive) -> Answer:
        del scope, receive
        return Answer(200, b"\n")

    async def _version(self, scope: Scope, receive: Receive) -> Answer:
        """MLflow's version: its clients ask for it."""
        del scope, receive
        return Answer(200, version("mlflow").encode())

    async def _health(self, scope: Scope, receive: Receive) -> Answer:
        del scope, receive
        content = {
            "status": "draining" if self.draining else "ok",
            "model": self._name,
            "origin": str(self._classifier),
            "classes": len(self._classifier.config.classes),
            **self.counters.totals(),
        }
        return Answer(200, orjson.dumps(content))
