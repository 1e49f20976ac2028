"""Papers whose texts are nearly the same although their ids differ: a leak that ids do not show.

Two texts are compared by the share of five-word runs that they have in common (Jaccard
similarity of their shingles, Broder 1997).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer

SIMILAR = 0.5  # half of all five-word runs of both are common: one text edited, not one topic
RUN = 5  # words
_COMMON = 100  # a run in more texts than this is a phrase of the field, and finds no candidates
_ROWS = 4096  # at a time
COLUMNS = ["first", "second", "first_split", "second_split", "similarity", "same_label"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def near_duplicates(splits: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Pairs of papers on two sides of the split, with different ids and similar texts.

    splits: rows with id, title, abstract and label by name of the split. Columns of the
    result as in `COLUMNS`, the most similar first; similarity from `SIMILAR` to 1.
    """
    once = {name: part.drop_duplicates("id") for name, part in splits.items()}
    papers = pd.concat([part.assign(split=name) for name, part in once.items()], ignore_index=True)
    runs = _runs(papers["title"] + " " + papers["abstract"])
    rare = _rare(runs)
    rows = {name: np.flatnonzero(papers["split"] == name) for name in once}
    parts = [_similar(runs, rare, rows[a], rows[b]) for a, b in combinations(once, 2)]
    first, second, similarity = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    pairs = pd.DataFrame(
        {
            "first": papers["id"].to_numpy()[first],
            "second": papers["id"].to_numpy()[second],
            "first_split": papers["split"].to_numpy()[first],
            "second_split": papers["split"].to_numpy()[second],
            "similarity": similarity,
            "same_label": papers["label"].to_numpy()[first] == papers["label"].to_numpy()[second],
        }
    )
    pairs = pairs[pairs["first"] != pairs["second"]]
    order = ["similarity", "first", "second"]
    return pairs.sort_values(order, ascending=[False, True, True], ignore_index=True)[COLUMNS]


def _runs(texts: pd.Series) -> sparse.csr_matrix:
    """Which runs of words each text has, by hash; shape (texts, 2**30)."""
    hashing = HashingVectorizer(
        token_pattern=r"[a-z0-9]+",  # noqa: S106 (no password)
        ngram_range=(RUN, RUN),
        n_features=2**30,
        binary=True,
        norm=None,
        alternate_sign=False,
        dtype=np.float32,
    )
    return hashing.transform(texts)


def _rare(runs: sparse.csr_matrix) -> sparse.csr_matrix:
    """The columns that stand in some texts but not in many, numbered anew."""
    where, counts = np.unique(runs.indices, return_inverse=True, return_counts=True)[1:]
    useful = (counts > 1) & (counts <= _COMMON)
    kept = useful[where]
    columns = (np.cumsum(useful) - 1)[where[kept]]
    rows = np.repeat(np.arange(runs.shape[0]), np.diff(runs.indptr))[kept]
    ones = np.ones(len(rows), dtype=np.float32)
    return sparse.csr_matrix((ones, (rows, columns)), (runs.shape[0], int(useful.sum())))


def _similar(
    runs: sparse.csr_matrix, rare: sparse.csr_matrix, first: Ints, second: Ints
) -> tuple[Ints, Ints, Floats]:
    """Rows of `first` and of `second` that are similar, and how much."""
    sizes = np.diff(runs.indptr)
    other = rare[second].T.tocsr()
    candidates = []
    for start in range(0, len(first), _ROWS):
        chosen = first[start : start + _ROWS]
        common = (rare[chosen] @ other).tocoo()
        a, b = chosen[common.row], second[common.col]
        # phrases of the field were not counted, so half as many runs make a candidate
        likely = common.data >= SIMILAR / 2 * np.maximum(sizes[a], sizes[b])
        candidates.append((a[likely], b[likely]))
    a, b = (np.concatenate(side) for side in zip(*candidates, strict=True))
    shared = np.asarray(runs[a].multiply(runs[b]).sum(1)).ravel() if len(a) else np.zeros(0)
    similarity = shared / np.maximum(sizes[a] + sizes[b] - shared, 1)
    close = similarity >= SIMILAR
    return a[close], b[close], similarity[close]
