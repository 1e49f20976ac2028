"""The audit page: it shows the results of the audit, and loads nothing from other hosts."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pandas as pd
from conftest import CLASSES
from random_papers import random_papers, split_rows

from arxiv_hybrid.audit.drift import by_month, rising_words
from arxiv_hybrid.audit.duplicates import near_duplicates
from arxiv_hybrid.audit.report import audit_report
from arxiv_hybrid.data.splits import split_documents
from arxiv_hybrid.params import Split
from arxiv_hybrid.reporting.audit_page import audit_page


class Tags(HTMLParser):
    """Collects the open tags and all URLs."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for key, value in attrs if key in ("href", "src")]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def render(
    report: dict[str, Any],
    rows: pd.DataFrame,
    splits: dict[str, pd.DataFrame],
    pairs: pd.DataFrame,
) -> str:
    months, rising = by_month(splits), rising_words(splits["train"], splits["test"])
    return audit_page(report, rows, source="csv", pairs=pairs, months=months, rising=rising)


def test_page_shows_the_audit_and_loads_nothing() -> None:
    rows = random_papers()
    rows.loc[110, "abstract"] = rows.loc[4, "abstract"]
    rows.loc[110, "id"] = "<b>mine</b>"
    splits = split_rows(rows)
    pairs = near_duplicates(splits)
    report = audit_report(
        rows, splits, scheme="primary", label_set=CLASSES, ceiling=None, pairs=pairs
    )
    assert report["leakage"]["train_and_test"]["near_duplicates"] == 1
    assert report["leakage"]["train_and_val"]["near_duplicates"] == 0
    page = render(report, rows, splits, pairs)
    tags = Tags()
    tags.feed(page)
    assert not tags.open
    assert set(tags.links) == {"data:,", "https://arxiv.org/abs/2505.00004"}
    assert "&lt;b&gt;mine&lt;/b&gt;" in page
    assert "<script" not in page
    assert "2025-06" in page


def test_page_reports_that_the_published_split_leaks() -> None:
    rows = random_papers()
    twice = pd.concat([rows, rows.assign(category="cs.LG")], ignore_index=True)
    split = Split(by="row", val=0.15, test=0.15, seed=1)
    splits = split_documents(twice, split, CLASSES)
    pairs = near_duplicates(splits)
    report = audit_report(
        twice, splits, scheme="query", label_set=CLASSES, ceiling=None, pairs=pairs
    )
    share = report["leakage"]["train_and_test"]["share"]
    assert share > 0.5
    page = render(report, twice, splits, pairs)
    assert f"<b>{share * 100:.1f}\N{NO-BREAK SPACE}%</b> of the test rows" in page
