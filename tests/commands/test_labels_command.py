"""`python -m arxiv_hybrid data labels`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from saved_encoder import save_encoder

from arxiv_hybrid.__main__ import main
from arxiv_hybrid.commands import labels as command
from arxiv_hybrid.evaluation import out_of_fold
from arxiv_hybrid.text.vocabulary import SPECIAL, Vocabulary

Capture = pytest.CaptureFixture[str]
TOPICS = {"=sums": ("proof", "ring", "lemma"), "@robots": ("robot", "arm", "grasp")}
FLIPPED = ("id 3", "id 40")


@pytest.fixture(autouse=True)
def without_the_shipped_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "is_shipped", lambda: False)


def rows(*, several: bool = False) -> pd.DataFrame:
    """Papers on two topics, two of them with the other one's label."""
    random = np.random.default_rng(0)
    lines = []
    for number in range(60):
        topic = list(TOPICS)[number % 2]
        text = " ".join(random.choice(TOPICS[topic], 6)) + f" word{number}"
        if f"id {number}" in FLIPPED:
            topic = list(TOPICS)[(number + 1) % 2]
        both = "=sums; @robots" if several and number % 10 == 0 else topic
        lines.append((f"id {number}", f'@title "{number}"', text, both))
    return pd.DataFrame(lines, columns=["id", "Title", "Abstract", "subject"])


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    rows().to_csv(tmp_path / "papers.csv", index=False)
    return tmp_path / "papers.csv"


def run(*arguments: object) -> int:
    return main(["data", "labels", *map(str, arguments)])


def test_the_wrong_labels_of_a_file_come_first(
    papers: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert run(papers, "--label", "subject", "--output", tmp_path / "review.csv") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["60 papers, 2 classes, 5 folds", "probabilities: TF-IDF + linear"]
    assert re.match(r"estimated: [23]\.\d% of the labels are wrong \(confident", lines[2])
    assert lines[3] == f"{tmp_path / 'review.csv'}: the most doubtful labels first; at the top"
    assert len(lines) == 4 + command.SHOWN
    table = pd.read_csv(tmp_path / "review.csv")
    assert set(table["id"][:2]) == set(FLIPPED)
    assert sorted(table["id"]) == sorted(rows()["id"])
    assert list(table) == ["rank", "id", "title", "label", "suggested", "label_quality",
                           "'=sums", "'@robots"]  # fmt: skip
    assert set(table["label"]) == {"'=sums", "'@robots"}, "no formula"
    assert table["title"].str.startswith("'@title").all()


def read_as_documented(number: int) -> list[str]:
    """The ids that cleanlab doubts, after a block of docs/audit.md that gives the table to it."""
    pytest.importorskip("cleanlab", reason="needs cleanlab (requirements.txt)")
    text = (ROOT / "docs/audit.md").read_text(encoding="utf-8")
    variables: dict[str, Any] = {}
    exec(re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)[number], variables)
    found: list[str] = sorted(variables["issues"]["id"])
    return found


def test_cleanlab_reads_the_table(papers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(papers.parent)
    run("papers.csv", "--label", "subject", "--output", "reports/labels.csv")
    assert read_as_documented(0) == list(FLIPPED)


def test_cleanlab_reads_several_labels(papers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(papers.parent)
    rows(several=True).to_csv(papers, index=False)
    run("papers.csv", "--label", "subject", "--separator", ";", "--output", "reports/labels.csv")
    table = pd.read_csv("reports/labels.csv").set_index("id")
    assert table.loc["id 0", "label"] == "'=sums;'@robots"
    assert set(table.loc[list(FLIPPED), "in_doubt"]) <= {"'=sums", "'@robots"}
    assert {*FLIPPED} <= {*read_as_documented(1)}


def test_rare_labels_are_counted(tmp_path: Path, capsys: Capture) -> None:
    table = rows()
    table.loc[5, "subject"], table.loc[6, "subject"] = "robts", ""
    table.to_csv(tmp_path / "papers.csv", index=False)
    assert run(tmp_path / "papers.csv", "--label", "subject", "--output", tmp_path / "out.csv") == 0
    printed = capsys.readouterr()
    assert "1 papers without a label" in printed.err
    assert "1 classes with fewer than 2 papers: robts (1)" in printed.err
    assert printed.out.startswith("58 papers, 2 classes")


def test_categories_without_labels_of_ones_own(
    tmp_path: Path, papers: Path, capsys: Capture
) -> None:
    table = rows().rename(columns={"subject": "categories"})
    table["all_categories"] = ["math.AC", "cs.RO"] * 30
    table.to_csv(papers, index=False)
    assert run(papers, "--output", tmp_path / "out.csv") == 0
    assert capsys.readouterr().out.startswith("60 papers, 2 classes")
    assert set(pd.read_csv(tmp_path / "out.csv")["label"]) == {"math.AC", "cs.RO"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--label", "subject"], "--label, --separator and --columns need a FILE of papers"),
        (["papers.csv", "--separator", ";"], "--separator needs --label, the column"),
        (["papers.csv", "--label", "topic"], "no column topic"),
        (["dump.json", "--label", "topic"], "a metadata dump has no columns"),
        ([], "data/splits/labels.json: not found; run `dvc repro split`"),
    ],
)
def test_mistakes(
    arguments: list[str], message: str, papers: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:  # fmt: skip
    monkeypatch.chdir(papers.parent)
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("reports").exists()


def test_too_many_papers(papers: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(out_of_fold, "MOST_PAPERS", 50)
    assert run(papers, "--label", "subject", "--output", papers.parent / "out.csv") == 2
    assert "60 papers and 2 classes are too many: at most 50 papers" in capsys.readouterr().err
    assert not (papers.parent / "out.csv").exists()


@pytest.mark.parametrize(
    ("read", "line"),
    [
        (range(0), "TF-IDF + linear and the encoder's vectors, a vote"),
        (range(7), "TF-IDF + linear and the encoder's vectors, a vote; for 7 papers that the "
         "encoder has read, TF-IDF + linear alone"),
        (range(60), "TF-IDF + linear alone, as the encoder has read nearly all of these papers"),
    ],
)  # fmt: skip
def test_what_the_encoder_has_read_is_said(
    read: range, line: str, papers: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    table, folder = rows(), papers.parent / "encoder"
    table["id"] = [f"2505.{number:05}" for number in range(60)]
    table.to_csv(papers, index=False)
    words = Vocabulary((*SPECIAL, *TOPICS["=sums"], *TOPICS["@robots"]))
    save_encoder(folder, words, papers=[f"2505.{number:05}" for number in read])
    monkeypatch.setattr(command, "is_shipped", lambda: True)
    monkeypatch.setattr(command, "shipped_model", lambda: folder)
    assert run(papers, "--label", "subject", "--output", papers.parent / "out.csv") == 0
    assert capsys.readouterr().out.splitlines()[1] == f"probabilities: {line}"
