"""Tables that need not fit into memory, put in another order by DuckDB, which sorts on disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from arxiv_hybrid.system.files import ROW_GROUP, write_tables
from arxiv_hybrid.system.runtime import cores

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

# of DuckDB; what does not fit goes to a temporary folder, and each thread needs some hundred MB
MEMORY, THREADS = "2GB", 4

_QUERY = """
SELECT papers.* EXCLUDE ({dropped}){added}
FROM read_parquet(?, file_row_number = true) AS papers
JOIN places ON places.row = papers.file_row_number
ORDER BY places.place
"""


def write_rows(
    target: Path,
    source: Path,
    rows: npt.NDArray[np.int64],
    columns: pa.Table | None = None,
    *,
    bind: Iterable[Path] = (),
) -> None:
    """Write the rows (N,) of the Parquet file `source`, in this order, to the file `target`.

    columns: N rows, added to them; one of the same name is replaced. bind: see `write_tables`.
    """
    import pyarrow as pa
    from pyarrow import parquet

    added = {} if columns is None else {name: columns[name] for name in columns.column_names}
    dropped = [name for name in parquet.read_schema(source).names if name in added]
    query = _QUERY.format(
        dropped=", ".join(["file_row_number", *map(_quoted, dropped)]),
        added="".join(f", places.{_quoted(name)}" for name in added),
    )
    places = pa.table({"row": rows, "place": np.arange(len(rows)), **added})
    with _engine(target.parent) as connection:
        connection.register("places", places)
        found = connection.sql(query, params=[str(source)]).to_arrow_reader(ROW_GROUP)
        names = [*(name for name in found.schema.names if name not in added), *added]
        schema = pa.schema([found.schema.field(name).with_nullable(True) for name in names])
        tables = (pa.table(part.columns, schema=schema) for part in _in_groups(found))
        write_tables(target, tables, schema, bind=bind)


@contextmanager
def _engine(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB in memory, which spills to a folder beside its result."""
    import duckdb

    folder.mkdir(parents=True, exist_ok=True)
    spilled = folder / f".sorting.{os.getpid()}.tmp"
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": MEMORY,
        "threads": min(cores(), THREADS),
        "temp_directory": str(spilled),
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
    }
    try:
        with duckdb.connect(config=settings) as connection:
            yield connection
    finally:
        shutil.rmtree(spilled, ignore_errors=True)


def _in_groups(tables: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows in tables of `ROW_GROUP` each, however they come: equal rows, equal files."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    for table in tables:
        waiting.append(table)
        while sum(map(len, waiting)) >= ROW_GROUP:
            joined = pa.Table.from_batches(waiting)
            yield joined.slice(0, ROW_GROUP).combine_chunks()
            waiting = joined.slice(ROW_GROUP).to_batches()
    if waiting and any(map(len, waiting)):
        yield pa.Table.from_batches(waiting).combine_chunks()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
