"""Drift: months, unknown words, rising words."""

from __future__ import annotations

import numpy as np
import pytest
from random_papers import WORDS, random_papers, split_rows

from arxiv_hybrid.audit.drift import by_month, rising_words
from arxiv_hybrid.data.identifiers import month_of


def test_months_count_documents_and_unknown_words() -> None:
    rows = random_papers()
    rows.loc[rows.index[100:], "abstract"] = "seen " * 9 + "unseen"
    rows.loc[0, "abstract"] = "seen a study of"
    rows.loc[100:, "title"] = "a study"
    splits = split_rows(rows)
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
def test_month_comes_from_the_date_or_the_id(identifier: str, published: str, month: str) -> None:
    assert month_of(identifier, published) == month


def test_rising_words_count_papers_not_repetitions() -> None:
    rows = random_papers()
    rows.loc[60:, "abstract"] += " agentic"
    rows.loc[101, "abstract"] += " echo" * 200
    rising = rising_words(rows[:60], rows[60:])
    assert rising.critical_z < 5
    assert rising.table.loc[0, "word"] == "agentic"
    assert rising.table.loc[0, ["before", "after"]].tolist() == [0.0, 1.0]
    expected = 120**0.5  # 1 / sqrt(0.5 * 0.5 * (1/60 + 1/60))
    assert rising.table.loc[0, "z"] == pytest.approx(expected)
    assert "echo" not in set(rising.table["word"]), "only one paper repeats it"


def test_without_a_change_few_words_exceed_the_critical_z() -> None:
    exceeded = 0
    for seed in range(20):
        rows = random_papers(count=200, words=0, seed=seed)
        random = np.random.default_rng(seed)
        rows["abstract"] = [" ".join(random.choice(WORDS[:500], 40)) for _ in range(200)]
        rising = rising_words(rows[:100], rows[100:])
        assert rising.tested > 200
        exceeded += bool((rising.table["z"] > rising.critical_z).any())
    assert exceeded <= 5, "one of twenty is expected"


def test_many_months_are_counted_by_year() -> None:
    rows = random_papers()
    years = [f"{2015 + number % 5}-{1 + number % 12:02}-01" for number in range(120)]
    months = by_month(split_rows(rows.assign(published=years)))
    assert months["month"].tolist() == ["2015", "2016", "2017", "2018", "2019"]
    assert months[["train", "val", "test"]].to_numpy().sum() == 120
