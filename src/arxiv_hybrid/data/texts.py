"""The texts that word vectors may learn from: never those of validation and test papers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from arxiv_hybrid.data import csv_source, snapshot_source
from arxiv_hybrid.data.identifiers import text_key
from arxiv_hybrid.data.table import texts_of


def learnable_texts(papers: pd.DataFrame, held_out: set[str]) -> Iterator[str]:
    """Title and abstract of every paper of papers.csv once, but of none in `held_out` (ids)."""
    once = papers.drop_duplicates("id")
    texts = texts_of(once)
    yield from texts[~once["id"].isin(held_out)]


def more_texts(papers: pd.DataFrame, held_out: set[str], extra: Path) -> Iterator[str]:
    """Title and abstract of every paper in `extra`, a metadata dump or a CSV, once.

    Those that are held out, and those that `papers` has by id or by text, are left out.
    """
    once = papers.drop_duplicates("id")
    ids, keys = (
        held_out | set(once["id"]),
        set(texts_of(once).map(text_key)),
    )
    for identifier, text in _extra(extra):
        if identifier not in ids and text_key(text) not in keys:
            ids.add(identifier)
            yield text


def _extra(path: Path) -> Iterator[tuple[str, str]]:
    key = "glove.extra_text"
    if path.name.endswith((".csv", ".csv.gz")):
        papers = csv_source.read_texts(path, key=key)
        yield from zip(papers["id"], texts_of(papers), strict=True)
    else:
        yield from snapshot_source.read_texts(path, key=key)
