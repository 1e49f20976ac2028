"""One function a source: each returns the same table and what is known about its origin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from arxiv_hybrid.config import Fetch
from arxiv_hybrid.data import csv_source, snapshot_source, synthetic
from arxiv_hybrid.data.labels import CATEGORIES
from arxiv_hybrid.data.schema import check_papers
from arxiv_hybrid.errors import UserError
from arxiv_hybrid.io import user_file


@dataclass(frozen=True)
class Fetched:
    """Papers with the columns of `schema.COLUMNS`, and facts about where they come from.

    `origin` has `source`, and `ceiling`: the best accuracy any classifier can reach on
    primary labels, by number of classes, where the source knows it; else None. `remark` is
    for people.
    """

    papers: pd.DataFrame
    origin: dict[str, Any]
    remark: str = ""


def fetch_csv(fetch: Fetch, root: Path) -> Fetched:
    """Read the CSV file `fetch.path`; a relative path starts at the repository's root."""
    path = user_file(root, fetch.path or "")
    papers = check_papers(csv_source.read_csv(path), str(path))
    return Fetched(papers, {"source": "csv", "ceiling": None})


def fetch_synthetic(fetch: Fetch, _root: Path) -> Fetched:
    """Write `fetch.papers` arXiv-like papers from `fetch.seed`."""
    papers, ceiling = synthetic.generate(
        papers=fetch.papers, label_noise=fetch.label_noise, seed=fetch.seed
    )
    origin = {"source": "synthetic", "ceiling": ceiling, "label_noise": fetch.label_noise}
    return Fetched(check_papers(papers, "synthetic corpus"), origin)


def fetch_snapshot(fetch: Fetch, root: Path) -> Fetched:
    """Select papers from the metadata dump `fetch.path`; UserError if a category has too few."""
    path = user_file(root, fetch.path or "")
    selection = snapshot_source.read_snapshot(
        path,
        per_category=fetch.per_category,
        sample=fetch.sample,
        seed=fetch.seed,
        window=snapshot_source.Window.of(fetch.since, fetch.until),
    )
    papers = selection.table()
    counts = papers["category"].value_counts().reindex(CATEGORIES, fill_value=0)
    short = ", ".join(f"{n:,} of {name}" for name, n in counts.items() if n < fetch.per_category)
    if short and not fetch.allow_fewer:
        raise UserError(
            f"{path}: holds only {short}, {fetch.per_category:,} of each asked for "
            "(fetch.per_category); widen fetch.since and fetch.until or set fetch.allow_fewer=true"
        )
    origin = {
        "source": "snapshot",
        "ceiling": None,
        "lines": selection.lines,
        "unreadable": selection.unreadable,
    }
    left_out = f"{selection.unreadable:,} papers without text left out"
    remark = left_out if selection.unreadable else ""
    return Fetched(check_papers(papers, str(path)), origin, remark)


SOURCES: dict[str, Callable[[Fetch, Path], Fetched]] = {
    "csv": fetch_csv,
    "snapshot": fetch_snapshot,
    "synthetic": fetch_synthetic,
}
