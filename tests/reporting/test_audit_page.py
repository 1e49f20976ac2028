"""The audit page: it shows the results of the audit, and loads nothing from other hosts."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pandas as pd
from conftest import CLASSES
from random_papers import PRIMARY, random_papers, split_rows

from arxiv_hybrid.audit.drift import by_month, rising_words
from arxiv_hybrid.audit.duplicates import near_duplicates
from arxiv_hybrid.audit.report import audit_report
from arxiv_hybrid.data.class_groups import by_archive
from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.data.splits import split_documents
from arxiv_hybrid.params import Labels, Split
from arxiv_hybrid.reporting.audit_page import audit_page
from arxiv_hybrid.taxonomy.categories import categories


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


def page_about(
    rows: pd.DataFrame,
    splits: dict[str, pd.DataFrame],
    labels: Labels = PRIMARY,
    label_set: LabelSet = CLASSES,
    ceiling: dict[str, float] | None = None,
) -> tuple[str, dict[str, Any]]:
    """The audit page and the report that it shows; the page is well-formed."""
    pairs = near_duplicates(splits, multi_label=label_set.multi_label)
    report = audit_report(rows, splits, labels, label_set, ceiling=ceiling, pairs=pairs)
    months, rising = by_month(splits), rising_words(splits["train"], splits["test"])
    origin = {
        "source": "csv",
        "ceiling": ceiling,
        "lines": 9999,
        "relabelled_rows": 7,
        "missing": 0,
    }
    page = audit_page(
        report, splits, label_set, origin=origin, pairs=pairs, months=months, rising=rising
    )
    tags = Tags()
    tags.feed(page)
    assert not tags.open
    assert "<script" not in page
    assert not re.search(r"\bnan\b|\bNone\b", page)
    assert "<table>\n</table>" not in page
    assert set(tags.links) <= {"data:,", "https://arxiv.org/abs/2505.00004"}
    return page, report


def test_page_shows_the_audit_and_loads_nothing() -> None:
    rows = random_papers()
    rows.loc[110, "abstract"] = rows.loc[4, "abstract"]
    rows.loc[110, "id"] = "<b>mine</b>"
    page, report = page_about(rows, split_rows(rows))
    assert report["leakage"]["train_and_test"]["near_duplicates"] == 1
    assert report["leakage"]["train_and_val"]["near_duplicates"] == 0
    assert "https://arxiv.org/abs/2505.00004" in page
    assert "&lt;b&gt;mine&lt;/b&gt;" in page
    assert "2025-06" in page
    assert "When they were read: 7 relabelled rows." in page
    assert "several labels" not in page


def test_page_reports_that_the_published_split_leaks() -> None:
    rows = random_papers()
    twice = pd.concat([rows, rows.assign(category="cs.LG")], ignore_index=True)
    split = Split(by="row", val=0.15, test=0.15, seed=1)
    query = Labels.model_validate({"from": "query", "classes": 3})
    page, report = page_about(twice, split_documents(twice, split, CLASSES), query)
    share = report["leakage"]["train_and_test"]["share"]
    assert share > 0.5
    assert f"<b>{share * 100:.1f}\N{NO-BREAK SPACE}%</b> of the test rows" in page


def test_a_ceiling_is_shown_only_if_it_limits_something() -> None:
    rows = random_papers()
    page, _ = page_about(rows, split_rows(rows), ceiling={"3": 0.875})
    assert "87.5\N{NO-BREAK SPACE}%</b> is the highest accuracy" in page
    page, _ = page_about(rows, split_rows(rows))
    assert "highest accuracy" not in page


def test_several_labels_of_many_classes() -> None:
    names = tuple(categories())
    rows = random_papers()
    rows["labels"] = [[number, 100 + number % 3] for number in range(99)] + [[5]] * 21
    rows["label"] = [labels[0] for labels in rows["labels"]]
    kept = names[:110]
    label_set = LabelSet(kept, True, {name: (name,) for name in kept})
    listed = Labels.model_validate({"from": "listed", "classes": "all"})
    page, _ = page_about(rows, split_rows(rows), listed, label_set)
    assert "cs (Computer Science): " in page
    assert page.count("<details>") == len(by_archive(label_set)) > 5
    for name in kept:
        assert page.count(f"<td>{name}</td>") >= 1, "every class is on the page"
    assert "1.82</b> labels per paper" in page
    assert "oracle" not in page.replace("no oracle", "")
    assert f"{len(names) - 110} classes are left out" in page


def test_own_labels_without_dates_leave_no_gaps() -> None:
    rows = random_papers().assign(
        id=[f"row-{number}" for number in range(120)],
        category="",
        primary_category="",
        all_categories="",
        published="",
    )
    column = Labels.model_validate({"from": "column", "classes": "auto"})
    page, _ = page_about(rows, split_rows(rows), column, LabelSet(("x", "y", "z")))
    assert "The papers have no dates" in page
    assert "list both classes" not in page
    assert "unknown test words" not in page
