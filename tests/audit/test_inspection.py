"""Summary tables of `python -m arxiv_hybrid data inspect`."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from arxiv_hybrid.__main__ import main
from arxiv_hybrid.audit.inspection import inspect
from arxiv_hybrid.taxonomy.categories import categories

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
    assert overview["papers under several categories"] == "2"
    assert overview["rows of papers under several categories"] == "50.0%"
    assert overview["papers with duplicate text"] == "2"
    assert overview["papers without a date"] == "1"
    table = tables["categories"]
    assert table["rows"].to_dict() == {"cs.CL": 2, "cs.AI": 1, "cs.LG": 1, "stat.ML": 0}
    assert table.loc["cs.CL"].tolist() == [2, 2, 1]
    together = tables["listed together (papers)"]
    assert together.loc["cs.AI", "cs.LG"] == together.loc["cs.LG", "cs.AI"] == 1
    assert together.loc["cs.CL", "cs.CL"] == 2
    assert tables["words"].loc["abstract"].tolist() == [2, 2, 2, 3, 4]
    assert tables["submitted"]["papers"].to_dict() == {"2025-01": 1, "2025-02": 2}


def test_rare_categories_are_one_row() -> None:
    names = list(categories())[:15]
    rows = [{"category": name, "primary_category": name, "all_categories": f"{name},cs.LG"}
            for i, name in enumerate(names) for _ in range(20 - i)]  # fmt: skip
    papers = pd.DataFrame({**PAPERS.iloc[0].to_dict(), "id": [f"x{i}" for i in range(len(rows))]})
    tables = inspect(papers.assign(**pd.DataFrame(rows).to_dict("list")))
    table = tables["categories"]
    assert table.index.tolist() == ["cs.LG", *names[:11], "4 others"]
    assert table["primary"].sum() == len(rows)
    assert table.loc["4 others"].tolist() == [9 + 8 + 7 + 6] * 3
    assert len(tables["listed together (papers)"]) == 12


def test_second_names_count_as_the_category() -> None:
    papers = PAPERS.iloc[[2]].assign(primary_category="cs.NA", all_categories="cs.NA,math.NA")
    table = inspect(papers)["categories"]
    assert table.loc["math.NA", ["papers listing it", "primary"]].tolist() == [1, 1]
    assert "cs.NA" not in table.index


def test_labels_of_ones_own() -> None:
    empty = dict.fromkeys(("category", "primary_category", "all_categories", "published"), "")
    labels = ["bird; fish", "bird; fish", "fish", ""]
    tables = inspect(PAPERS.assign(**empty, id=[*"1123"], label=labels), separator=";")
    assert tables["labels"]["papers"].to_dict() == {"fish": 2, "bird": 1}
    overview = tables["papers"].iloc[:, 0]
    assert overview["different labels"] == "2"
    assert overview["labels with fewer than 14 papers"] == "2"
    assert overview["papers without a label"] == overview["papers with several labels"] == "1"
    assert overview["papers whose text has another label, too"] == "2"
    assert "submitted" not in tables, "no date is known"
    assert tables["listed together (papers)"].loc["bird", "fish"] == 1
    alone = inspect(PAPERS.assign(**empty, id=[*"1123"], label=labels))
    assert alone["labels"]["papers"].to_dict() == {"bird; fish": 1, "fish": 1}
    assert "listed together (papers)" not in alone


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
    PAPERS.assign(title="n/a").to_csv(tmp_path / "bad.csv", index=False)
    assert main(["data", "inspect", str(tmp_path / "bad.csv")]) == 2
    refused = capsys.readouterr()
    assert refused.out == ""
    assert "row 1, column title" in refused.err
    assert len(refused.err.splitlines()) == 1


def test_command_reads_labels_and_other_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "own.tsv")
    table = {"Titel": ["A", "A", "B"], "Kind": ["x|y", "x|y", "x"]}
    pd.DataFrame(table).to_csv(file, index=False, sep="\t")
    command = ["data", "inspect", file, "--label", "kind", "--separator", "|"]
    assert main([*command, "--columns", "title=TITEL"]) == 0
    printed = capsys.readouterr().out
    assert "different labels" in printed
    assert "rows                                      3" in printed
    for wrong, message in (
        (command, "no column title and no column abstract"),
        ([*command, "--columns", "titel=x"], "expected pairs such as title=Titel; there are id"),
        (["data", "inspect", file, "--columns", "title=Titel"], "`data inspect --label`"),
    ):
        assert main(wrong) == 2
        assert message in capsys.readouterr().err


def test_command_reads_a_metadata_dump(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "dump.json"
    lines = [{"id": f"2501.0000{i}", "title": "T", "abstract": f"A {i}", "categories": "cs.RO x"}
             for i in range(3)]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, lines[0]]))
    assert main(["data", "inspect", str(path)]) == 0
    printed = capsys.readouterr()
    assert "cs.RO    3                 3       3" in printed.out
    assert "repeated lines, left out: 1\n" in printed.err
    path.write_text("\n")
    assert main(["data", "inspect", str(path)]) == 2
    assert "is empty, expected one JSON object per line (FILE)" in capsys.readouterr().err
    assert "unknown categories ignored: 4, the first x in line 1\n" in printed.err
