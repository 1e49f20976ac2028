"""The papers in a file of any kind, a metadata dump or a CSV, one at a time.

Papers need no category, and no wanted one: whoever reads them decides what to keep.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from arxiv_hybrid.data.identifiers import UNKNOWN_MONTH, canonical, made_of, month_of, with_zeros
from arxiv_hybrid.data.schema import CATEGORY_COLUMNS, TEXTS, is_text, one_line
from arxiv_hybrid.sources import snapshot_source
from arxiv_hybrid.system.csv_rows import BadRowError, CsvRows, is_csv
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.taxonomy.categories import parse_listing, without_aliases

NO_TEXT, NO_CATEGORY = "no title or abstract", "no category"  # reasons to leave a paper out
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


class ListedPaper(NamedTuple):
    """One paper. categories: aliases replaced, the primary one first. month: YYYY-MM, or unknown.

    The id has the zeros that it lost as a number.
    """

    id: str
    title: str
    abstract: str
    categories: tuple[str, ...]
    month: str


@dataclass
class Read:
    """What was read of a file.

    papers: all in it. repaired: ids that had lost zeros. unknown: names among the categories that
    arXiv does not have. left_out: papers that were not yielded, or not kept, by reason.
    """

    papers: int = 0
    repaired: int = 0
    unknown: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def papers_in(path: Path, *, option: str, read: Read, texts: bool = True) -> Iterator[ListedPaper]:
    """Yield the papers in a dump (.json, .gz, .xz, .zip) or CSV, and count in `read`.

    option: the option that named the file, for messages. texts: a CSV needs the columns title and
    abstract; else the id is enough, and texts may be empty. Papers without text are counted, and
    in a dump those without a category. Raises UserError if the file is missing, damaged or
    of another kind.
    """
    papers = _of_csv(path, option, read, texts) if is_csv(path) else _of_dump(path, option, read)
    for paper in papers:
        whole = with_zeros(paper.id)
        read.repaired += whole != paper.id
        yield paper._replace(id=whole, month=_month(whole, paper.month))


def _month(identifier: str, published: str) -> str:
    month = month_of(identifier, "")
    if month == UNKNOWN_MONTH and (match := _MONTH.match(published)):
        return match[0]
    return month


def _of_dump(path: Path, option: str, read: Read) -> Iterator[ListedPaper]:
    for block in snapshot_source.blocks_of_all(path, option=option):
        read.papers += block.lines
        read.unknown += block.unknown
        for reason, count in ((NO_TEXT, block.unreadable), (NO_CATEGORY, block.uncategorized)):
            if count:
                read.left_out[reason] += count
        for paper in block.papers:
            yield ListedPaper(
                paper.id, paper.title, paper.abstract, without_aliases(paper.categories), ""
            )


def _of_csv(path: Path, option: str, read: Read, texts: bool) -> Iterator[ListedPaper]:
    rows = CsvRows(path, option)
    id_, title, abstract, published = map(rows.find, ("id", *TEXTS, "published"))
    listings = [rows.find(name) for name in reversed(CATEGORY_COLUMNS)]
    if (texts or id_ is None) and (title is None or abstract is None):
        raise rows.missing(f"no column {TEXTS[title is not None]} ({option})")
    for row in rows:
        if isinstance(row, BadRowError):
            raise UserError(f"{path}: {row}")
        read.papers += 1
        first, second = (one_line(_cell(row, place)) for place in (title, abstract))
        if texts and not (is_text(first) and is_text(second)):
            read.left_out[NO_TEXT] += 1
            continue
        listing = parse_listing(" ".join(_cell(row, place) for place in listings))
        read.unknown += len(listing.unknown)
        identifier = canonical(_cell(row, id_)) or made_of(first, second)
        categories = without_aliases(listing.categories)
        yield ListedPaper(identifier, first, second, categories, _cell(row, published).strip())


def _cell(row: list[str], place: int | None) -> str:
    return "" if place is None else row[place]
