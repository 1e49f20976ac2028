"""Papers that arrive day by day: one file in the form of arXiv's metadata dump, each paper once.

The file is replaced atomically when a run has new papers, never appended to: most runs also bring
new versions, whose lines replace the old ones, because readers of a dump take a paper's first line.
So there is no half-written end, and the file itself says what it holds: a line has the day on which
its paper arrived, from which a run that was killed is completed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from arxiv_hybrid.sources.arxiv_pagination import Entry
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import atomic, read_json, write_json
from arxiv_hybrid.system.identity import remove_leftovers_of
from arxiv_hybrid.system.locks import only_process

ARRIVED = "arrived"  # the key that a dump does not have


class Stored(NamedTuple):
    """A paper of the store. categories: the primary one first. published: of the first version."""

    id: str
    title: str
    abstract: str
    categories: tuple[str, ...]
    published: date
    arrived: date


class Added(NamedTuple):
    """What a run changed: papers that are new, and that have new texts, categories or versions.

    papers: how many there are in the store now.
    """

    new: int
    changed: int
    papers: int


@dataclass(frozen=True)
class State:
    """What was done by the last complete run.

    fetched: its day, until which papers were asked for; wanted: those of which categories, in
    words. classified: every paper that arrived before this day has a prediction.
    """

    fetched: date | None = None
    classified: date | None = None
    wanted: str = ""


class DailyStore:
    """The files of a store in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.papers = folder / "papers.jsonl"
        self.predictions = folder / "predictions"
        self.history = folder / "history.csv"
        self._state = folder / "state.json"

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes out; UserError if one is at work."""
        busy = f"{self.folder}: another update is running; this one changes nothing"
        return only_process(self.folder / "update.lock", busy)

    @property
    def state(self) -> State:
        """What was done so far; UserError if the file is damaged."""
        if not self._state.exists():
            return State()
        try:
            content = read_json(self._state)
            days = (date.fromisoformat(content[name]) for name in ("fetched", "classified"))
            return State(next(days), next(days), str(content["wanted"]))
        except (UserError, LookupError, ValueError, TypeError):
            raise UserError(
                f"{self._state}: damaged; delete it, and the next run fetches the last days again"
            ) from None

    def remember(self, state: State) -> None:
        """Write what was done."""
        write_json(self._state, {name: str(value) for name, value in vars(state).items()})

    def add(self, entries: Iterable[Entry], day: date) -> Added:
        """Add papers that arrived on this day, and replace the lines of those that have changed."""
        incoming = {entry.id: entry for entry in entries}
        for path in (self.papers, self._state, self.history):
            remove_leftovers_of(path)
        known: set[str] = set()
        changed: dict[int, bytes] = {}
        papers = 0
        for number, line in self._lines():
            papers += 1
            record = self._parsed(line, number)
            entry = incoming.get(record["id"])
            if entry is None:
                continue
            known.add(entry.id)
            new = _line(entry, record[ARRIVED])
            if new != line:
                changed[number] = new
        fresh = [entry for name, entry in incoming.items() if name not in known]
        if fresh or changed:
            fresh.sort(key=lambda entry: (entry.published, entry.id))
            with atomic(self.papers) as temporary, temporary.open("wb") as file:
                for number, line in self._lines():
                    file.write(changed.get(number, line))
                file.writelines(_line(entry, day.isoformat()) for entry in fresh)
        return Added(len(fresh), len(changed), papers + len(fresh))

    def arrived(self, since: date | None) -> Iterator[Stored]:
        """The papers that arrived on this day or later, or all of them."""
        first = since.isoformat() if since else ""
        for number, line in self._lines():
            record = self._parsed(line, number)
            if record[ARRIVED] < first:
                continue
            try:
                published = parsedate_to_datetime(record["versions"][0]["created"]).date()
                day = date.fromisoformat(record[ARRIVED])
            except (LookupError, TypeError, ValueError):
                raise self._damaged(number) from None
            listed = tuple(record["categories"].split())
            yield Stored(record["id"], record["title"], record["abstract"], listed, published, day)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        if self.papers.exists():
            with self.papers.open("rb") as file:
                yield from enumerate(file, 1)

    def _parsed(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            record: dict[str, Any] = orjson.loads(line)
            if all(isinstance(record[name], str) for name in _KEYS):
                return record
        except (ValueError, LookupError, TypeError):
            pass
        raise self._damaged(number)

    def _damaged(self, number: int) -> UserError:
        return UserError(
            f"{self.papers}: line {number}: not a paper of this store; restore the file"
        )


_KEYS = ("id", "title", "abstract", "categories", ARRIVED)


def _line(entry: Entry, arrived: str) -> bytes:
    """A line of the dump, with the names that it uses."""
    record = {
        "id": entry.id,
        "title": entry.title,
        "categories": " ".join(entry.listed),
        "abstract": entry.abstract,
        "versions": [{"version": "v1", "created": format_datetime(entry.published, usegmt=True)}],
        "update_date": entry.updated.date().isoformat(),
        ARRIVED: arrived,
    }
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
