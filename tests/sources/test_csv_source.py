"""CSV files of users: what is accepted, and the errors for what is not."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from arxiv_hybrid.data.schema import COLUMNS, check_papers
from arxiv_hybrid.sources.csv_source import read_csv
from arxiv_hybrid.system.errors import UserError

GOOD = {
    "id": ["1", "1", "2"],
    "title": ["A title", "A title", "Another"],
    "abstract": ["Some words.", "Some words.", "More words."],
    "category": ["cs.AI", "cs.LG", "cs.CL"],
    "primary_category": ["cs.AI", "cs.AI", "cs.CL"],
    "all_categories": ["cs.AI,cs.LG", "cs.AI cs.LG", "cs.CL"],
    "published": ["2025-01-02T10:00:00Z", "2025-01-02", ""],
}


def write(tmp_path: Path, **changes: list[str]) -> Path:
    path = tmp_path / "papers.csv"
    pd.DataFrame({**GOOD, **changes}).to_csv(path, index=False)
    return path


def check(path: Path) -> pd.DataFrame:
    return check_papers(read_csv(path), str(path))


def test_valid_file_plain_and_gz(tmp_path: Path) -> None:
    plain = check(write(tmp_path))
    packed = tmp_path / "papers.csv.gz"
    packed.write_bytes(gzip.compress((tmp_path / "papers.csv").read_bytes()))
    pd.testing.assert_frame_equal(plain, check(packed))
    assert tuple(plain.columns) == COLUMNS
    assert plain["all_categories"].tolist() == ["cs.AI,cs.LG", "cs.AI,cs.LG", "cs.CL"]
    assert plain["published"].tolist() == ["2025-01-02", "2025-01-02", ""]


def test_missing_columns_are_derived(tmp_path: Path) -> None:
    path = tmp_path / "papers.csv"
    columns = {"id": ["1"], "title": ["T"], "abstract": ["Words"]}
    pd.DataFrame({**columns, "all_categories": ["stat.ML cs.LG"]}).to_csv(path, index=False)
    row = check(path).iloc[0]
    assert (row["primary_category"], row["category"]) == ("stat.ML", "cs.LG")
    pd.DataFrame({**columns, "category": ["cs.CV"]}).to_csv(path, index=False)
    row = check(path).iloc[0]
    assert (row["primary_category"], row["all_categories"]) == ("cs.CV", "cs.CV")


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"title": ["A title", "A title", ""]}, ["row 3", "column title", "''", "letter"]),
        ({"abstract": ["Some words.", "Some words.", "12 345"]}, ["row 3", "abstract", "12 345"]),
        ({"abstract": ["Some words.", "Some words.", "NaN"]}, ["row 3", "abstract", "NaN"]),
        ({"category": ["cs.AI", "cs.LG", "cs.XX"]}, ["row 3", "category", "cs.XX", "cs.CV"]),
        ({"primary_category": ["cs.AI", "cs.AI", "?"]}, ["row 3", "primary_category", "'?'"]),
        ({"all_categories": ["", "cs.AI", "cs.CL"]}, ["row 1", "all_categories"]),
        ({"published": ["2025-01-02", "2025-01-02", "2025-13-01"]}, ["row 3", "published"]),
        ({"id": ["1", "1", ""]}, ["row 3", "column id"]),
        ({"title": ["A title", "B title", "C"]}, ["id 1", "title", "rows 1 and 2"]),
        ({"category": ["cs.AI", "cs.AI", "cs.CL"]}, ["row 2", "paper 1", "twice", "cs.AI"]),
    ],
)
def test_bad_cells_are_reported_by_row_and_column(
    tmp_path: Path, changes: dict[str, list[str]], fragments: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        check(write(tmp_path, **changes))
    for fragment in [*fragments, "papers.csv"]:
        assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)


def test_versions_are_removed_from_arxiv_ids(tmp_path: Path) -> None:
    ids = ["2501.00001v1", "2501.00001v1", "paper-v2"]
    assert check(write(tmp_path, id=ids))["id"].tolist() == ["2501.00001"] * 2 + ["paper-v2"]


def test_papers_of_other_categories_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "papers.csv"
    rows = {"id": ["1", "2"], "title": ["T", "U"], "abstract": ["Words", "More"]}
    pd.DataFrame({**rows, "primary_category": ["cs.RO", "cs.CL"]}).to_csv(path, index=False)
    assert check(path)["id"].tolist() == ["2"]
    pd.DataFrame({**rows, "primary_category": ["cs.RO", "cs.RO"]}).to_csv(path, index=False)
    with pytest.raises(UserError, match=r"no paper lists any of cs\.AI"):
        check(path)


def test_number_of_failing_rows_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"row 1, column title.*\(2 more rows fail\)"):
        check(write(tmp_path, title=["", "", ""]))


def test_missing_columns_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "papers.csv"
    path.write_text("id,title,summary\n1,a,b\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"no column abstract, no column category .*id, title"):
        read_csv(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"id,title,abstract,category\n", "has no rows"),
        (b"id,title,abstract,category\n1,caf\xe9,b,cs.AI\n", "not UTF-8: byte 0xe9"),
        (b'id,title,abstract,category\n1,"a,b,cs.AI\n', "not a valid CSV"),
        (b"id,title,abstract,category\n1,a,b,cs.AI,extra\n", "more fields than the header"),
    ],
)
def test_broken_files_are_reported(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "papers.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        check(path)


def test_truncated_and_mislabelled_gz(tmp_path: Path) -> None:
    path = tmp_path / "papers.csv.gz"
    whole = gzip.compress(write(tmp_path).read_bytes() * 50)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="truncated or damaged"):
        read_csv(path)
    path.write_bytes(b"id,title\n")
    with pytest.raises(UserError, match="cannot be read"):
        read_csv(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_csv(tmp_path / "none.csv")
    with pytest.raises(UserError, match="is a folder"):
        read_csv(tmp_path)


def test_row_numbers_count_papers_that_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "papers.csv"
    path.write_text("id,title,abstract,all_categories\n1,a,b,math.CO\n2,a,b,cs.AI\n3,a,42,cs.AI\n")
    with pytest.raises(UserError, match=r"row 3, column abstract"):
        check_papers(read_csv(path), str(path))
    path.write_text("id,title,abstract,all_categories\n1,a,b,math.CO\n2,a,b,cs.AI\n3,a,c,cs.AI\n")
    assert check_papers(read_csv(path), str(path)).index.tolist() == [0, 1]
