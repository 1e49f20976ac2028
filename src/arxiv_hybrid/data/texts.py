"""The texts that word vectors may learn from: never those of validation and test papers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from arxiv_hybrid.data import csv_source, snapshot_source


def learnable_texts(papers: pd.DataFrame, held_out: set[str], extra: Path | None) -> Iterator[str]:
    """Title and abstract of every paper once, but of none in `held_out` (ids).

    papers: rows of papers.csv; extra: a metadata dump or a CSV with more papers, of which
    those that `papers` has are not taken again.
    """
    once = papers.drop_duplicates("id")
    seen = once[~once["id"].isin(held_out)]
    yield from seen["title"] + " " + seen["abstract"]
    if extra:
        known = held_out | set(once["id"])
        yield from (text for identifier, text in _extra(extra) if identifier not in known)


def _extra(path: Path) -> Iterator[tuple[str, str]]:
    if ".json" in path.name:
        yield from snapshot_source.read_texts(path, key="glove.extra_text")
        return
    papers = csv_source.read_csv(path).drop_duplicates("id")
    yield from zip(papers["id"], papers["title"] + " " + papers["abstract"], strict=True)
