"""papers.csv as later stages read it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.data.schema import COLUMNS
from arxiv_hybrid.data.table import read_papers
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import write_csv

ODD = ["NA", "null", "nan", "0", "1e5", "True", "007", "None", "", 'a,"b"', "2511.10", "日本"]


def papers() -> pd.DataFrame:
    return pd.DataFrame(dict.fromkeys(COLUMNS, ODD))


def test_values_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_csv(tmp_path / "papers.csv", papers())
    pd.testing.assert_frame_equal(read_papers(tmp_path / "papers.csv"), papers())


@pytest.mark.parametrize("keep", [0, 1, 30, 100, -1, -10])
def test_a_truncated_file_is_an_error(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "papers.csv"
    write_csv(path, papers())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        UserError, match=r"papers\.csv: is truncated or damaged: .* writes it again"
    ):
        read_papers(path)


@pytest.mark.parametrize("content", [b"PK\x03\x04 \xff\n", b"a,b\n1,2,3\n", b"<html>\n", b"\n"])
def test_another_file_in_its_place_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "papers.csv").write_bytes(content)
    with pytest.raises(UserError, match="is truncated or damaged"):
        read_papers(tmp_path / "papers.csv")


@pytest.mark.parametrize(
    "content", ["{}", '{"names": 1, "multi_label": false, "categories": {}}',
                '{"names": ["a"], "multi_label": false, "categories": []}']
)  # fmt: skip
def test_json_of_another_kind_is_no_set_of_classes(tmp_path: Path, content: str) -> None:
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(UserError, match=r"labels\.json: is not a set of classes"):
        LabelSet.read(tmp_path / "labels.json")
