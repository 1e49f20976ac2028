"""One function per source; each returns the same table and a record of its origin."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from arxiv_hybrid.data.schema import check_enough, check_papers
from arxiv_hybrid.params import Params
from arxiv_hybrid.sources import csv_source, snapshot_source, synthetic
from arxiv_hybrid.sources.snapshot_scan import Window
from arxiv_hybrid.system.files import user_file
from arxiv_hybrid.taxonomy.label_sets import CATEGORIES


@dataclass(frozen=True)
class Workspace:
    """The repository root, and a function that creates and returns the cache folder.

    It is a function so that only a source that needs the cache fails if it cannot be created.
    """

    root: Path
    cache: Callable[[], Path]


@dataclass(frozen=True)
class FetchResult:
    """Papers with the columns of `schema.COLUMNS`, and where they come from.

    origin: `source`; `ceiling`, the best accuracy that any classifier can reach on primary
    labels, by number of classes (None if the source does not know it); and counts of the
    source. remark: one line to print. cleanup: call it once the papers are written.
    """

    papers: pd.DataFrame
    origin: dict[str, Any]
    remark: str = ""
    cleanup: Callable[[], None] = lambda: None


def fetch_csv(params: Params, workspace: Workspace) -> FetchResult:
    """Read the CSV file `fetch.path`; a relative path starts at the repository root."""
    path = user_file(workspace.root, params.fetch.path or "")
    papers = check_papers(csv_source.read_csv(path), str(path))
    return FetchResult(papers, {"source": "csv", "ceiling": None})


def fetch_synthetic(params: Params, _: Workspace) -> FetchResult:
    """Generate `fetch.papers` arXiv-like papers from `fetch.seed`."""
    fetch = params.fetch
    papers, ceiling = synthetic.generate(
        papers=fetch.papers, label_noise=fetch.label_noise, seed=fetch.seed
    )
    origin = {"source": "synthetic", "ceiling": ceiling, "label_noise": fetch.label_noise}
    return FetchResult(check_papers(papers, "synthetic corpus"), origin)


def fetch_snapshot(params: Params, workspace: Workspace) -> FetchResult:
    """Select papers from the metadata dump `fetch.path`; UserError if a category has too few."""
    path = user_file(workspace.root, params.fetch.path or "")
    fetch, per_category = params.fetch, params.per_category or 3000
    selection = snapshot_source.read_snapshot(
        path,
        per_category=per_category,
        sample=fetch.sample,
        seed=fetch.seed,
        window=Window.parse(fetch.since, fetch.until),
    )
    papers = selection.table()
    counts = {name: int((papers["category"] == name).sum()) for name in CATEGORIES}
    check_enough(counts, per_category, str(path), fetch.allow_fewer)
    origin = {
        "source": "snapshot",
        "ceiling": None,
        "lines": selection.lines,
        "unreadable": selection.unreadable,
    }
    left_out = f"{selection.unreadable:,} papers without text left out"
    remark = left_out if selection.unreadable else ""
    return FetchResult(check_papers(papers, str(path)), origin, remark)


def fetch_arxiv(params: Params, workspace: Workspace) -> FetchResult:
    """Fetch the newest papers from arXiv's API, or from the URL in ARXIV_API_URL."""
    # imported here, because only this source needs the arxiv and requests libraries
    from arxiv_hybrid.sources import arxiv_api, arxiv_pagination, arxiv_source

    fetch = params.fetch
    since, until = (date.fromisoformat(day) if day else None for day in (fetch.since, fetch.until))
    fetched = arxiv_source.fetch(
        arxiv_pagination.FetchSpec(params.per_category or 3000, since, until),
        workspace.cache(),
        url=os.environ.get("ARXIV_API_URL") or arxiv_api.API_URL,
        allow_fewer=fetch.allow_fewer,
    )
    origin = {
        "source": "arxiv",
        "ceiling": None,
        "until": fetched.until,
        "unreadable": fetched.unreadable,
        "missing": fetched.missing,
    }
    remarks = [f"newest papers up to {fetched.until}, {fetched.requests} requests"]
    if fetched.unreadable:
        remarks.append(f"{fetched.unreadable:,} papers without text left out")
    if fetched.missing:
        remarks.append(f"{fetched.missing:,} papers counted but not sent")
    papers = check_papers(fetched.table(), "arXiv")
    return FetchResult(papers, origin, "; ".join(remarks), fetched.delete_checkpoint)


SOURCES: dict[str, Callable[[Params, Workspace], FetchResult]] = {
    "arxiv": fetch_arxiv,
    "csv": fetch_csv,
    "snapshot": fetch_snapshot,
    "synthetic": fetch_synthetic,
}
