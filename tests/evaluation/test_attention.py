"""Attention pages and pictures, and `python -m arxiv_hybrid explain`."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from arxiv_hybrid.__main__ import main
from arxiv_hybrid.evaluation.attention import Explanation, Part, explain
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.reporting import figures
from arxiv_hybrid.reporting.attention_page import attention_page, pieces
from arxiv_hybrid.text.tokenize import tokenize

TEXT = "Is <b>deep</b> learning, at last, ideal?"


def part(name: str, text: str, read: int = 99, heads: int = 2) -> Part:
    tokens = tokenize(text)[:read]
    weights = np.arange(1.0, heads * len(tokens) + 1).reshape(heads, -1)
    return Part(name, text, tokens, weights / weights.sum(1, keepdims=True), 0.5)


def explanation(title: str = "A title", abstract: str = "An abstract of words") -> Explanation:
    probabilities = {"cs.AI": 0.25, "cs.CL": 0.75}
    return Explanation(probabilities, "1", part("title", title), part("abstract", abstract), None)


@pytest.mark.parametrize(
    "text", [TEXT, "", "?!", "At last, İdeal?", "one", "  two words ", "İ long ago"]
)
@pytest.mark.parametrize("read", [0, 1, 99])
def test_pieces_are_the_whole_text_in_order(text: str, read: int) -> None:
    shown = pieces(part("title", text, read))
    assert "".join(piece["text"] for piece in shown).lower() == text.lower()
    read_words = [piece["text"].lower() for piece in shown if "shades" in piece]
    assert read_words == tokenize(text)[:read]


def test_shades_are_relative_to_the_strongest_word() -> None:
    words = [piece for piece in pieces(part("title", "a b c")) if "shades" in piece]
    mean, first, second = zip(*(piece["shades"] for piece in words), strict=True)
    assert first == pytest.approx((1 / 3, 2 / 3, 1))
    assert second == pytest.approx((4 / 6, 5 / 6, 1))
    assert mean[-1] == 1
    assert sum(piece["weight"] for piece in words) == pytest.approx(1)


def test_the_page_has_the_text_escaped_and_loads_nothing() -> None:
    page = attention_page([explanation(TEXT), explanation()], "v1")
    assert "<b>deep" not in page
    body = page.split("<h2>")[1]
    shown = re.sub(r"<[^>]+>", "", body.split('class="text title"')[1].split("</p>")[0])
    assert unescape(shown.removeprefix(">")) == TEXT
    assert "http" not in page
    assert "75.0" in page
    for number in (1, 2):
        assert page.count(f'name="paper-{number}"') == 3  # all heads and two single ones


@pytest.mark.parametrize("title", ["", "word"])
def test_a_paper_without_words_has_a_picture(title: str) -> None:
    assert figures.png(figures.attention(explanation(title, ""))).startswith(b"\x89PNG")
    assert "cs.CL" in attention_page([explanation(title, "")], "v1")


def test_explain_a_text_of_ones_own(
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


def test_explain_papers_of_the_data_set(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    papers = pd.DataFrame(
        [("2501.00001", "Deep words"), ("cs/0501001", "Learning words"), ("x", "Other")],
        columns=["id", "title"],
    ).assign(abstract="of words", category="cs.CL", primary_category="cs.CL",
             all_categories="cs.CL", published="2025-01-01")  # fmt: skip
    papers.to_csv(tmp_path / "papers.csv", index=False)
    given = ["--model", str(model_folder), "--papers", str(tmp_path / "papers.csv")]
    output = ["--output", str(tmp_path / "out")]
    assert main(["explain", "--id", "cs/0501001", "arXiv:2501.00001v2", *given, *output]) == 0
    shown = capsys.readouterr().out
    assert shown.index("cs/0501001: ") < shown.index("2501.00001: ")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"cs-0501001.html", "cs-0501001.png", "2501.00001.html", "2501.00001.png"}

    assert main(["explain", "--id", "2501.00009", *given, "--output", str(tmp_path / "no")]) == 2
    assert "papers.csv: no paper 2501.00009; the first is 2501.00001" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_what_cannot_be_read_or_written_is_one_line(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    command = ["explain", "--model", str(model_folder), "--output", str(tmp_path / "file")]
    assert main([*command, "--title", "Deep"]) == 2
    assert re.fullmatch(r"error: \S+/file: File exists\n", capsys.readouterr().err)
    assert main([*command, "--title", "语音识别", "--abstract", "?"]) == 2
    assert "no word" in capsys.readouterr().err


@pytest.mark.parametrize("given", [[], ["--id", "1", "--title", "both"]])
def test_explain_wants_papers_or_a_text(given: list[str], capsys) -> None:
    assert main(["explain", *given]) == 2
    assert "either --id or --title" in capsys.readouterr().err


def test_what_is_explained_is_what_is_predicted(model_folder: Path) -> None:
    classifier = checkpoint.load(model_folder, precision="fp32")
    assert classifier.config.temperature != 1
    papers = pd.DataFrame({"id": ["1"], "title": ["Deep words"], "abstract": ["learning words"]})
    (explained,) = explain(classifier, papers)
    predicted = classifier.classify(papers).iloc[0]
    for name, probability in explained.probabilities.items():
        assert probability == pytest.approx(predicted[name], abs=1e-6)
