"""The table of papers as later stages read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from arxiv_hybrid.data import table
from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.data.schema import COLUMNS
from arxiv_hybrid.data.table import PaperFile, Texts, batches, texts_of, without_texts
from arxiv_hybrid.system import files
from arxiv_hybrid.system.errors import UserError

ODD = ["NA", "null", "nan", "0", "1e5", "True", "007", "None", "", 'a,"b"', "2511.10", "日本"]


def papers() -> pd.DataFrame:
    return pd.DataFrame(dict.fromkeys(COLUMNS, ODD))


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PaperFile:
    """Papers in a file, of which five are read at a time."""
    for module in (files, table):
        monkeypatch.setattr(module, "ROW_GROUP", 5)
    files.write_parquet(tmp_path / "papers.parquet", papers())
    return PaperFile(tmp_path / "papers.parquet")


def test_a_file_is_used_like_a_table(stored: PaperFile) -> None:
    assert len(stored) == len(ODD)
    assert "title" in stored
    assert "label" not in stored
    pd.testing.assert_series_equal(stored["title"], papers()["title"])
    pd.testing.assert_frame_equal(without_texts(stored), without_texts(papers()))
    parts = list(batches(stored))
    assert [len(part) for part in parts] == [5, 5, 2]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), papers())


def test_texts_are_read_as_often_as_needed(stored: PaperFile) -> None:
    rows = np.arange(len(ODD)) % 3 == 1
    for source in (stored, papers()):
        some = Texts(source, rows)
        expected = texts_of(papers())[rows].tolist()
        assert (len(some), list(some), list(some)) == (4, expected, expected)
        assert list(Texts(source)) == texts_of(papers()).tolist()


@pytest.mark.parametrize("keep", [0, 1, 30, 100, -1, -10])
def test_a_truncated_file_is_an_error(stored: PaperFile, keep: int) -> None:
    stored.path.write_bytes(stored.path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"papers\.parquet: not as a stage wrote it"):
        PaperFile(stored.path)


@pytest.mark.parametrize("content", [b"PK\x03\x04 \xff\n", b"a,b\n1,2,3\n", b"<html>\n", b"\n"])
def test_another_file_in_its_place_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "papers.parquet").write_bytes(content)
    with pytest.raises(UserError, match="not as a stage wrote it"):
        PaperFile(tmp_path / "papers.parquet")


def test_another_table_in_its_place_is_an_error(tmp_path: Path) -> None:
    files.write_parquet(tmp_path / "other.parquet", papers().drop(columns="abstract"))
    with pytest.raises(UserError, match="has no column abstract"):
        PaperFile(tmp_path / "other.parquet")


@pytest.mark.parametrize(
    "content", ["{}", '{"names": 1, "multi_label": false, "categories": {}}',
                '{"names": ["a"], "multi_label": false, "categories": []}']
)  # fmt: skip
def test_json_of_another_kind_is_no_set_of_classes(tmp_path: Path, content: str) -> None:
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(UserError, match=r"labels\.json: is not a set of classes"):
        LabelSet.read(tmp_path / "labels.json")
