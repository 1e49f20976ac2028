"""Requests with manners: a name, time-outs, pauses, and patience with servers that stumble."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from arxiv_hybrid import __version__

USER_AGENT = f"arxiv-hybrid/{__version__} (paper classifier; one connection)"
CHUNK = 1 << 18  # bytes
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_MOST_NOISE = 0.5  # of a wait, added at random so that many clients do not come back at once

Result = TypeVar("Result")
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Manners:
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
    for scheme in ("http://", "https://"):
        made.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=1))
    return made


@contextmanager
def answer(
    connection: requests.Session,
    url: str,
    manners: Manners,
    headers: dict[str, str] | None = None,
    allowed: tuple[int, ...] = (200,),
) -> Iterator[requests.Response]:
    """The answer to a GET, its body not yet read.

    Raises PassingError on 429, 5xx, time-outs and cut connections, also while the body is
    read inside the block; WebError on what a repetition does not change.
    """
    try:
        with connection.get(url, headers=headers, timeout=manners.silence, stream=True) as response:
            status = response.status_code
            if status in _PASSING:
                raise PassingError(_status(response), _retry_after(response))
            if status not in allowed:
                raise WebError(_status(response))
            yield response
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise WebError(f"{url} is no address") from error
    except (requests.RequestException, HTTPError) as error:
        raise _plainly(error) from error


def chunks(response: requests.Response, *, decode: bool) -> Iterator[bytes]:
    """The body as it arrives, without waiting for a chunk to be full.

    decode: unpack a Content-Encoding. A body shorter than its Content-Length raises.
    """
    while chunk := response.raw.read1(CHUNK, decode_content=decode):
        yield chunk


def body(response: requests.Response, manners: Manners) -> bytes:
    """The whole body; PassingError if it takes longer than `manners.whole_answer`."""
    end = time.monotonic() + manners.whole_answer
    parts = []
    for chunk in chunks(response, decode=True):
        parts.append(chunk)
        if time.monotonic() > end:
            raise PassingError(f"the answer took longer than {manners.whole_answer:g} s")
    return b"".join(parts)


def patiently(attempt: Callable[[], Result], manners: Manners, tell: Tell) -> Result:
    """Run `attempt` until it no longer raises PassingError; the last one is passed on.

    Waits grow twofold and have noise on them; a wait that the server asked for is kept.
    tell: gets a line before every wait.
    """
    for number in range(manners.tries):
        try:
            return attempt()
        except PassingError as error:
            unreachable = isinstance(error, UnreachableError)
            if number + 1 >= (manners.tries_unreachable if unreachable else manners.tries):
                raise
            wait = _wait(number, error, manners)
            tell(f"{error}; waiting {wait:.0f} s")
            time.sleep(wait)
    raise ValueError("tries must be positive")


def _wait(number: int, error: PassingError, manners: Manners) -> float:
    grown = manners.first_wait * 2.0**number
    noisy = grown * (1 + random.uniform(0, _MOST_NOISE))  # noqa: S311 (no secret)
    wait = max(error.wait or 0.0, min(noisy, manners.longest_wait))
    if wait > manners.longest_wait:
        raise WebError(f"{error} and asks to wait {wait:,.0f} s") from error
    return wait


class Pause:
    """Keeps requests apart by `seconds`, those of an earlier process included.

    The time of the last request is that of the file `stamp`.
    """

    def __init__(self, stamp: Path, seconds: float) -> None:
        self.stamp = stamp
        self.seconds = seconds

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Wait until a request may start; the next one counts from the end of the block."""
        try:
            since = time.time() - self.stamp.stat().st_mtime
        except FileNotFoundError:
            since = self.seconds
        if 0 <= since < self.seconds:  # a time in the future is a clock that was set back
            time.sleep(self.seconds - since)
        try:
            yield
        finally:
            self.stamp.parent.mkdir(parents=True, exist_ok=True)
            self.stamp.touch()
            now = time.time()  # the file system's own clock ticks too coarsely
            os.utime(self.stamp, (now, now))


def _status(response: requests.Response) -> str:
    host = urlsplit(response.url).netloc
    return f"{host} answered HTTP {response.status_code} {response.reason or ''}".rstrip()


def _retry_after(response: requests.Response) -> float | None:
    """Seconds to wait by the header Retry-After, a number or a date (RFC 9110, 10.2.3)."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=timezone.utc)
    return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())


def _plainly(error: Exception) -> PassingError:
    """In a few words what went wrong below HTTP; the libraries' own texts are long."""
    text = repr(error).lower()
    if isinstance(error, requests.exceptions.SSLError):
        return UnreachableError("no secure connection")
    if isinstance(error, requests.exceptions.ProxyError):
        return UnreachableError("the proxy does not answer")
    if "resolve" in text or "name or service" in text or "getaddrinfo" in text:
        return UnreachableError("the host's name is unknown here (is there a network?)")
    if isinstance(error, requests.ConnectTimeout) or "newconnection" in text:
        return UnreachableError("no connection (is there a network?)")
    if isinstance(error, requests.Timeout) or "timed out" in text or "timeout" in text:
        return PassingError("no answer in time")
    return PassingError("the connection was cut")
