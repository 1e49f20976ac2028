"""Drift over time: documents and unknown words per month, words that become more frequent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd
from scipy.stats import norm

from arxiv_hybrid.data.identifiers import month_of
from arxiv_hybrid.data.table import texts_of
from arxiv_hybrid.text.tokenize import tokenize_all

_MIN_EXPECTED = 5  # papers on either side, for the normal approximation
_SIGNIFICANCE = 0.05
_MAX_MONTHS = 36  # with more months, documents are counted by year


def by_month(splits: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Count the documents of each split per month, or per year if there are more than 36 months.

    Also count the test words that are unknown.

    splits: rows with id, published, title and abstract, by the name of the split; `train`
    and `test` are required. Returns the columns month, one per split, and unknown_words (a share;
    NaN in months without test papers).
    """
    months = {name: _months(part) for name, part in splits.items()}
    if len(set().union(*map(set, months.values()))) > _MAX_MONTHS:
        months = {
            name: month.str.replace(r"-\d\d$", "", regex=True) for name, month in months.items()
        }
    counts = pd.DataFrame({name: month.value_counts() for name, month in months.items()})
    counts = counts.fillna(0).astype(int).sort_index()
    known = {token for tokens in _tokens(splits["train"]) for token in tokens}
    test = _tokens(splits["test"])
    token_counts = pd.DataFrame(
        {
            "month": months["test"].to_numpy(),
            "tokens": [len(tokens) for tokens in test],
            "unknown": [sum(token not in known for token in tokens) for tokens in test],
        }
    )
    sums = token_counts.groupby("month").sum()
    counts["unknown_words"] = sums["unknown"] / sums["tokens"]
    return counts.rename_axis("month").reset_index()


@dataclass(frozen=True)
class RisingWords:
    """The words that rose most, with columns word, before, after (shares of papers) and z.

    tested: number of words compared. critical_z: if nothing changed, the largest z of all
    `tested` words would exceed it with a probability of 5 % (Bonferroni).
    """

    table: pd.DataFrame
    tested: int
    critical_z: float


def rising_words(before: pd.DataFrame, after: pd.DataFrame, number: int = 12) -> RisingWords:
    """Find words that a larger share of papers uses in `after` than in `before`.

    z is the difference of the shares over its standard error under equal shares. It counts
    papers, not occurrences, because one paper repeats its words. Words that are too rare for
    the normal approximation are left out. Both tables need papers.
    """
    counters = [
        Counter(chain.from_iterable(map(set, _tokens(part.drop_duplicates("id")))))
        for part in (before, after)
    ]
    sizes = before["id"].nunique(), after["id"].nunique()
    total = counters[0] + counters[1]
    min_count = _MIN_EXPECTED * sum(sizes) / min(sizes)
    words = sorted(word for word, count in total.items() if count >= min_count)
    counts = [np.array([counter[word] for word in words], dtype=float) for counter in counters]
    shares = [count / size for count, size in zip(counts, sizes, strict=True)]
    pooled = sum(counts) / sum(sizes)
    error = np.sqrt(pooled * (1 - pooled) * (1 / sizes[0] + 1 / sizes[1]))
    z = (shares[1] - shares[0]) / np.where(error > 0, error, 1)
    table = pd.DataFrame({"word": words, "before": shares[0], "after": shares[1], "z": z})
    critical_z = float(norm.isf(_SIGNIFICANCE / max(len(words), 1)))
    return RisingWords(table.nlargest(number, "z").reset_index(drop=True), len(words), critical_z)


def _months(part: pd.DataFrame) -> pd.Series:
    pairs: Iterable[tuple[str, str]] = zip(part["id"], part["published"], strict=True)
    return pd.Series([month_of(identifier, published) for identifier, published in pairs])


def _tokens(part: pd.DataFrame) -> list[list[str]]:
    return tokenize_all(texts_of(part))
