"""Tables of papers, in memory or in a file, and the text and the digest of their rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import ROW_GROUP, check_parquet

if TYPE_CHECKING:
    from pyarrow import parquet

_TEXTS = ("title", "abstract")
_NEEDED = ("id", *_TEXTS)


class PaperFile:
    """The rows of a Parquet file that a stage wrote, of which only parts are in memory.

    Columns and texts are read when they are asked for, as from a table: `papers["id"]` and
    `batches`. Raises UserError if the file is missing or damaged, or is no table of papers.
    """

    def __init__(self, path: Path) -> None:
        check_parquet(path)
        self.path = path
        if missing := [name for name in _NEEDED if name not in self.columns]:
            raise UserError(f"{path}: has no column {missing[0]}; `dvc repro` writes it again")

    @cached_property
    def _file(self) -> parquet.ParquetFile:
        from pyarrow import parquet

        return parquet.ParquetFile(self.path)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        names: list[str] = self._file.schema_arrow.names
        return names

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __getitem__(self, name: str) -> pd.Series:
        """The cells of a column; equal ones share a string."""
        return self.frame(name)[name]

    def frame(self, *names: str) -> pd.DataFrame:
        """Some columns as a table."""
        table: pd.DataFrame = self._file.read(list(names), use_threads=False).to_pandas()
        return table

    @property
    def without_texts(self) -> pd.DataFrame:
        """All columns but title and abstract."""
        return self.frame(*(name for name in self.columns if name not in _TEXTS))

    def batches(self) -> Iterator[pd.DataFrame]:
        """Some thousand rows at a time, in their order."""
        for batch in self._file.iter_batches(ROW_GROUP, use_threads=False):
            yield batch.to_pandas()


PaperTable: TypeAlias = pd.DataFrame | PaperFile


def batches(papers: PaperTable) -> Iterator[pd.DataFrame]:
    """The rows of a table: of a file some thousand at a time, of a table in memory all at once."""
    if isinstance(papers, PaperFile):
        yield from papers.batches()
    else:
        yield papers


def without_texts(papers: PaperTable) -> pd.DataFrame:
    """A table of all columns but title and abstract, with its rows numbered from 0."""
    if isinstance(papers, PaperFile):
        return papers.without_texts
    return papers.drop(columns=list(_TEXTS), errors="ignore").reset_index(drop=True)


class Texts:
    """Title and abstract of each paper joined by a space; can be read several times.

    rows (N,) bool: which of the papers; all if None.
    """

    def __init__(self, papers: PaperTable, rows: npt.NDArray[np.bool_] | None = None) -> None:
        self._papers, self._rows = papers, rows

    def __len__(self) -> int:
        return len(self._papers) if self._rows is None else int(self._rows.sum())

    def __iter__(self) -> Iterator[str]:
        first = 0
        for part in batches(self._papers):
            texts = texts_of(part)
            if self._rows is not None:
                texts = texts[self._rows[first : first + len(part)]]
            first += len(part)
            yield from texts


def texts_of(papers: pd.DataFrame) -> pd.Series:
    """Title and abstract of each paper joined by a space."""
    return papers["title"] + " " + papers["abstract"]


def labelled_digest(papers: pd.DataFrame) -> str:
    """Hash of the ids and labels, one or several each; the order of the papers does not matter."""
    lines = sorted(
        f"{name} {' '.join(map(str, np.atleast_1d(label)))}"
        for name, label in zip(papers["id"], papers["label"], strict=True)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
