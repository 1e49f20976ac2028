"""Near-duplicate papers across splits: similar texts under different ids.

Similarity is the Jaccard similarity of two texts' shingles, their runs of five words (Broder
1997). Candidate pairs share one of each text's rarest shingles. This is the prefix filter of
Chaudhuri, Ganti and Kaushik (2006): two texts with half of their shingles in common must share
one among the rarer half of each, so no pair is missed.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer

from arxiv_hybrid.data.identifiers import text_key
from arxiv_hybrid.data.table import texts_of
from arxiv_hybrid.system.ticker import Progress

SIMILARITY_THRESHOLD = 0.5  # edited copies reach it; two papers on one topic stay far below
_SHINGLE_WORDS = 5
_ROWS_PER_BLOCK, _PAIRS_PER_BLOCK, _VALUES_PER_BLOCK = 2048, 100_000, 4_000_000
_COLUMNS = ["first", "second", "first_splits", "second_splits", "similarity", "same_label"]

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]
_Pairs = tuple[_Ints, _Ints, _Floats]  # row numbers of both texts, and their similarity


def near_duplicates(splits: dict[str, pd.DataFrame], *, multi_label: bool = False) -> pd.DataFrame:
    """Find pairs of papers with different ids and similar texts in different splits.

    splits: rows with id, title, abstract and label, or with several labels per paper `labels`, by
    name of the split. Returns one row per pair, the most similar first: first and second (ids),
    first_splits and second_splits (the names of all splits that contain the paper, joined by
    commas), similarity (from `SIMILARITY_THRESHOLD` to 1), and same_label (whether the papers share
    a label).
    """
    rows = pd.concat(
        [part[["id", "title", "abstract"]] for part in splits.values()], ignore_index=True
    ).drop_duplicates("id")
    first, second, similarity = _similar_texts(texts_of(rows))
    ids = rows["id"].to_numpy()
    pairs = pd.DataFrame({"first": ids[first], "second": ids[second], "similarity": similarity})
    names, labels = _places(splits, {*pairs["first"], *pairs["second"]}, multi_label)
    pairs["first_splits"] = pairs["first"].map(names).astype(str)
    pairs["second_splits"] = pairs["second"].map(names).astype(str)
    both = zip(pairs["first"], pairs["second"], strict=True)
    pairs["same_label"] = [bool(labels[a] & labels[b]) for a, b in both]
    in_one_split = ~pairs["first_splits"].str.contains(",")
    across = pairs[~(in_one_split & (pairs["first_splits"] == pairs["second_splits"]))]
    order = ["similarity", "first", "second"]
    return across.sort_values(order, ascending=[False, True, True], ignore_index=True)[_COLUMNS]


def _places(
    splits: dict[str, pd.DataFrame], ids: set[str], multi_label: bool
) -> tuple[dict[str, str], dict[str, set[int]]]:
    """The splits of each of these papers, joined by commas, and its labels."""
    names: dict[str, str] = {}
    labels: dict[str, set[int]] = {identifier: set() for identifier in ids}
    for name, part in splits.items():
        chosen = part[part["id"].isin(ids)]
        for identifier in chosen["id"].unique():
            names[identifier] = f"{names[identifier]},{name}" if identifier in names else name
        column = chosen["labels"] if multi_label else chosen["label"]
        for identifier, numbers in zip(chosen["id"], column, strict=True):
            labels[identifier].update(np.atleast_1d(numbers).tolist())
    return names, labels


def _similar_texts(texts: pd.Series) -> _Pairs:
    """All pairs of similar texts; identical texts are compared with the others only once."""
    keys = pd.Series([hashlib.md5(text_key(text).encode()).digest() for text in texts])  # noqa: S324
    groups = keys.groupby(keys, sort=False).indices
    members = [np.asarray(rows, dtype=np.int64) for rows in groups.values()]
    representatives = np.array([rows[0] for rows in members], dtype=np.int64)
    shingles = _shingles(texts.iloc[representatives])
    sizes = np.diff(shingles.indptr)
    pairs = [_all_pairs(rows) for rows, size in zip(members, sizes, strict=True) if size]
    for a, b, similarity in zip(*_similar_rows(shingles), strict=True):
        first, second = np.meshgrid(members[a], members[b])
        pairs.append((first.ravel(), second.ravel(), np.full(first.size, similarity)))
    return _concatenate(pairs)


def _concatenate(pairs: list[_Pairs]) -> _Pairs:
    if not pairs:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    first, second, similarity = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return first, second, similarity


def _all_pairs(rows: _Ints) -> _Pairs:
    """All pairs of rows whose texts are identical."""
    a, b = np.triu_indices(len(rows), 1)
    return rows[a], rows[b], np.ones(len(a))


def _shingles(texts: pd.Series) -> sparse.csr_matrix:
    """Hashed shingles of each text: binary, shape (texts, 2**30)."""
    hashing = HashingVectorizer(
        token_pattern=r"[a-z0-9]+",  # noqa: S106 (not a password)
        ngram_range=(_SHINGLE_WORDS, _SHINGLE_WORDS),
        n_features=2**30,
        binary=True,
        norm=None,
        alternate_sign=False,
        dtype=np.float32,
    )
    starts = range(0, len(texts), _ROWS_PER_BLOCK)
    blocks = [texts.iloc[start : start + _ROWS_PER_BLOCK] for start in starts]
    progress = Progress(blocks, "near duplicates", unit="blocks of papers")
    return sparse.vstack([hashing.transform(block) for block in progress], format="csr")


def _rarest(shingles: sparse.csr_matrix) -> sparse.csr_matrix:
    """Keep only the rarest shingles of each text, as many as the prefix filter needs.

    Columns are renumbered. Most shingles occur in only one text and cannot form a pair: they are
    dropped first, because sorting them would take most of the memory.
    """
    sizes = np.diff(shingles.indptr)
    needed = sizes - np.ceil(SIMILARITY_THRESHOLD * sizes).astype(np.int64) + 1
    shared = _occurring_twice(shingles.indices)
    rows = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)[shared]
    column, counts = np.unique(shingles.indices[shared], return_inverse=True, return_counts=True)[
        1:
    ]
    column = column[np.lexsort((column, counts[column], rows))]  # in every row, rarest first
    left = np.bincount(rows, minlength=len(sizes))
    rank = np.arange(len(column)) - np.repeat(np.cumsum(left) - left, left)
    kept = rank < (needed - (sizes - left))[rows]  # the dropped ones are rarer
    ones = np.ones(int(kept.sum()), dtype=np.float32)
    return sparse.csr_matrix((ones, (rows[kept], column[kept])), (len(sizes), len(counts)))


def _occurring_twice(values: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Whether each value occurs at least twice, in the order of the values."""
    ordered = np.sort(values)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(repeated):
        return np.zeros(len(values), dtype=bool)
    result = np.empty(len(values), dtype=bool)
    for start in range(0, len(values), _VALUES_PER_BLOCK):
        block = values[start : start + _VALUES_PER_BLOCK]
        nearest = np.minimum(np.searchsorted(repeated, block), len(repeated) - 1)
        result[start : start + _VALUES_PER_BLOCK] = repeated[nearest] == block
    return result


def _similar_rows(shingles: sparse.csr_matrix) -> _Pairs:
    """All pairs of rows whose similarity reaches the threshold, each once."""
    rare = _rarest(shingles)
    transposed = rare.T.tocsr()
    pairs: list[_Pairs] = []
    starts = range(0, shingles.shape[0], _ROWS_PER_BLOCK)
    for start in Progress(starts, "similar papers", unit="blocks of papers"):
        common = (rare[start : start + _ROWS_PER_BLOCK] @ transposed).tocoo()
        a, b = start + common.row.astype(np.int64), common.col.astype(np.int64)
        a, b = a[a < b], b[a < b]
        pairs += [
            _verify(
                shingles, a[block : block + _PAIRS_PER_BLOCK], b[block : block + _PAIRS_PER_BLOCK]
            )
            for block in range(0, len(a), _PAIRS_PER_BLOCK)
        ]
    return _concatenate(pairs)


def _verify(shingles: sparse.csr_matrix, a: _Ints, b: _Ints) -> _Pairs:
    """Keep the candidate pairs whose Jaccard similarity reaches the threshold."""
    sizes = np.diff(shingles.indptr)
    smaller, larger = np.minimum(sizes[a], sizes[b]), np.maximum(sizes[a], sizes[b])
    possible = smaller >= SIMILARITY_THRESHOLD * larger
    a, b = a[possible], b[possible]
    common = np.asarray(shingles[a].multiply(shingles[b]).sum(1), dtype=np.float64).ravel()
    similarity = common / np.maximum(sizes[a] + sizes[b] - common, 1)
    similar = similarity >= SIMILARITY_THRESHOLD
    return a[similar], b[similar], similarity[similar]
