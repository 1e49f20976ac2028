"""What the audit finds: near duplicates, drift by month, and the page that tells of it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest

from arxiv_hybrid.audit.drift import by_month, month_of, rising_words
from arxiv_hybrid.audit.duplicates import SIMILAR, near_duplicates
from arxiv_hybrid.audit.labels import audit
from arxiv_hybrid.data.splits import split_documents
from arxiv_hybrid.reporting.audit_page import audit_page

WORDS = [f"word{i}" for i in range(3000)]


def papers(count: int = 120, words: int = 160, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": [f"2505.{i:05}" for i in range(count)],
            "title": [f"A study of {random.choice(WORDS)}" for _ in range(count)],
            "abstract": [" ".join(random.choice(WORDS, words)) for _ in range(count)],
            "label": random.integers(3, size=count),
            "published": [f"2025-{5 + i % 2:02}-01" for i in range(count)],
            "category": "cs.AI",
            "primary_category": "cs.AI",
            "all_categories": "cs.AI,cs.LG",
        }
    )


def parts(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {"train": rows[:80].copy(), "val": rows[80:100].copy(), "test": rows[100:].copy()}


def jaccard(first: str, second: str) -> float:
    runs = []
    for text in (first, second):
        words = re.findall(r"[a-z0-9]+", text.lower())
        runs.append({tuple(words[i : i + 5]) for i in range(len(words) - 4)})
    return len(runs[0] & runs[1]) / len(runs[0] | runs[1])


def text(row: pd.Series) -> str:
    return f"{row['title']} {row['abstract']}"


def test_near_duplicates_are_those_of_the_definition() -> None:
    rows = papers()
    for offset, edits in enumerate((0, 4, 10, 16, 24, 40)):
        words = rows.loc[offset, "abstract"].split()
        for at in np.linspace(2, 157, edits, dtype=int):
            words[at] = "changed"
        rows.loc[100 + offset, "abstract"] = " ".join(words)
    splits = parts(rows)
    pairs = near_duplicates(splits)
    expected = {
        (a["id"], b["id"]): jaccard(text(a), text(b))
        for first, second in (("train", "val"), ("train", "test"), ("val", "test"))
        for _, a in splits[first].iterrows()
        for _, b in splits[second].iterrows()
        if jaccard(text(a), text(b)) >= SIMILAR
    }
    assert 2 <= len(expected) < 6, "some of the edited papers must be too different"
    found = dict(
        zip(zip(pairs["first"], pairs["second"], strict=True), pairs["similarity"], strict=True)
    )
    assert found == pytest.approx(expected)
    assert pairs["similarity"].is_monotonic_decreasing
    assert (pairs["first_splits"] == "train").all()
    assert (pairs["second_splits"] == "test").all()


@pytest.mark.parametrize("copies", [40, 101])
def test_many_copies_of_a_text_are_all_found(copies: int) -> None:
    rows = papers(count=copies + 20)
    rows.loc[: copies - 1, "abstract"] = rows.loc[0, "abstract"]
    half = copies // 2
    splits = {"train": rows[:half], "val": rows[copies:], "test": rows[half:copies]}
    pairs = near_duplicates(splits)
    assert len(pairs) == half * (copies - half)
    report = audit(rows, splits, scheme="primary", classes=3, ceiling=None, pairs=pairs)
    assert report["leakage"]["train_and_test"]["near_duplicates"] == copies - half


def test_boilerplate_hides_no_pair() -> None:
    rows = papers(count=150, words=60)
    rows["abstract"] = " ".join(WORDS[:140]) + " " + rows["abstract"]
    rows.loc[149, "abstract"] = rows.loc[0, "abstract"]
    splits = {"train": rows[:80], "val": rows[80:100], "test": rows[100:]}
    pairs = near_duplicates(splits)
    expected = {
        (a["id"], b["id"])
        for first, second in (("train", "val"), ("train", "test"), ("val", "test"))
        for _, a in splits[first].iterrows()
        for _, b in splits[second].iterrows()
        if jaccard(text(a), text(b)) >= SIMILAR
    }
    found = {frozenset(pair) for pair in zip(pairs["first"], pairs["second"], strict=True)}
    assert found == {frozenset(pair) for pair in expected}
    assert frozenset(("2505.00000", "2505.00149")) in found


def test_a_pair_stands_once_with_all_its_splits() -> None:
    rows = papers()
    rows.loc[1, "abstract"] = rows.loc[0, "abstract"]
    both = rows[:2]
    splits = {"train": rows, "val": both.assign(label=2), "test": both.assign(label=1)}
    pairs = near_duplicates(splits)
    assert len(pairs) == 1
    assert pairs.loc[0, "first_splits"] == pairs.loc[0, "second_splits"] == "train,val,test"
    assert pairs.loc[0, "same_label"]


def test_a_paper_is_no_near_duplicate_of_itself_and_phrases_are_no_text() -> None:
    rows = papers()
    rows["abstract"] = "in this paper we propose a new method " + rows["abstract"]
    splits = parts(rows)
    splits["test"] = pd.concat([splits["test"], splits["train"][:3]], ignore_index=True)
    assert near_duplicates(splits).empty


def test_texts_shorter_than_a_run_match_nothing() -> None:
    rows = papers()
    rows["title"], rows["abstract"] = "One", "two three"
    assert near_duplicates(parts(rows)).empty


def test_months_count_documents_and_unknown_words() -> None:
    rows = papers()
    rows.loc[rows.index[100:], "abstract"] = "seen " * 9 + "unseen"
    rows.loc[0, "abstract"] = "seen a study of"
    rows.loc[100:, "title"] = "a study"
    splits = parts(rows)
    months = by_month(splits)
    assert list(months["month"]) == ["2025-05", "2025-06"]
    assert months[["train", "val", "test"]].to_numpy().tolist() == [[40, 10, 10], [40, 10, 10]]
    np.testing.assert_allclose(months["unknown_words"], 1 / 12)
    splits["test"] = splits["test"].assign(published="2025-07-01")
    later = by_month(splits)
    assert later["unknown_words"].isna().tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("identifier", "published", "month"),
    [
        ("2505.00001", "2025-06-30", "2025-06"),
        ("2505.00001", "", "2025-05"),
        ("cs/0112017", "", "2001-12"),
        ("mine/0112017", "", "unknown"),
        ("mine", "", "unknown"),
    ],
)
def test_a_month_is_of_the_date_or_of_the_id(identifier: str, published: str, month: str) -> None:
    assert month_of(identifier, published) == month


def test_rising_words_stand_out_by_papers_not_by_repetition() -> None:
    rows = papers()
    rows.loc[60:, "abstract"] += " agentic"
    rows.loc[101, "abstract"] += " echo" * 200
    found = rising_words(rows[:60], rows[60:])
    rising = found.words
    assert found.chance < 5
    assert rising.loc[0, "word"] == "agentic"
    assert rising.loc[0, ["before", "after"]].tolist() == [0.0, 1.0]
    assert rising.loc[0, "z"] == pytest.approx(120**0.5)  # 1 / sqrt(0.5 * 0.5 * (1/60 + 1/60))
    assert "echo" not in set(rising["word"]), "one paper's habit"


def test_without_a_change_few_words_exceed_chance() -> None:
    exceeded = 0
    for seed in range(20):
        rows = papers(count=200, words=0, seed=seed)
        random = np.random.default_rng(seed)
        rows["abstract"] = [" ".join(random.choice(WORDS[:500], 40)) for _ in range(200)]
        found = rising_words(rows[:100], rows[100:])
        assert found.tested > 200
        exceeded += bool((found.words["z"] > found.chance).any())
    assert exceeded <= 5, "one of twenty cases is expected"


class Tags(HTMLParser):
    """Collects which tags are open, and all addresses."""

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


def page_of(
    report: dict[str, Any],
    rows: pd.DataFrame,
    splits: dict[str, pd.DataFrame],
    pairs: pd.DataFrame,
) -> str:
    months, rising = by_month(splits), rising_words(splits["train"], splits["test"])
    return audit_page(report, rows, source="csv", pairs=pairs, months=months, rising=rising)


def test_the_page_tells_what_was_found_and_loads_nothing() -> None:
    rows = papers()
    rows.loc[110, "abstract"] = rows.loc[4, "abstract"]
    rows.loc[110, "id"] = "<b>mine</b>"
    splits = parts(rows)
    pairs = near_duplicates(splits)
    report = audit(rows, splits, scheme="primary", classes=3, ceiling=None, pairs=pairs)
    assert report["leakage"]["train_and_test"]["near_duplicates"] == 1
    assert report["leakage"]["train_and_val"]["near_duplicates"] == 0
    page = page_of(report, rows, splits, pairs)
    tags = Tags()
    tags.feed(page)
    assert not tags.open
    assert set(tags.links) == {"data:,", "https://arxiv.org/abs/2505.00004"}
    assert "&lt;b&gt;mine&lt;/b&gt;" in page
    assert "<script" not in page
    assert "2025-06" in page


def test_the_published_split_leaks_and_the_page_says_so() -> None:
    rows = papers()
    twice = pd.concat([rows, rows.assign(category="cs.LG")], ignore_index=True)
    splits = split_documents(twice, by="row", val=0.15, test=0.15, seed=1, classes=3)
    pairs = near_duplicates(splits)
    report = audit(twice, splits, scheme="query", classes=3, ceiling=None, pairs=pairs)
    share = report["leakage"]["train_and_test"]["share"]
    assert share > 0.5
    page = page_of(report, twice, splits, pairs)
    assert f"<b>{share * 100:.1f}\N{NO-BREAK SPACE}%</b> of the test rows" in page
