"""Retries with exponential backoff."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

_MAX_JITTER = 0.5  # random extra share of a wait, so that clients do not retry at the same moment

Result = TypeVar("Result")
Log = Callable[[str], None]


@dataclass(frozen=True)
class RetryPolicy:
    """Rate limit, timeouts and backoff for one server. All times in seconds."""

    min_interval: float = 0.0  # from the end of one request to the start of the next
    attempts: int = 7  # per request; the wait doubles after each
    attempts_unreachable: int = 3  # if no connection can be made at all
    first_wait: float = 3.0
    max_wait: float = 300.0  # give up if the server asks for more
    timeout: float = 60.0  # without a byte received
    body_timeout: float = 300.0  # for a whole response body


class RequestError(Exception):
    """A request failed for good; the message says why."""


class TransientError(RequestError):
    """The same request may succeed later. `retry_after`: seconds the server asks to wait."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class UnreachableError(TransientError):
    """No connection could be made. Retried less often: there may be no network at all."""


def retry(attempt: Callable[[], Result], policy: RetryPolicy, log: Log) -> Result:
    """Call `attempt` until it succeeds; raise its last TransientError after `policy.attempts`.

    The waits double and have jitter; a wait that the server asks for is respected. `log`
    receives a line before every wait. Raises RequestError if the server asks for a longer
    wait than `policy.max_wait`.
    """
    for number in range(policy.attempts):
        try:
            return attempt()
        except TransientError as error:
            unreachable = isinstance(error, UnreachableError)
            if number + 1 >= (policy.attempts_unreachable if unreachable else policy.attempts):
                raise
            wait = _wait(number, error, policy)
            log(f"{error}; retrying in {wait:.0f} s")
            time.sleep(wait)
    raise ValueError("RetryPolicy.attempts must be positive")


def _wait(number: int, error: TransientError, policy: RetryPolicy) -> float:
    backoff = policy.first_wait * 2.0**number
    backoff *= 1 + random.uniform(0, _MAX_JITTER)  # noqa: S311 (not cryptographic)
    wait = max(error.retry_after or 0.0, min(backoff, policy.max_wait))
    if wait > policy.max_wait:
        raise RequestError(f"{error} and asks to wait {wait:,.0f} s") from error
    return wait
