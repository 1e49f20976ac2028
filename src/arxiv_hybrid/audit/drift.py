"""How the papers change with time: counts and unknown words by month, words on the rise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd
from scipy.stats import norm

from arxiv_hybrid.data.identifiers import submitted
from arxiv_hybrid.data.table import texts_of
from arxiv_hybrid.text.tokenize import tokenize_all

UNKNOWN = "unknown"
_FEWEST = 5  # papers expected on either side


def month_of(identifier: str, published: str) -> str:
    """YYYY-MM of the date, or of an arXiv id where there is none, or `unknown`."""
    if published:
        return published[:7]
    came = submitted(identifier)
    return f"{came.year}-{came.month:02}" if came else UNKNOWN


def by_month(splits: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Documents of each split by month, and how many of the test words no training paper has.

    splits: rows with id, published, title and abstract, by name, `train` and `test` among
    them. Columns: month, one a split, unknown_words (a share; empty in months without test
    papers).
    """
    months = {name: _months(part) for name, part in splits.items()}
    counts = pd.DataFrame({name: month.value_counts() for name, month in months.items()})
    counts = counts.fillna(0).astype(int).sort_index()
    known = {word for document in _tokens(splits["train"]) for word in document}
    test = _tokens(splits["test"])
    words = pd.DataFrame(
        {
            "month": months["test"].to_numpy(),
            "words": [len(document) for document in test],
            "unknown": [sum(word not in known for word in document) for document in test],
        }
    )
    sums = words.groupby("month").sum()
    counts["unknown_words"] = sums["unknown"] / sums["words"]
    return counts.rename_axis("month").reset_index()


@dataclass(frozen=True)
class Rising:
    """Words on the rise: columns word, before, after (shares of papers) and z.

    `chance` is the z that, without any change, the luckiest of all `tested` words exceeds in
    one of twenty cases.
    """

    words: pd.DataFrame
    tested: int
    chance: float


def rising_words(before: pd.DataFrame, after: pd.DataFrame, number: int = 12) -> Rising:
    """Words that a larger share of papers uses in `after` than in `before`; both need papers.

    z is the difference over its standard error under equal shares. Papers are counted, not
    occurrences, because one paper repeats its words; words too rare for a normal
    approximation (fewer than five papers expected on either side) are left out.
    """
    old, new = (
        Counter(chain.from_iterable(map(set, _tokens(part.drop_duplicates("id")))))
        for part in (before, after)
    )
    sizes = before["id"].nunique(), after["id"].nunique()
    everywhere = old + new
    enough = _FEWEST * sum(sizes) / min(sizes)
    words = sorted(word for word, count in everywhere.items() if count >= enough)
    counts = [np.array([count[word] for word in words], dtype=float) for count in (old, new)]
    shares = [count / size for count, size in zip(counts, sizes, strict=True)]
    pooled = sum(counts) / sum(sizes)
    error = np.sqrt(pooled * (1 - pooled) * (1 / sizes[0] + 1 / sizes[1]))
    z = (shares[1] - shares[0]) / np.where(error > 0, error, 1)
    table = pd.DataFrame({"word": words, "before": shares[0], "after": shares[1], "z": z})
    chance = float(norm.isf(0.05 / max(len(words), 1)))
    return Rising(table.nlargest(number, "z").reset_index(drop=True), len(words), chance)


def _months(part: pd.DataFrame) -> pd.Series:
    pairs: Iterable[tuple[str, str]] = zip(part["id"], part["published"], strict=True)
    return pd.Series([month_of(identifier, published) for identifier, published in pairs])


def _tokens(part: pd.DataFrame) -> list[list[str]]:
    return tokenize_all(texts_of(part))
