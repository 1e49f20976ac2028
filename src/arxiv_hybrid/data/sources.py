"""One function a source: each returns the same table and what is known about its origin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from arxiv_hybrid.config import Fetch
from arxiv_hybrid.data import csv_source, synthetic
from arxiv_hybrid.data.schema import check_papers


@dataclass(frozen=True)
class Fetched:
    """Papers with the columns of `schema.COLUMNS`, and facts about where they come from.

    `origin` has `source`, and `ceiling`: the best accuracy any classifier can reach on
    primary labels, by number of classes, where the source knows it; else None.
    """

    papers: pd.DataFrame
    origin: dict[str, Any]


def fetch_csv(fetch: Fetch, root: Path) -> Fetched:
    """Read the CSV file `fetch.path`; a relative path starts at the repository's root."""
    path = root / Path(fetch.path or "").expanduser()
    papers = check_papers(csv_source.read_csv(path), str(path))
    return Fetched(papers, {"source": "csv", "ceiling": None})


def fetch_synthetic(fetch: Fetch, _root: Path) -> Fetched:
    """Write `fetch.papers` arXiv-like papers from `fetch.seed`."""
    papers, ceiling = synthetic.generate(
        papers=fetch.papers, label_noise=fetch.label_noise, seed=fetch.seed
    )
    origin = {"source": "synthetic", "ceiling": ceiling, "label_noise": fetch.label_noise}
    return Fetched(check_papers(papers, "synthetic corpus"), origin)


SOURCES: dict[str, Callable[[Fetch, Path], Fetched]] = {
    "csv": fetch_csv,
    "synthetic": fetch_synthetic,
}
