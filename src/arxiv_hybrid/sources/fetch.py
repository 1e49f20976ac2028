"""One function a source: each returns the same table and what is known about its origin."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from arxiv_hybrid.data.labels import CATEGORIES
from arxiv_hybrid.data.schema import check_enough, check_papers
from arxiv_hybrid.params import Fetch
from arxiv_hybrid.sources import csv_source, snapshot_source, synthetic
from arxiv_hybrid.system.files import user_file


@dataclass(frozen=True)
class Places:
    """Where a source may look: the repository's root, and a folder for what is under way.

    `cache` makes that folder: only who needs it should fail where it cannot be made.
    """

    root: Path
    cache: Callable[[], Path]


@dataclass(frozen=True)
class Fetched:
    """Papers with the columns of `schema.COLUMNS`, and facts about where they come from.

    `origin` has `source`, and `ceiling`: the best accuracy any classifier can reach on
    primary labels, by number of classes, where the source knows it; else None. `remark` is
    for people. `done` is to be called when the papers are written.
    """

    papers: pd.DataFrame
    origin: dict[str, Any]
    remark: str = ""
    done: Callable[[], None] = lambda: None


def fetch_csv(fetch: Fetch, places: Places) -> Fetched:
    """Read the CSV file `fetch.path`; a relative path starts at the repository's root."""
    path = user_file(places.root, fetch.path or "")
    papers = check_papers(csv_source.read_csv(path), str(path))
    return Fetched(papers, {"source": "csv", "ceiling": None})


def fetch_synthetic(fetch: Fetch, _: Places) -> Fetched:
    """Write `fetch.papers` arXiv-like papers from `fetch.seed`."""
    papers, ceiling = synthetic.generate(
        papers=fetch.papers, label_noise=fetch.label_noise, seed=fetch.seed
    )
    origin = {"source": "synthetic", "ceiling": ceiling, "label_noise": fetch.label_noise}
    return Fetched(check_papers(papers, "synthetic corpus"), origin)


def fetch_snapshot(fetch: Fetch, places: Places) -> Fetched:
    """Select papers from the metadata dump `fetch.path`; UserError if a category has too few."""
    path = user_file(places.root, fetch.path or "")
    selection = snapshot_source.read_snapshot(
        path,
        per_category=fetch.per_category,
        sample=fetch.sample,
        seed=fetch.seed,
        window=snapshot_source.Window.of(fetch.since, fetch.until),
    )
    papers = selection.table()
    counts = {name: int((papers["category"] == name).sum()) for name in CATEGORIES}
    check_enough(counts, fetch.per_category, str(path), fetch.allow_fewer)
    origin = {
        "source": "snapshot",
        "ceiling": None,
        "lines": selection.lines,
        "unreadable": selection.unreadable,
    }
    left_out = f"{selection.unreadable:,} papers without text left out"
    remark = left_out if selection.unreadable else ""
    return Fetched(check_papers(papers, str(path)), origin, remark)


def fetch_arxiv(fetch: Fetch, places: Places) -> Fetched:
    """Ask arXiv's API, or one like it at the address in ARXIV_API_URL, for the newest papers."""
    # here: only this source needs the libraries for it
    from arxiv_hybrid.sources import arxiv_api, arxiv_source

    since, until = (date.fromisoformat(day) if day else None for day in (fetch.since, fetch.until))
    harvest = arxiv_source.fetch(
        arxiv_source.Wanted(fetch.per_category, since, until),
        places.cache(),
        url=os.environ.get("ARXIV_API_URL") or arxiv_api.ADDRESS,
        allow_fewer=fetch.allow_fewer,
    )
    origin = {
        "source": "arxiv",
        "ceiling": None,
        "until": harvest.until,
        "unreadable": harvest.unreadable,
        "missing": harvest.missing,
    }
    remarks = [f"newest papers up to {harvest.until}, {harvest.requests} requests"]
    if harvest.unreadable:
        remarks.append(f"{harvest.unreadable:,} papers without text left out")
    if harvest.missing:
        remarks.append(f"{harvest.missing:,} papers counted but not sent")
    papers = check_papers(harvest.table(), "arXiv")
    return Fetched(papers, origin, "; ".join(remarks), harvest.forget_pages)


SOURCES: dict[str, Callable[[Fetch, Places], Fetched]] = {
    "arxiv": fetch_arxiv,
    "csv": fetch_csv,
    "snapshot": fetch_snapshot,
    "synthetic": fetch_synthetic,
}
