"""From papers to rows of papers.parquet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pandas as pd

from arxiv_hybrid.data.schema import COLUMNS

_TOKEN = re.compile(r"[a-z0-9-]", re.IGNORECASE)  # what tokens consist of, see text.tokenize


class Paper(NamedTuple):
    """One paper: its categories are spelled as arXiv does, the primary one first."""

    id: str
    title: str
    abstract: str
    categories: tuple[str, ...]
    published: str  # YYYY-MM-DD, or empty


def by_query(found: Mapping[str, Iterable[Paper]]) -> pd.DataFrame:
    """One row per paper and category that found it, in the order given."""
    return _table((paper, name) for name, papers in found.items() for paper in papers)


def by_paper(papers: Iterable[Paper]) -> pd.DataFrame:
    """One row per paper; `category` is its primary category."""
    return _table((paper, paper.categories[0]) for paper in papers)


def _table(rows: Iterable[tuple[Paper, str]]) -> pd.DataFrame:
    listings: dict[tuple[str, ...], str] = {}  # equal ones share a string

    def row(paper: Paper, category: str) -> tuple[str, ...]:
        listing = listings.setdefault(paper.categories, ",".join(paper.categories))
        text = paper.id, paper.title, paper.abstract
        return *text, category, paper.categories[0], listing, paper.published

    return pd.DataFrame([row(*pair) for pair in rows], columns=list(COLUMNS))


def count_without_tokens(papers: pd.DataFrame) -> int:
    """How many papers have no token in title and abstract."""
    texts = zip(papers["title"], papers["abstract"], strict=True)
    return sum(not (_TOKEN.search(title) or _TOKEN.search(abstract)) for title, abstract in texts)
