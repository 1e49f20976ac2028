"""Drift over time: documents and unknown words per month, words that become more frequent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd
from scipy.stats import norm

from arxiv_hybrid.data.identifiers import month_of
from arxiv_hybrid.data.table import PaperTable, Texts
from arxiv_hybrid.text.token_ids import TokenIds

_MIN_EXPECTED = 5  # papers on either side, for the normal approximation
_SIGNIFICANCE = 0.05
_MAX_MONTHS = 36  # with more months, documents are counted by year


def tokens_of(before: PaperTable, after: PaperTable) -> TokenIds:
    """The tokens of the papers before and after, in this order."""
    return TokenIds.of(chain(Texts(before), Texts(after)))


def by_month(splits: Mapping[str, PaperTable], tokens: TokenIds | None = None) -> pd.DataFrame:
    """Count the documents of each split per month, or per year if there are more than 36 months.

    Also count the test words that are unknown.

    splits: rows with id, published, title and abstract, by the name of the split; `train`
    and `test` are required. tokens: of these two, if they are there already. Returns the columns
    month, one per split, and unknown_words (a share; NaN in months without test papers).
    """
    tokens = tokens or tokens_of(splits["train"], splits["test"])
    months = {name: _months(part) for name, part in splits.items()}
    if len(set().union(*map(set, months.values()))) > _MAX_MONTHS:
        months = {
            name: month.str.replace(r"-\d\d$", "", regex=True) for name, month in months.items()
        }
    counts = pd.DataFrame({name: month.value_counts() for name, month in months.items()})
    counts = counts.fillna(0).astype(int).sort_index()
    train = len(splits["train"])
    known = tokens.first(train).totals() > 0
    unknown = np.concatenate(
        [np.bincount(text, ~known[ids], number) for ids, text, number in tokens.blocks(first=train)]
    )
    token_counts = pd.DataFrame(
        {
            "month": months["test"].to_numpy(),
            "tokens": tokens.lengths[train:],
            "unknown": unknown,
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


def rising_words(
    before: PaperTable, after: PaperTable, number: int = 12, *, tokens: TokenIds | None = None
) -> RisingWords:
    """Find words that a larger share of papers uses in `after` than in `before`.

    z is the difference of the shares over its standard error under equal shares. It counts
    papers, not occurrences, because one paper repeats its words. Words that are too rare for
    the normal approximation are left out. Both tables need papers. tokens: see `by_month`.
    """
    tokens = tokens or tokens_of(before, after)
    first = [~part["id"].duplicated().to_numpy() for part in (before, after)]
    sizes = int(first[0].sum()), int(first[1].sum())
    places = np.arange(len(tokens)) < len(before)
    rows = np.concatenate(first)
    found = [tokens.papers_with(rows & side) for side in (places, ~places)]
    min_count = _MIN_EXPECTED * sum(sizes) / min(sizes)
    frequent = np.flatnonzero(found[0] + found[1] >= min_count)
    words = sorted((tokens.words[place], int(place)) for place in frequent)
    counts = [np.array([count[place] for _, place in words], dtype=float) for count in found]
    shares = [count / size for count, size in zip(counts, sizes, strict=True)]
    pooled = sum(counts) / sum(sizes)
    error = np.sqrt(pooled * (1 - pooled) * (1 / sizes[0] + 1 / sizes[1]))
    z = (shares[1] - shares[0]) / np.where(error > 0, error, 1)
    columns = {"word": [word for word, _ in words], "before": shares[0], "after": shares[1], "z": z}
    table = pd.DataFrame(columns).nlargest(number, "z").reset_index(drop=True)
    critical_z = float(norm.isf(_SIGNIFICANCE / max(len(words), 1)))
    return RisingWords(table, len(words), critical_z)


def _months(part: PaperTable) -> pd.Series:
    pairs: Iterable[tuple[str, str]] = zip(part["id"], part["published"], strict=True)
    return pd.Series([month_of(identifier, published) for identifier, published in pairs])
