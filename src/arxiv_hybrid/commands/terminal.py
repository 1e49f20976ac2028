"""Output for people and programs: bars, colours, JSON, notes."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

BAR_WIDTH = 40  # characters for a probability of 1


def bar(name: str, share: float, *, strong: bool = False) -> str:
    """A line with a name, a share in per cent, and a bar of that length."""
    drawn = coloured("#" * round(BAR_WIDTH * share), "1;32" if strong else "36")
    return f"{name} {share:6.1%} {drawn}".rstrip()


def coloured(text: str, code: str) -> str:
    """Text in an ANSI colour if standard output is a terminal and NO_COLOR is not set."""
    if not text or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def print_json(**content: Any) -> None:
    """Print one line of JSON, in ASCII: the terminal may not use UTF-8."""
    print(json.dumps(content))


def note(line: str) -> None:
    """Print a line to standard error, where it does not mix with results."""
    print(line, file=sys.stderr, flush=True)
