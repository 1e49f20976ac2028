"""`python -m arxiv_hybrid explain`."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from arxiv_hybrid.__main__ import main
from arxiv_hybrid.system.files import write_csv, write_parquet


def test_explain_a_typed_paper(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = ["--title", "Deep learning", "--abstract", "Learning deep words deep"]
    assert main(["explain", *text, "--model", str(model_folder), "--output", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    name = "deep-learning-learning-deep-words-deep"
    assert re.search(rf"{name}: cs\.\S+ \(\d+%\)", shown)
    assert "learning" in shown
    assert "Learning" in (tmp_path / f"{name}.html").read_text()
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "text", [["--title", "Deep"], ["--abstract", "words"], ["--title", "\udcff deep"]]
)
def test_one_part_is_enough(model_folder: Path, tmp_path: Path, text: list[str]) -> None:
    assert main(["explain", *text, "--model", str(model_folder), "--output", str(tmp_path)]) == 0
    assert len(list(tmp_path.glob("*.png"))) == 1


@pytest.mark.parametrize("name", ["papers.parquet", "papers.csv"])
def test_explain_papers_of_the_data_set(
    name: str, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    papers = pd.DataFrame(
        [("2501.00001", "Deep words"), ("cs/0501001", "Learning words"), ("x", "Other")],
        columns=["id", "title"],
    ).assign(abstract="of words", category="cs.CL", primary_category="cs.CL",
             all_categories="cs.CL", published="2025-01-01")  # fmt: skip
    (write_csv if name.endswith(".csv") else write_parquet)(tmp_path / name, papers)
    given = ["--model", str(model_folder), "--papers", str(tmp_path / name)]
    output = ["--output", str(tmp_path / "out")]
    assert main(["explain", "--id", "cs/0501001", "arXiv:2501.00001v2", *given, *output]) == 0
    shown = capsys.readouterr().out
    assert shown.index("cs/0501001: ") < shown.index("2501.00001: ")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"cs-0501001.html", "cs-0501001.png", "2501.00001.html", "2501.00001.png"}

    assert main(["explain", "--id", "2501.00009", *given, "--output", str(tmp_path / "no")]) == 2
    assert f"{name}: no paper 2501.00009; the first is 2501.00001" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_unreadable_input_and_output_give_one_line(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    command = ["explain", "--model", str(model_folder), "--output", str(tmp_path / "file")]
    assert main([*command, "--title", "Deep"]) == 2
    assert re.fullmatch(r"error: \S+/file: File exists\n", capsys.readouterr().err)
    assert main([*command, "--title", "语音识别", "--abstract", "?"]) == 2
    assert "at least one word in Latin letters" in capsys.readouterr().err


def test_a_table_without_papers_is_one_line(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none.csv").write_text("id,title,abstract\n")
    given = ["--model", str(model_folder), "--papers", str(tmp_path / "none.csv"), "--id", "1"]
    assert main(["explain", *given]) == 2
    assert "none.csv: has no rows" in capsys.readouterr().err


@pytest.mark.parametrize("given", [[], ["--id", "1", "--title", "both"]])
def test_explain_needs_ids_or_a_text(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *given]) == 2
    assert "either --id or --title" in capsys.readouterr().err


def test_a_page_that_is_a_link_stays_one(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "page").write_text("before")
    (tmp_path / "out" / "deep-words.html").symlink_to(tmp_path / "page")
    command = ["explain", "--model", str(model_folder), "--output", str(tmp_path / "out")]
    assert main([*command, "--title", "Deep", "--abstract", "words"]) == 0
    assert (tmp_path / "out" / "deep-words.html").is_symlink()
    assert "<html" in (tmp_path / "page").read_text()
