"""Where a saved model comes from: the papers that it learned from, and when."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from arxiv_hybrid.system.errors import UserError

SYNTHETIC = "synthetic"  # the source whose papers are generated
TASKS = ("trained", "pre-trained")
_MONTH = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])", re.ASCII)
_LONGEST = 500  # characters of a text in a line for people
_NAMED = 3  # sources that the line names
_MOST = 10**9  # papers


@dataclass(frozen=True)
class Origin:
    """What a model learned from.

    sources: papers of each source, by its name: a file, `arxiv` or `synthetic`. papers: all of
    them, each counted once. first_month and last_month: of these papers, as YYYY-MM; empty if
    unknown. trained: the day, as YYYY-MM-DD in UTC; empty if it was not recorded. parent: the
    encoder that it started from, in words; empty for none. task: one of `TASKS`.
    """

    sources: dict[str, int] = field(default_factory=dict)
    papers: int = 0
    first_month: str = ""
    last_month: str = ""
    trained: str = ""
    parent: str = ""
    task: str = "trained"

    @property
    def synthetic(self) -> bool:
        """Whether the papers are generated."""
        return SYNTHETIC in self.sources

    def line(self) -> str:
        """One line for people, without a full stop."""
        start = f"started from {self.parent}" if self.parent else ""
        day = f"on {self.trained}" if self.trained else ""
        return "; ".join(part for part in (self.learned(), day, start) if part)

    def learned(self) -> str:
        """The part of `line` about papers: `trained on 9,316 papers of a.csv, 2024-01`."""
        if self.synthetic:
            return (
                f"{self.task} on {self.papers:,} generated papers, so its answers mean nothing for "
                "real ones"
            )
        names = list(self.sources)
        more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
        of = f" of {', '.join(names[:_NAMED] + more)}" if names else ""
        months = sorted({self.first_month, self.last_month} - {""})
        period = f", {' to '.join(months)}" if months else ""
        return f"{self.task} on {self.papers:,} papers{of}{period}"

    def to_json(self) -> dict[str, Any]:
        """The fields, for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Any) -> Origin:
        """What `to_json` gave; ValueError or TypeError if it is anything else."""
        if not isinstance(content, dict):
            raise ValueError("origin is not an object")
        origin = cls(**content)
        origin.check()
        return origin

    def check(self) -> None:
        """Raise ValueError unless every field has the form that `Origin` describes."""
        counts = self.sources.values() if isinstance(self.sources, dict) else [None]
        for count in (*counts, self.papers):
            if type(count) is not int or not 0 <= count <= _MOST:
                raise ValueError("origin: sources and papers must be numbers of papers")
        for text in (*self.sources, self.trained, self.parent, self.task):
            if not (isinstance(text, str) and len(text) <= _LONGEST and text.isprintable()):
                raise ValueError("origin: a name is not one short line of text")
        for month in (self.first_month, self.last_month):
            if not isinstance(month, str) or not (month == "" or _MONTH.fullmatch(month)):
                raise ValueError("origin: months must be YYYY-MM")
        if self.first_month > self.last_month:
            raise ValueError("origin: the first month is after the last one")
        if self.trained and date.fromisoformat(self.trained).isoformat() != self.trained:
            raise ValueError("origin: trained must be YYYY-MM-DD")
        if self.task not in TASKS:
            raise ValueError(f"origin: task must be one of {', '.join(TASKS)}")


def one_line(text: str) -> str:
    """A text, such as the name of a file, in a form that `Origin` takes."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 3]}..."


def today() -> str:
    """The day in UTC, as YYYY-MM-DD: that of SOURCE_DATE_EPOCH, if it is set.

    Raises UserError if SOURCE_DATE_EPOCH is not a number of seconds since 1970.
    """
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    if not seconds:
        return datetime.now(UTC).date().isoformat()
    try:
        return datetime.fromtimestamp(int(seconds), UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        raise UserError(
            f"SOURCE_DATE_EPOCH: {seconds[:40]!r} is not a number of seconds since 1970"
        ) from None
