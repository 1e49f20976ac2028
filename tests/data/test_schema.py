"""What counts as a text, and the checks of papers.csv."""

from __future__ import annotations

import pandas as pd
import pytest

from arxiv_hybrid.data.schema import (
    COLUMNS,
    check_enough,
    check_papers,
    is_text,
    one_line,
    too_few,
)
from arxiv_hybrid.system.errors import UserError


@pytest.mark.parametrize("text", ["0", "Q", "42", "E=mc²", "深度学习", " x ", "nanotubes", "§"])
def test_short_and_foreign_texts_are_texts(text: str) -> None:
    assert is_text(text)


@pytest.mark.parametrize("text", ["", "  ", "NaN", "N/A", " none\n", "null"])
def test_missing_texts(text: str) -> None:
    assert not is_text(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a b", "a b"), (" a\n  b\t", "a b"), ("a  b", "a b"), ("a\u00a0b", "a b"), ("é", "é"),
        ("half \ud835 pair", "half ? pair"), ("", ""), (" ", ""), ("cut\0here", "cut here"),
        ("é\0", "é"),
    ],
)  # fmt: skip
def test_one_line(text: str, line: str) -> None:
    assert one_line(text) == line


def table(**changes: str) -> pd.DataFrame:
    row = {"id": "1", "title": "T", "abstract": "A", "category": "math.NA", "published": "",
           "primary_category": "cs.NA", "all_categories": "cs.NA,math.NA", **changes}  # fmt: skip
    columns = [*COLUMNS, *(name for name in changes if name not in COLUMNS)]
    return pd.DataFrame([row], columns=columns)


def test_valid_papers() -> None:
    check_papers(table(), "x")
    empty = dict.fromkeys(("category", "primary_category", "all_categories"), "")
    check_papers(table(**empty, label="bird"), "x")
    check_papers(table(title=""), "x", without=["title"])
    with pytest.raises(UserError, match="column category: found '', expected a category of arXiv"):
        check_papers(table(**empty), "x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"all_categories": "cs.NA math.NA"}, "all_categories: found 'cs.NA math.NA'"),
        ({"all_categories": "cs.na"}, "all_categories"),
        ({"primary_category": "cs"}, "primary_category: found 'cs'"),
        ({"title": "none"}, "title: found 'none', expected text"),
        ({"id": " "}, "id: found ' ', expected a non-empty id"),
        ({"notes": "x"}, "notes"),
    ],
)
def test_invalid_papers(changes: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_papers(table(**changes), "x")


def test_small_categories_are_named_unless_they_are_old_archives() -> None:
    counts = {"cs.RO": 3, "astro-ph": 0, **{f"math.{i}": i for i in range(6)}}
    assert too_few(counts, 3) == "0 of math.0, 1 of math.1, 2 of math.2"
    assert too_few(counts, 9).endswith("3 of math.3 and fewer of 2 more categories")
    assert too_few({"cs.RO": 9}, 9) == ""
    check_enough(counts, 9, "x", allow_fewer=True)
    with pytest.raises(UserError, match=r"x: has only 3 of cs\.RO, 0 of math\.0"):
        check_enough(counts, 9, "x", allow_fewer=False)
