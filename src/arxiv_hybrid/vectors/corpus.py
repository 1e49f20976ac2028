"""The texts that word vectors may learn from: never those of validation and test papers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import pandas as pd

from arxiv_hybrid.data.identifiers import text_key
from arxiv_hybrid.data.table import PaperTable, Texts, texts_of
from arxiv_hybrid.sources import csv_source, snapshot_source
from arxiv_hybrid.system.csv_rows import is_csv
from arxiv_hybrid.taxonomy.label_sets import CATEGORIES


def learnable_texts(papers: PaperTable, held_out: set[str]) -> Texts:
    """Title and abstract of each paper once, except for the ids in `held_out`."""
    ids = papers["id"]
    return Texts(papers, (~ids.duplicated() & ~ids.isin(held_out)).to_numpy())


def extra_texts(
    papers: PaperTable, held_out: set[str], path: Path, *, categories: tuple[str, ...] | None
) -> Iterator[str]:
    """Yield title and abstract of each paper in the file `path` once.

    Held-out papers, and those that `papers` contains by id or by text, are left out. categories:
    see `new_papers`.
    """
    option = "glove.extra_text"
    yield from texts_of(
        new_papers(papers, path, option=option, held_out=held_out, categories=categories)
    )


def new_papers(
    papers: PaperTable,
    path: Path,
    *,
    option: str,
    held_out: Collection[str] = (),
    categories: tuple[str, ...] | None = CATEGORIES,
) -> pd.DataFrame:
    """Read the papers in a metadata dump or CSV that are not in `papers`, each once.

    papers: columns id, title, abstract; a paper is in it if its id or its text is. held_out:
    ids to leave out as well. option: the option that named the file, for messages. categories: of
    a dump, only papers that list one of these; None reads all. Returns the columns id, title,
    abstract.
    """
    ids = {*held_out, *papers["id"]}
    keys = {text_key(text) for text in learnable_texts(papers, set())}
    rows = []
    for identifier, title, abstract in _read_texts(path, option, categories):
        key = text_key(f"{title} {abstract}")
        if identifier not in ids and key not in keys:
            keys.add(key)
            if identifier:
                ids.add(identifier)
            rows.append((identifier, title, abstract))
    return pd.DataFrame(rows, columns=["id", "title", "abstract"], dtype=str)


def _read_texts(
    path: Path, option: str, categories: tuple[str, ...] | None
) -> Iterator[tuple[str, str, str]]:
    if is_csv(path):
        table = csv_source.read_texts(path, option=option)
        yield from table.itertuples(index=False, name=None)
    else:
        yield from snapshot_source.read_texts(path, option=option, categories=categories)
