"""The texts that word vectors may learn from: never those of validation and test papers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import pandas as pd

from arxiv_hybrid.data.identifiers import text_key
from arxiv_hybrid.data.table import texts_of
from arxiv_hybrid.sources import csv_source, snapshot_source


def learnable_texts(papers: pd.DataFrame, held_out: set[str]) -> Iterator[str]:
    """Title and abstract of every paper of papers.csv once, but of none in `held_out` (ids)."""
    once = papers.drop_duplicates("id")
    texts = texts_of(once)
    yield from texts[~once["id"].isin(held_out)]


def more_texts(papers: pd.DataFrame, held_out: set[str], extra: Path) -> Iterator[str]:
    """Title and abstract of every paper in `extra`, a metadata dump or a CSV, once.

    Those that are held out, and those that `papers` has by id or by text, are left out.
    """
    yield from texts_of(others(papers, extra, key="glove.extra_text", held_out=held_out))


def others(
    papers: pd.DataFrame, extra: Path, *, key: str, held_out: Collection[str] = ()
) -> pd.DataFrame:
    """The papers of `extra`, a metadata dump or a CSV, that are none of `papers`, each once.

    papers: the columns id, title, abstract; a paper counts as one of them by its id or by its
    text. held_out: ids that are left out, too. key: the parameter that named `extra`, for
    messages. Returns the columns id, title, abstract.
    """
    once = papers.drop_duplicates("id")
    ids, keys = {*held_out, *once["id"]}, set(texts_of(once).map(text_key))
    found = []
    for identifier, title, abstract in _extra(extra, key):
        key_of_text = text_key(f"{title} {abstract}")
        if identifier not in ids and key_of_text not in keys:
            keys.add(key_of_text)
            if identifier:
                ids.add(identifier)
            found.append((identifier, title, abstract))
    return pd.DataFrame(found, columns=["id", "title", "abstract"], dtype=str)


def _extra(path: Path, key: str) -> Iterator[tuple[str, str, str]]:
    if path.name.endswith((".csv", ".csv.gz")):
        yield from csv_source.read_texts(path, option=key).itertuples(index=False, name=None)
    else:
        yield from snapshot_source.read_texts(path, option=key)
