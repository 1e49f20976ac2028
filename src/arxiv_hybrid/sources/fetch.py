"""One function per source; each returns the same table and a record of its origin."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pandas as pd

from arxiv_hybrid.data.schema import LABEL, check_enough, check_papers, too_few
from arxiv_hybrid.params import Params
from arxiv_hybrid.sources import csv_source, snapshot_source, synthetic
from arxiv_hybrid.sources.snapshot_scan import Window
from arxiv_hybrid.sources.spool import Spool
from arxiv_hybrid.sources.tables import count_without_tokens
from arxiv_hybrid.system.files import read_parquet, user_file, write_parquet
from arxiv_hybrid.taxonomy.categories import split_categories, unaliased

_NO_TOKENS = "paper{s} without Latin letters or digits, which models cannot read"


@dataclass(frozen=True)
class Workspace:
    """The repository root, the folder of the table, and a function that returns the cache folder.

    The function creates it, so that only a source that needs the cache fails if it cannot be
    created. `folder` holds papers on their way into the table.
    """

    root: Path
    cache: Callable[[], Path]
    folder: Path


@dataclass(frozen=True)
class FetchResult:
    """Papers with the columns of `schema.COLUMNS`, and where they come from.

    origin: `source`; `ceiling`, the best accuracy that any classifier can reach on primary
    labels, by number of classes (None if the source does not know it); and counts of the
    source. remark: one line to print. cleanup: call it once the papers are written.
    """

    papers: pd.DataFrame | Spool
    origin: dict[str, Any]
    remark: str = ""
    cleanup: Callable[[], None] = lambda: None

    @property
    def distinct(self) -> int:
        """How many papers there are; each may have several rows."""
        return len(self.papers) if isinstance(self.papers, Spool) else self.papers["id"].nunique()

    def table(self) -> pd.DataFrame:
        """The table in memory; it can be called once."""
        with TemporaryDirectory() as folder:
            self.write(path := Path(folder) / "papers.parquet")
            self.cleanup()
            return read_parquet(path)

    def write(self, path: Path) -> None:
        """Write the table to a Parquet file."""
        if isinstance(self.papers, Spool):
            self.papers.write_newest_first(path)
        else:
            write_parquet(path, self.papers)


def fetch_csv(params: Params, workspace: Workspace) -> FetchResult:
    """Read the CSV file `fetch.path`; a relative path starts at the repository root.

    Rows of the same paper are one row, unless each category query has its own.
    """
    fetch, path = params.fetch, user_file(workspace.root, params.fetch.path or "")
    own_labels = params.labels.from_ == "column"
    per_query, wanted = params.row_per_query, params.wanted_categories
    file = csv_source.load_csv(
        path,
        columns=fetch.columns,
        label=params.labels.column or fetch.columns.label if own_labels else None,
        wanted=wanted if per_query else None,
    )
    key = ["id", "category"] if per_query else ["id"]
    rows = file.distinct(per_query=per_query)
    papers = check_papers(rows, str(path), without=file.without).drop_duplicates(key)
    counts = {
        "repeated_rows": len(file.papers) - len(papers),
        "relabelled_rows": _relabelled(file.papers) if own_labels else 0,
        "papers_outside": _count_outside(papers, wanted),
        "ids_without_zeros": file.lost_zeros.rows if file.lost_zeros else 0,
        "papers_without_tokens": _count_without_tokens(papers),
    }
    remarks = [
        f"no column for the {name}: it is empty in every paper" for name in file.without
    ] + _counted(
        counts,
        repeated_rows="row{s} of an earlier paper left out",
        relabelled_rows="of these with another label",
        papers_outside="paper{s} of no wanted category",
        papers_without_tokens=_NO_TOKENS,
    )
    if file.lost_zeros:
        remarks.append(str(file.lost_zeros))
    if not file.has_ids:
        remarks.insert(0, "no column of ids: they are made from the texts")
    origin = {"source": "csv", "ceiling": None, **counts}
    return FetchResult(papers.reset_index(drop=True), origin, "; ".join(remarks))


def fetch_synthetic(params: Params, _: Workspace) -> FetchResult:
    """Generate `fetch.papers` arXiv-like papers from `fetch.seed`."""
    fetch = params.fetch
    papers, ceiling = synthetic.generate(
        papers=fetch.papers,
        label_noise=fetch.label_noise,
        seed=fetch.seed,
        shape=synthetic.Shape.of(params),
    )
    origin = {"source": "synthetic", "ceiling": ceiling or None, "label_noise": fetch.label_noise}
    return FetchResult(check_papers(papers, "synthetic corpus"), origin)


def fetch_snapshot(params: Params, workspace: Workspace) -> FetchResult:
    """Select papers from the metadata dump `fetch.path`; UserError if a category has too few."""
    path = user_file(workspace.root, params.fetch.path or "")
    if params.per_category is None and not params.row_per_query:
        return _fetch_all(path, params, workspace.folder)
    fetch = params.fetch
    selection = snapshot_source.read_snapshot(
        path,
        categories=params.wanted_categories,
        per_category=params.per_category,
        sample=fetch.sample,
        seed=fetch.seed,
        window=Window.parse(fetch.since, fetch.until),
    )
    short = _check_numbers(selection.counts, params, str(path))
    papers = check_papers(selection.table(per_query=params.row_per_query), str(path))
    found = _found(selection, _count_without_tokens(papers), beyond=selection.beyond)
    return FetchResult(papers, found.origin, "; ".join([*short, *found.remarks]))


def _fetch_all(path: Path, params: Params, folder: Path) -> FetchResult:
    """Every paper of a dump that lists a wanted category, however many there are."""
    spool = Spool(folder, str(path))
    try:
        counts = snapshot_source.read_all(
            path,
            spool,
            categories=params.wanted_categories,
            window=Window.parse(params.fetch.since, params.fetch.until),
        )
        spool.flush()
    except BaseException:
        spool.close()
        raise
    found = _found(counts, spool.without_tokens)
    return FetchResult(spool, found.origin, "; ".join(found.remarks), spool.close)


class _Found(NamedTuple):
    """What to record and to print of a dump."""

    origin: dict[str, Any]
    remarks: list[str]


def _found(read: snapshot_source.Counts, without_tokens: int, *, beyond: int = 0) -> _Found:
    counts = {
        "lines": read.lines,
        "other_categories": read.other,
        "outside_window": read.outside,
        "beyond_per_category": beyond,
        "unreadable": read.unreadable,
        "uncategorized": read.uncategorized,
        "repeated": read.repeated,
        "ids_without_zeros": read.lost_zeros,
        "unknown_categories": read.unknown,
        "papers_without_tokens": without_tokens,
    }
    remarks = _counted(
        counts,
        lines="line{s} read",
        other_categories="paper{s} of no wanted category left out",
        outside_window="paper{s} outside fetch.since and fetch.until left out",
        beyond_per_category="paper{s} beyond fetch.per_category left out",
        unreadable="paper{s} without text left out",
        uncategorized="paper{s} without a category left out",
        repeated="repeated line{s} left out",
        ids_without_zeros=f"id{{s}} without the last zero, the first {read.first_lost}: a "
        "program read ids as numbers, and the paper may be there twice",
        unknown_categories=f"unknown categor{{y}} ignored, the first {read.first_unknown}",
        papers_without_tokens=_NO_TOKENS,
    )
    first = {"first_unknown_category": read.first_unknown} if read.unknown else {}
    return _Found({"source": "snapshot", "ceiling": None, **counts, **first}, remarks)


def fetch_arxiv(params: Params, workspace: Workspace) -> FetchResult:
    """Fetch the newest papers from arXiv's API, or from the URL in ARXIV_API_URL."""
    # imported here, because only this source needs the lxml and requests libraries
    from arxiv_hybrid.sources import arxiv_api, arxiv_pagination, arxiv_source

    fetch = params.fetch
    since, until = (date.fromisoformat(day) if day else None for day in (fetch.since, fetch.until))
    fetched = arxiv_source.fetch(
        arxiv_pagination.FetchSpec(
            params.wanted_categories, params.per_category, since=since, until=until
        ),
        workspace.cache(),
        url=os.environ.get("ARXIV_API_URL") or arxiv_api.API_URL,
        allow_fewer=fetch.allow_fewer,
        contact=fetch.contact,
    )
    short = _check_numbers(fetched.counts, params, "arXiv")
    papers = check_papers(fetched.table(per_query=params.row_per_query), "arXiv")
    counts = {
        "unreadable": fetched.unreadable,
        "missing": fetched.missing,
        "unasked": len(fetched.unasked),
        "uncategorized": fetched.uncategorized,
        "unknown_categories": fetched.unknown,
        "papers_without_tokens": _count_without_tokens(papers),
    }
    origin = {"source": "arxiv", "ceiling": None, "until": fetched.until, **counts}
    remarks = _counted(
        counts,
        unreadable="paper{s} without text left out",
        missing="paper{s} counted but not sent",
        unasked="paper{s} of no wanted category left out",
        uncategorized="paper{s} without a category left out",
        unknown_categories=f"unknown categor{{y}} ignored, the first {fetched.first_unknown}",
        papers_without_tokens=_NO_TOKENS,
    )
    remarks = [
        f"newest papers up to {fetched.until}, {fetched.requests} requests",
        *short,
        *remarks,
    ]
    return FetchResult(papers, origin, "; ".join(remarks), fetched.delete_checkpoint)


def _check_numbers(counts: Callable[[], dict[str, int]], params: Params, where: str) -> list[str]:
    """What to say about categories with too few papers; UserError if the user named them."""
    if params.per_category is None:
        return []
    named = params.wanted_categories is not None
    check_enough(counts(), params.per_category, where, not named or params.fetch.allow_fewer)
    short = too_few(counts(), params.per_category)
    return [f"only {short}"] if short else []


def _counted(counts: dict[str, int], **texts: str) -> list[str]:
    """Each count that is not 0, with its text; `{s}` and `{y}` are endings of the plural."""
    return [
        f"{count:,} {text.format(s='s' if count > 1 else '', y='ies' if count > 1 else 'y')}"
        for name, text in texts.items()
        if (count := counts[name])
    ]


def _relabelled(rows: pd.DataFrame) -> int:
    """Rows of a paper that an earlier row labels otherwise."""
    return int((rows[LABEL] != rows.groupby("id")[LABEL].transform("first")).sum())


def _count_outside(papers: pd.DataFrame, wanted: Iterable[str] | None) -> int:
    """Papers that list none of the wanted categories."""
    if wanted is None:
        return 0
    names = set(wanted)
    listings = papers.drop_duplicates("id")["all_categories"].value_counts()
    return int(
        sum(
            count
            for listing, count in listings.items()
            if names.isdisjoint(map(unaliased, split_categories(str(listing))))
        )
    )


def _count_without_tokens(papers: pd.DataFrame) -> int:
    return count_without_tokens(papers.drop_duplicates("id"))


SOURCES: dict[str, Callable[[Params, Workspace], FetchResult]] = {
    "arxiv": fetch_arxiv,
    "csv": fetch_csv,
    "snapshot": fetch_snapshot,
    "synthetic": fetch_synthetic,
}
