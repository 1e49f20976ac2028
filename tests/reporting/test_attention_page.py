"""The attention page: words shaded by their weight."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest

from arxiv_hybrid.evaluation.attention import Explanation, Part
from arxiv_hybrid.reporting import figures
from arxiv_hybrid.reporting.attention_page import CLASSES_SHOWN, attention_page, pieces
from arxiv_hybrid.text.tokenize import tokenize

TEXT = "Is <b>deep</b> learning, at last, ideal?"


def part(name: str, text: str, limit: int = 99, heads: int = 2) -> Part:
    """The first `limit` tokens of a text with rising weights."""
    tokens = tokenize(text)[:limit]
    weights = np.arange(1.0, heads * len(tokens) + 1).reshape(heads, -1)
    return Part(name, text, tokens, weights / weights.sum(1, keepdims=True), 0.5)


def explanation(title: str = "A title", abstract: str = "An abstract of words") -> Explanation:
    probabilities = {"cs.AI": 0.25, "cs.CL": 0.75}
    parts = part("title", title), part("abstract", abstract)
    return Explanation(probabilities, ("cs.CL",), "1", *parts, ())


@pytest.mark.parametrize(
    "text", [TEXT, "", "?!", "At last, İdeal?", "one", "  two words ", "İ long ago"]
)
@pytest.mark.parametrize("limit", [0, 1, 99])
def test_pieces_are_the_whole_text_in_order(text: str, limit: int) -> None:
    result = pieces(part("title", text, limit))
    assert "".join(piece["text"] for piece in result).lower() == text.lower()
    tokens = [piece["text"].lower() for piece in result if "shades" in piece]
    assert tokens == tokenize(text)[:limit]


def test_shades_are_relative_to_the_strongest_token() -> None:
    tokens = [piece for piece in pieces(part("title", "a b c")) if "shades" in piece]
    mean, first, second = zip(*(piece["shades"] for piece in tokens), strict=True)
    assert first == pytest.approx((1 / 3, 2 / 3, 1))
    assert second == pytest.approx((4 / 6, 5 / 6, 1))
    assert mean[-1] == 1
    assert sum(piece["weight"] for piece in tokens) == pytest.approx(1)


def test_the_page_escapes_the_text_and_loads_nothing() -> None:
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


def test_of_many_classes_the_likeliest_are_shown_and_all_that_are_assigned() -> None:
    names = [f"c{number}" for number in range(CLASSES_SHOWN + 30)]
    probabilities = {name: 1 - number / 100 for number, name in enumerate(names)}
    paper = replace(
        explanation(), probabilities=probabilities, assigned=("c0", "c1"), actual=("c1", "c0")
    )
    page = attention_page([paper], "v5")
    assert f"The {CLASSES_SHOWN} likeliest of {len(names)} classes" in page
    assert page.count('<td class="bar">') == CLASSES_SHOWN
    assert "<b>c0</b>, 100.0" in page
    assert "<b>c1</b>, 99.0" in page
    assert "<b>c1, c0</b>" in page, "the same classes in another order are no mistake"
    wrong = attention_page([replace(paper, actual=("c1", "c5"))], "v5")
    assert '<b class="warn">c1, c5</b>' in wrong
