"""Secrets in foreign texts: what passwords, tokens and signatures look like, and their removal."""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from types import TracebackType
from urllib.parse import quote, unquote

_HIDDEN = "***"
# names of fields and query parameters
_NAME = (
    r"(?:[\w.-]*(?:passw(?:or)?d|passphrase|pwd|token|secret|credentials?|(?:api|access|account)_?key)"
    r"|pass|sig|signature|x-(?:amz|goog)-[\w-]*)"
)
_PATTERNS = (
    re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/?#@\"'<>]*@", re.I),  # user:password@ in a URL
    # password and host of a URL whose password contains / ? # or @
    re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/?#:@\"'<>]+:[^\s\"'<>]*@(?=[\w.\[])", re.I),
    re.compile(rf"((?<![\w.-]){_NAME}[\"']?\s*=\s*[\"']?)[^\s&;,\"'<>)]+", re.I),
    re.compile(rf"([\"']{_NAME}[\"']\s*:\s*[\"'])[^\"']+", re.I),
    re.compile(r"(\b(?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?)(?:\w+ +)?[^\s,\"'}]+", re.I),
    re.compile(r"(\b(?:set-)?cookie[\"']?\s*:\s*[\"']?)[^\"'\n]+", re.I),
    re.compile(r"(\b(?:bearer|basic) +)[\w+/=.~-]{6,}", re.I),
)
_SECRET_VARIABLE = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|PWD_|TOKEN|SECRET|CREDENTIAL|ACCESS_?KEY|API_?KEY|ACCOUNT_?KEY"
    r"|CONNECTION_STRING|_KEY$"
)
_URL_PASSWORD = re.compile(r"://[^\s/?#:@]*:(?P<password>\S+)@")
_MIN_LENGTH = 4  # a shorter value of a variable is no secret, and would hide parts of words


def redact(text: str) -> str:
    """Replace what looks like a secret in a text by `***`.

    Secrets are user and password in a URL, values of query parameters and fields with the name of
    a secret, headers that authenticate, and the values of this process's environment variables
    with such a name, plain or quoted for a URL.
    """
    for value in _environment_secrets():
        text = text.replace(value, _HIDDEN)
    for pattern in _PATTERNS:
        text = pattern.sub(_replacement, text)
    return text


def _replacement(match: re.Match[str]) -> str:
    return f"{match[1]}{_HIDDEN}{'@' if match[0].endswith('@') else ''}"


def _environment_secrets() -> list[str]:
    """Longest first: one may be part of another."""
    secrets: set[str] = set()
    for name, value in os.environ.items():
        if _SECRET_VARIABLE.search(name.upper()):
            secrets.add(value)
        if match := _URL_PASSWORD.search(value):
            secrets |= {match["password"], unquote(match["password"])}
    secrets |= {quote(value, safe="") for value in secrets}
    return sorted((value for value in secrets if len(value) >= _MIN_LENGTH), key=len, reverse=True)


def redact_tracebacks() -> None:
    """From now on, the traceback of an uncaught exception is printed without secrets."""
    sys.excepthook = _print_traceback


def _print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    lines = traceback.format_exception(kind, error, trace)
    print(redact("".join(lines)), end="", file=sys.stderr, flush=True)


class RedactingFilter(logging.Filter):
    """Removes secrets from log records, tracebacks included."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the record's message by a clean one; no record is dropped."""
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        record.msg, record.args = redact(text), None
        record.exc_info = record.exc_text = None
        return True
