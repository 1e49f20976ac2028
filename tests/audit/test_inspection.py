"""Summary tables of `python -m arxiv_hybrid data inspect`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from arxiv_hybrid.__main__ import main
from arxiv_hybrid.audit.inspection import inspect

PAPERS = pd.DataFrame(
    [
        ("2501.00001", "One two", "a b c d", "cs.AI", "cs.AI", "cs.AI,cs.LG", "2025-01-03"),
        ("2501.00001", "One two", "a b c d", "cs.LG", "cs.AI", "cs.AI,cs.LG", "2025-01-03"),
        ("2502.00007", "Three", "a b", "cs.CL", "stat.ML", "stat.ML,cs.CL", ""),
        ("2502.00008", "three", "A  b", "cs.CL", "cs.CL", "cs.CL", "2025-02-01"),
    ],
    columns=["id", "title", "abstract", "category", "primary_category", "all_categories",
             "published"],
)  # fmt: skip


def test_tables_count_papers_categories_and_lengths() -> None:
    tables = inspect(PAPERS)
    overview = tables["papers"].iloc[:, 0]
    assert overview["rows"] == "4"
    assert overview["papers"] == "3"
    assert overview["rows of papers under several categories"] == "50.0%"
    assert overview["papers with duplicate text"] == "2"
    assert overview["papers without a date"] == "1"
    categories = tables["categories"]
    assert categories["rows"].to_dict() == {
        "cs.AI": 1, "cs.CL": 2, "cs.CV": 0, "cs.LG": 1, "others": 0
    }  # fmt: skip
    assert categories.loc["cs.CL"].tolist() == [2, 2, 1]
    assert categories.loc["others", "primary"] == 1
    together = tables["listed together (papers)"]
    assert together.loc["cs.AI", "cs.LG"] == together.loc["cs.LG", "cs.AI"] == 1
    assert together.loc["cs.CL", "cs.CL"] == 2
    assert tables["words"].loc["abstract"].tolist() == [2, 2, 2, 3, 4]
    assert tables["submitted"]["papers"].to_dict() == {"2025-01": 1, "2025-02": 2}


def test_many_months_are_counted_by_year() -> None:
    dates = [f"{year}-{month:02}-01" for year in (2019, 2020, 2021) for month in range(1, 13)]
    papers = pd.DataFrame({**PAPERS.iloc[0].to_dict(), "id": [f"x{i}" for i in range(36)]})
    counts = inspect(papers.assign(published=dates))["submitted"]["papers"]
    assert counts.to_dict() == {"2019": 12, "2020": 12, "2021": 12}


def test_command_prints_tables_or_one_error_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    PAPERS.to_csv(tmp_path / "papers.csv", index=False)
    assert main(["data", "inspect", str(tmp_path / "papers.csv")]) == 0
    printed = capsys.readouterr().out
    for fragment in ("50.0%", "listed together", "median", "2025-02"):
        assert fragment in printed
    PAPERS.assign(title="42").to_csv(tmp_path / "bad.csv", index=False)
    assert main(["data", "inspect", str(tmp_path / "bad.csv")]) == 2
    refused = capsys.readouterr()
    assert refused.out == ""
    assert "row 1, column title" in refused.err
    assert len(refused.err.splitlines()) == 1
