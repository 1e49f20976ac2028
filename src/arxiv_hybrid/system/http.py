"""HTTP client: GET requests with timeouts, streamed bodies and readable errors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

import requests
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
from arxiv_hybrid.system.retry import RequestError, RetryPolicy, TransientError, UnreachableError

CHUNK = 1 << 18  # bytes
_LARGEST_BODY = 64 << 20  # bytes; a page of 2,000 papers has about 5 MB
_TRANSIENT_STATUS = (406, 408, 425, 429, 500, 502, 503, 504)  # 406: arXiv, while it throttles


class _InsecureRedirectError(requests.RequestException):
    """A redirect from https to a connection that anyone on the way can alter."""


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        schemes = [urlsplit(url).scheme for url in (resp.url, urljoin(resp.url, target or ""))]
        if schemes[0] == "https" != schemes[1]:
            raise _InsecureRedirectError
        return target


def user_agent(contact: str | None = None) -> str:
    """The header User-Agent. contact: an e-mail address or URL of the user, in ASCII."""
    comment = "; ".join(filter(None, ["paper classifier", "one connection", contact]))
    return f"arxiv-hybrid/{__version__} ({comment})"


def new_session(contact: str | None = None) -> requests.Session:
    """A session with this project's user agent and one connection; https stays https."""
    session = _Session()
    session.headers["User-Agent"] = user_agent(contact)
    session.max_redirects = 3
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=1))
    return session


@contextmanager
def get(
    session: requests.Session,
    url: str,
    policy: RetryPolicy,
    headers: dict[str, str] | None = None,
    allowed: tuple[int, ...] = (200,),
) -> Iterator[requests.Response]:
    """Send a GET request and yield the response, its body not yet read.

    Raises TransientError on 429, 406, 5xx, timeouts and lost connections, also while the body is
    read inside the block; RequestError if a retry would not help.
    """
    try:
        response = session.get(url, headers=headers, timeout=policy.timeout, stream=True)
    except requests.RequestException as error:
        raise _explain(error) from error
    except (OSError, ValueError) as error:  # missing certificates, a malformed redirect
        raise RequestError(f"the request cannot be sent: {error}") from error
    with response:
        if response.status_code in _TRANSIENT_STATUS:
            raise TransientError(_status(response), _retry_after(response))
        if response.status_code not in allowed:
            raise RequestError(_status(response))
        try:
            yield response
        except (requests.RequestException, HTTPError) as error:
            raise _explain(error) from error


def iter_body(response: requests.Response, *, decode: bool) -> Iterator[bytes]:
    """Yield the body as it arrives, without waiting for full chunks.

    decode: undo the Content-Encoding. Raises if the body is shorter than its Content-Length.
    """
    while chunk := response.raw.read1(CHUNK, decode_content=decode):
        yield chunk


def read_body(response: requests.Response, policy: RetryPolicy) -> bytes:
    """Read the whole decoded body.

    Raises TransientError if it takes over `policy.body_timeout`, RequestError if it is too large.
    """
    size = 0
    deadline = time.monotonic() + policy.body_timeout
    chunks = []
    for chunk in iter_body(response, decode=True):
        chunks.append(chunk)
        size += len(chunk)
        if size > _LARGEST_BODY:
            raise RequestError(f"the response is larger than {_LARGEST_BODY >> 20} MiB")
        if time.monotonic() > deadline:
            raise TransientError(f"the response took longer than {policy.body_timeout:g} s")
    return b"".join(chunks)


def host_name(url: str) -> str:
    """Host and port of a URL for messages, without user name and password."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or "a URL without a host"
    except ValueError:
        return "a malformed URL"


def _status(response: requests.Response) -> str:
    reason = response.reason or ""
    return f"{host_name(response.url)} returned HTTP {response.status_code} {reason}".rstrip()


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
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


_INVALID_URL = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
)
_CAUSES: tuple[tuple[tuple[type[Exception], ...], type[RequestError], str], ...] = (
    (_INVALID_URL, RequestError, "the URL, a redirect or a proxy is not http or https"),
    ((_InsecureRedirectError,), RequestError, "redirects from https to http"),
    ((requests.TooManyRedirects,), RequestError, "too many redirects"),
    ((requests.exceptions.SSLError, SSLError), UnreachableError, "the TLS connection failed"),
    ((requests.exceptions.ProxyError, ProxyError), UnreachableError, "the proxy does not respond"),
    (
        (NameResolutionError,),
        UnreachableError,
        "the host name cannot be resolved (is there a network?)",
    ),
    (
        (NewConnectionError, ConnectTimeoutError),
        UnreachableError,
        "no connection (is there a network?)",
    ),
    ((requests.Timeout, TimeoutError, ReadTimeoutError), TransientError, "timed out"),
)


def _explain(error: Exception) -> RequestError:
    """Describe a failure below HTTP in a few words; the libraries' messages are long."""
    chain = _causes(error)
    for exceptions, kind, reason in _CAUSES:
        if any(isinstance(cause, exceptions) for cause in chain):
            return kind(reason)
    return TransientError("the connection was lost")


def _causes(error: Exception) -> list[BaseException]:
    """An error and everything it wraps: requests wraps the errors of urllib3 in several ways."""
    causes: list[BaseException] = []
    pending: list[object] = [error]
    while pending:
        current = pending.pop()
        if isinstance(current, BaseException) and current not in causes:
            causes.append(current)
            reason = getattr(current, "reason", None)
            pending += [*current.args, reason, current.__cause__, current.__context__]
    return causes
