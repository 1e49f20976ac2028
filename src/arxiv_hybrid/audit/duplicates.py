"""Papers whose texts are nearly the same although their ids differ: a leak that ids do not show.

Two texts are compared by the share of five-word runs that they have in common (Jaccard
similarity of their shingles, Broder 1997). Pairs are found by each text's rarest runs: two
texts that share half of their runs share one among the rarer half of each (the prefix filter
of Chaudhuri, Ganti and Kaushik 2006), so that none is missed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer
from tqdm import tqdm

from arxiv_hybrid.data.identifiers import text_key
from arxiv_hybrid.data.table import texts_of

SIMILAR = 0.5  # half of all five-word runs of both are common: one text edited, not one topic
_RUN = 5  # words
_ROWS, _PAIRS = 2048, 100_000  # at a time
_COLUMNS = ["first", "second", "first_splits", "second_splits", "similarity", "same_label"]

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


def near_duplicates(splits: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Pairs of papers with different ids and similar texts that stand in different splits.

    splits: rows with id, title, abstract and label by name of the split. One row a pair, the
    most similar first: first and second (ids), first_splits and second_splits (the names of
    all splits that hold the paper, joined by commas), similarity (from `SIMILAR` to 1), and
    same_label (whether the two have a label in common).
    """
    rows = pd.concat([part.assign(split=name) for name, part in splits.items()], ignore_index=True)
    papers = rows.drop_duplicates("id").set_index("id")
    grouped = rows.groupby("id", sort=False)
    held = grouped["split"].agg(lambda names: ",".join(n for n in splits if n in set(names)))
    labels = grouped["label"].agg(frozenset)
    first, second, similarity = _pairs(texts_of(papers))
    ids = papers.index.to_numpy()
    pairs = pd.DataFrame({"first": ids[first], "second": ids[second], "similarity": similarity})
    pairs["first_splits"] = pairs["first"].map(held).astype(str)
    pairs["second_splits"] = pairs["second"].map(held).astype(str)
    both = zip(pairs["first"].map(labels), pairs["second"].map(labels), strict=True)
    pairs["same_label"] = [bool(a & b) for a, b in both]
    one_split = ~pairs["first_splits"].str.contains(",")
    apart = pairs[~(one_split & (pairs["first_splits"] == pairs["second_splits"]))]
    order = ["similarity", "first", "second"]
    return apart.sort_values(order, ascending=[False, True, True], ignore_index=True)[_COLUMNS]


def _pairs(texts: pd.Series) -> tuple[_Ints, _Ints, _Floats]:
    """Numbers of similar texts, each pair once, and how similar they are."""
    same = texts.map(text_key).reset_index(drop=True)
    groups = same.groupby(same, sort=False).indices
    members = [np.asarray(rows, dtype=np.int64) for rows in groups.values()]
    kept = np.array([rows[0] for rows in members], dtype=np.int64)
    runs = _runs(texts.iloc[kept])
    sizes = np.diff(runs.indptr)
    found = [_within(rows) for rows, size in zip(members, sizes, strict=True) if size]
    for a, b, similarity in zip(*_similar(runs), strict=True):
        one, two = np.meshgrid(members[a], members[b])
        found.append((one.ravel(), two.ravel(), np.full(one.size, similarity)))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    first, second, similarities = (np.concatenate(side) for side in zip(*found, strict=True))
    return first, second, similarities


def _within(rows: _Ints) -> tuple[_Ints, _Ints, _Floats]:
    """All pairs of texts that are the same."""
    a, b = np.triu_indices(len(rows), 1)
    return rows[a], rows[b], np.ones(len(a))


def _runs(texts: pd.Series) -> sparse.csr_matrix:
    """Which runs of words each text has, by hash; shape (texts, 2**30)."""
    hashing = HashingVectorizer(
        token_pattern=r"[a-z0-9]+",  # noqa: S106 (no password)
        ngram_range=(_RUN, _RUN),
        n_features=2**30,
        binary=True,
        norm=None,
        alternate_sign=False,
        dtype=np.float32,
    )
    blocks = [texts.iloc[start : start + _ROWS] for start in range(0, len(texts), _ROWS)]
    progress = tqdm(blocks, desc="near duplicates", unit="block", disable=None, leave=False)
    return sparse.vstack([hashing.transform(block) for block in progress], format="csr")


def _rarest(runs: sparse.csr_matrix) -> sparse.csr_matrix:
    """Of each text as many of its rarest runs as the prefix filter needs, numbered anew.

    Runs of a single text are left out: they make no pair.
    """
    sizes = np.diff(runs.indptr)
    number, counts = np.unique(runs.indices, return_inverse=True, return_counts=True)[1:]
    rows = np.repeat(np.arange(len(sizes)), sizes)
    number = number[np.lexsort((number, counts[number], rows))]  # rarest first in every row
    place = np.arange(len(number)) - runs.indptr[rows]
    needed = sizes - np.ceil(SIMILAR * sizes).astype(np.int64) + 1
    kept = (place < needed[rows]) & (counts[number] > 1)
    ones = np.ones(int(kept.sum()), dtype=np.float32)
    return sparse.csr_matrix((ones, (rows[kept], number[kept])), (len(sizes), len(counts)))


def _similar(runs: sparse.csr_matrix) -> tuple[_Ints, _Ints, _Floats]:
    """Rows that are similar, each pair once, and how much."""
    rare = _rarest(runs)
    other = rare.T.tocsr()
    found: list[tuple[_Ints, _Ints, _Floats]] = [
        (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    ]
    for start in range(0, runs.shape[0], _ROWS):
        common = (rare[start : start + _ROWS] @ other).tocoo()
        a, b = start + common.row.astype(np.int64), common.col.astype(np.int64)
        a, b = a[a < b], b[a < b]
        found += [
            _close(runs, a[piece : piece + _PAIRS], b[piece : piece + _PAIRS])
            for piece in range(0, len(a), _PAIRS)
        ]
    first, second, similarities = (np.concatenate(side) for side in zip(*found, strict=True))
    return first, second, similarities


def _close(runs: sparse.csr_matrix, a: _Ints, b: _Ints) -> tuple[_Ints, _Ints, _Floats]:
    """Those of the candidates that are similar, by all of their runs."""
    sizes = np.diff(runs.indptr)
    likely = np.minimum(sizes[a], sizes[b]) >= SIMILAR * np.maximum(sizes[a], sizes[b])
    a, b = a[likely], b[likely]
    shared = np.asarray(runs[a].multiply(runs[b]).sum(1), dtype=np.float64).ravel()
    similarity = shared / np.maximum(sizes[a] + sizes[b] - shared, 1)
    close = similarity >= SIMILAR
    return a[close], b[close], similarity[close]
