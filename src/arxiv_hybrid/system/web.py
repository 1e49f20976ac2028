"""Requests with manners: a name, time-outs, pauses, and patience with servers that stumble."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import requests
from filelock import FileLock, Timeout
from requests.adapters import HTTPAdapter
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from arxiv_hybrid import __version__

USER_AGENT = f"arxiv-hybrid/{__version__} (paper classifier; one connection)"
CHUNK = 1 << 18  # bytes
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_MOST_NOISE = 0.5  # of a wait, added at random so that many clients do not come back at once

Result = TypeVar("Result")
Tell = Callable[[str], None]


@dataclass(frozen=True)
class RetryPolicy:
    """How to treat a server. All times in seconds."""

    pause: float = 0.0  # between the end of a request and the next one
    tries: int = 7  # of one request, each wait twice the one before
    tries_unreachable: int = 3  # where there is no connection at all
    first_wait: float = 3.0
    longest_wait: float = 300.0  # a server that asks for more than this is not waited for
    silence: float = 60.0  # without a byte
    whole_answer: float = 300.0  # for the body of a page


class WebError(Exception):
    """Why a request came to nothing, for people."""


class PassingError(WebError):
    """The same request may succeed later; `wait` is how many seconds the server asks for."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class UnreachableError(PassingError):
    """No connection came about: worth fewer tries, for there may be no network at all."""


def session() -> requests.Session:
    """One connection with our name on it."""
    made = requests.Session()
    made.headers["User-Agent"] = USER_AGENT
    made.max_redirects = 3
    for scheme in ("http://", "https://"):
        made.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=1))
    return made


@contextmanager
def answer(
    connection: requests.Session,
    url: str,
    policy: RetryPolicy,
    headers: dict[str, str] | None = None,
    allowed: tuple[int, ...] = (200,),
) -> Iterator[requests.Response]:
    """The answer to a GET, its body not yet read.

    Raises PassingError on 429, 5xx, time-outs and cut connections, also while the body is
    read inside the block; WebError on what a repetition does not change.
    """
    try:
        response = connection.get(url, headers=headers, timeout=policy.silence, stream=True)
    except requests.RequestException as error:
        raise _plainly(error) from error
    except (OSError, ValueError) as error:  # certificates that are not there, a wild redirect
        raise WebError(f"cannot be asked: {error}") from error
    with response:
        status = response.status_code
        if status in _PASSING:
            raise PassingError(_status(response), _retry_after(response))
        if status not in allowed:
            raise WebError(_status(response))
        try:
            yield response
        except (requests.RequestException, HTTPError) as error:
            raise _plainly(error) from error


def chunks(response: requests.Response, *, decode: bool) -> Iterator[bytes]:
    """The body as it arrives, without waiting for a chunk to be full.

    decode: unpack a Content-Encoding. A body shorter than its Content-Length raises.
    """
    while chunk := response.raw.read1(CHUNK, decode_content=decode):
        yield chunk


def body(response: requests.Response, policy: RetryPolicy) -> bytes:
    """The whole body; PassingError if it takes longer than `policy.whole_answer`."""
    end = time.monotonic() + policy.whole_answer
    parts = []
    for chunk in chunks(response, decode=True):
        parts.append(chunk)
        if time.monotonic() > end:
            raise PassingError(f"the answer took longer than {policy.whole_answer:g} s")
    return b"".join(parts)


def retry(attempt: Callable[[], Result], policy: RetryPolicy, tell: Tell) -> Result:
    """Run `attempt` until it no longer raises PassingError; the last one is passed on.

    Waits grow twofold and have noise on them; a wait that the server asked for is kept.
    tell: gets a line before every wait.
    """
    for number in range(policy.tries):
        try:
            return attempt()
        except PassingError as error:
            unreachable = isinstance(error, UnreachableError)
            if number + 1 >= (policy.tries_unreachable if unreachable else policy.tries):
                raise
            wait = _wait(number, error, policy)
            tell(f"{error}; waiting {wait:.0f} s")
            time.sleep(wait)
    raise ValueError("tries must be positive")


def _wait(number: int, error: PassingError, policy: RetryPolicy) -> float:
    grown = policy.first_wait * 2.0**number
    noisy = grown * (1 + random.uniform(0, _MOST_NOISE))  # noqa: S311 (no secret)
    wait = max(error.wait or 0.0, min(noisy, policy.longest_wait))
    if wait > policy.longest_wait:
        raise WebError(f"{error} and asks to wait {wait:,.0f} s") from error
    return wait


@contextmanager
def file_lock(lock: Path, tell: Tell, waiting: str) -> Iterator[None]:
    """Hold the file `lock`, so that no other process does the same; tell `waiting` if one does."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock)
    try:
        held.acquire(timeout=1)
    except Timeout:
        tell(waiting)
        held.acquire()
    try:
        yield
    finally:
        held.release()


class RateLimiter:
    """Keeps requests apart by `seconds`, those of an earlier process included.

    The time of the last request is that of the file `stamp`.
    """

    def __init__(self, stamp: Path, seconds: float) -> None:
        self.stamp = stamp
        self.seconds = seconds

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Wait until a request may start; the next one counts from the end of the block.

        The start is noted as well: a process may be killed in the middle.
        """
        with suppress(FileNotFoundError):
            since = time.time() - self.stamp.stat().st_mtime
            # a clock that was set back makes it negative: then the whole pause is kept
            time.sleep(max(0.0, min(self.seconds, self.seconds - since)))
        self._note()
        try:
            yield
        finally:
            self._note()

    def _note(self) -> None:
        self.stamp.parent.mkdir(parents=True, exist_ok=True)
        self.stamp.touch()
        now = time.time()  # the file system's own clock ticks too coarsely
        os.utime(self.stamp, (now, now))


def host(url: str) -> str:
    """The host of an address for people, without a user's name or password."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or "an address without a host"
    except ValueError:
        return "an address that is none"


def _status(response: requests.Response) -> str:
    reason = response.reason or ""
    return f"{host(response.url)} answered HTTP {response.status_code} {reason}".rstrip()


def _retry_after(response: requests.Response) -> float | None:
    """Seconds to wait by the header Retry-After, a number or a date (RFC 9110, 10.2.3)."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=timezone.utc)
    return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())


_NO_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
)
_NO_NETWORK = "(is there a network?)"
_CAUSES: tuple[tuple[tuple[type[Exception], ...], WebError], ...] = (
    (_NO_ADDRESS, WebError("the address, a redirect or a proxy is none of http or https")),
    ((requests.TooManyRedirects,), WebError("redirects in a circle")),
    ((requests.exceptions.SSLError, SSLError), UnreachableError("no secure connection")),
    ((requests.exceptions.ProxyError, ProxyError), UnreachableError("the proxy does not answer")),
    ((NameResolutionError,), UnreachableError(f"the host's name is unknown {_NO_NETWORK}")),
    (
        (NewConnectionError, ConnectTimeoutError),
        UnreachableError("no connection (is there a network?)"),
    ),
    ((requests.Timeout, TimeoutError, ReadTimeoutError), PassingError("no answer in time")),
)


def _plainly(error: Exception) -> WebError:
    """In a few words what went wrong below HTTP; the libraries' own texts are long."""
    chain = _chain(error)
    for kinds, told in _CAUSES:
        if any(isinstance(one, kinds) for one in chain):
            return type(told)(*told.args)
    return PassingError("the connection was cut")


def _chain(error: Exception) -> list[object]:
    """An error and what it was made of: requests wraps those of urllib3."""
    found: list[object] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            waiting += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
    return found
