"""Tables put in another order on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from arxiv_hybrid.data import ordering
from arxiv_hybrid.data.ordering import write_rows
from arxiv_hybrid.system import files
from arxiv_hybrid.system.files import read_parquet, write_parquet


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    random = np.random.default_rng(1)
    rows = pd.DataFrame({"id": [f"p{n}" for n in range(5000)], "label": "old"})
    rows["abstract"] = [" ".join(map(str, random.integers(1e9, size=200))) for _ in range(5000)]
    write_parquet(tmp_path / "it's one.parquet", rows)
    return rows


def test_rows_in_any_order_with_new_columns(table: pd.DataFrame, tmp_path: Path) -> None:
    rows = np.random.default_rng(2).permutation(len(table))[:3000]
    labels = pa.array([[n, n + 1] if n % 3 else [] for n in range(3000)], pa.list_(pa.int64()))
    columns = pa.table({"label": np.arange(3000), 'a "b"': labels})
    write_rows(tmp_path / "two.parquet", tmp_path / "it's one.parquet", rows, columns)
    written = read_parquet(tmp_path / "two.parquet")
    assert written.columns.tolist() == ["id", "abstract", "label", 'a "b"']
    pd.testing.assert_frame_equal(
        written[["id", "abstract"]],
        table[["id", "abstract"]].iloc[rows].reset_index(drop=True),
    )
    assert written["label"].tolist() == list(range(3000))
    assert [list(value) for value in written['a "b"']] == labels.to_pylist()


def test_equal_files_from_any_number_of_threads(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, rows = tmp_path / "it's one.parquet", np.arange(len(table))[::-1].copy()
    for threads in (1, 2, 200):
        monkeypatch.setattr(ordering, "cores", lambda threads=threads: threads)
        write_rows(tmp_path / f"{threads}.parquet", source, rows)
    written = [(tmp_path / f"{threads}.parquet").read_bytes() for threads in (1, 2, 200)]
    assert written[0] == written[1] == written[2]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"it's one.parquet", "1.parquet", "2.parquet", "200.parquet"}


def test_equal_files_whatever_the_engine_s_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "ROW_GROUP", 7)
    monkeypatch.setattr(files, "ROW_GROUP", 7)
    pieces = [pa.record_batch({"n": np.arange(size)}) for size in (3, 0, 20, 1, 6, 0)]
    groups = list(ordering._in_groups(pieces))
    assert [len(group) for group in groups] == [7, 7, 7, 7, 2]
    joined = np.concatenate([piece["n"].to_numpy() for piece in pieces])
    assert pa.concat_tables(groups)["n"].to_numpy().tolist() == joined.tolist()
