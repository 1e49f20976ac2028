"""Many papers on their way into a table: checked and written as they come, sorted at the end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from arxiv_hybrid.data.identifiers import submission_order
from arxiv_hybrid.data.ordering import write_rows
from arxiv_hybrid.data.schema import COLUMNS, check_papers
from arxiv_hybrid.sources.tables import Paper, by_paper, count_without_tokens

SCHEMA = pa.schema([(name, pa.string()) for name in COLUMNS])
GROUP = 1 << 13  # papers that are checked and written together


class Spool:
    """Papers in a temporary file in `folder`, in the order in which they were found.

    Only their ids are in memory. where: the source, for messages. without_tokens: papers that
    models cannot read. Call `close` at the end, which removes the file.
    """

    def __init__(self, folder: Path, where: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f".found.{os.getpid()}.tmp"
        self._where = where
        self._ids: dict[str, None] = {}
        self._waiting: list[Paper] = []
        self.without_tokens = 0
        self._writer = parquet.ParquetWriter(self._path, SCHEMA)

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, papers: Sequence[Paper]) -> int:
        """Add papers whose ids are new; return how many are not.

        Raises UserError if one is not valid.
        """
        before = len(self)
        for paper in papers:
            if paper.id not in self._ids:
                self._ids[paper.id] = None
                self._waiting.append(paper)
        if len(self._waiting) >= GROUP:
            self.flush()
        return len(papers) - (len(self) - before)

    def flush(self) -> None:
        """Check and write the papers that wait; UserError if one is invalid, or none came."""
        first = len(self) - len(self._waiting)
        table = by_paper(self._waiting)
        table.index = pd.RangeIndex(first, len(self))  # a message names the row
        if self._waiting or not self._ids:
            checked = check_papers(table, self._where)
            self._writer.write_table(pa.Table.from_pandas(checked, SCHEMA, preserve_index=False))
            self.without_tokens += count_without_tokens(checked)
        self._waiting.clear()

    def write_newest_first(self, path: Path) -> None:
        """Write all papers, which were flushed, to a Parquet file."""
        self._writer.close()
        orders = list(map(submission_order, self._ids))
        newest = sorted(range(len(orders)), key=orders.__getitem__, reverse=True)
        write_rows(path, self._path, np.array(newest, dtype=np.int64))

    def close(self) -> None:
        """Remove the file."""
        self._writer.close()
        self._path.unlink(missing_ok=True)
