"""Near-duplicate papers across splits: similar texts under different ids.

Similarity is the Jaccard similarity of two texts' shingles, their runs of five words (Broder
1997). Candidate pairs share one of each text's rarest shingles. This is the prefix filter of
Chaudhuri, Ganti and Kaushik (2006): two texts with half of their shingles in common must share
one among the rarer half of each, so no pair is missed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, compress, islice

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from scipy.sparse import csgraph
from sklearn.feature_extraction.text import HashingVectorizer

from arxiv_hybrid.data.identifiers import text_key
from arxiv_hybrid.data.table import PaperTable, Texts
from arxiv_hybrid.system.number_file import NumberFile, repeated
from arxiv_hybrid.system.ticker import Progress

SIMILARITY_THRESHOLD = 0.5  # edited copies reach it; two papers on one topic stay far below
_SHINGLE_WORDS = 5
_HASHES = 1 << 30  # possible values of a shingle
_ROWS_PER_BLOCK, _PAIRS_PER_BLOCK = 2048, 100_000
_COLUMNS = ["first", "second", "first_splits", "second_splits", "similarity", "same_label"]

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]
_Pairs = tuple[_Ints, _Ints, _Floats]  # row numbers of both texts, and their similarity


def near_duplicates(splits: Mapping[str, PaperTable], *, multi_label: bool = False) -> pd.DataFrame:
    """Find pairs of papers with different ids and similar texts in different splits.

    splits: rows with id, title, abstract and label, or with several labels per paper `labels`, by
    name of the split. Returns one row per pair, the most similar first: first and second (ids),
    first_splits and second_splits (the names of all splits that contain the paper, joined by
    commas), similarity (from `SIMILARITY_THRESHOLD` to 1), and same_label (whether the papers share
    a label).
    """
    ids_of = {name: part["id"].to_numpy() for name, part in splits.items()}
    every = np.concatenate(list(ids_of.values()))
    once = ~pd.Series(every).duplicated().to_numpy()
    chosen = np.split(once, np.cumsum([len(part) for part in ids_of.values()])[:-1])
    texts = [Texts(part, rows) for part, rows in zip(splits.values(), chosen, strict=True)]
    first, second, similarity = _similar_texts(texts)
    ids = every[once]
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


def groups_of_copies(papers: PaperTable) -> _Ints:
    """A number (N,) for each of N rows; rows that are, or may be, one paper have the same.

    Rows are one paper if they have the same id, the same words in title and abstract, or similar
    texts (see `near_duplicates`), directly or by way of other rows.
    """
    texts = Texts(papers)
    words = np.fromiter(map(_text_hash, texts), np.uint64, len(papers))
    first, second, _ = _similar_texts([texts])
    edges = [np.stack([first, second])]
    for keys in (papers["id"].to_numpy(dtype=object), words):
        _, once, places = np.unique(pd.factorize(keys)[0], return_index=True, return_inverse=True)
        edges.append(np.stack([np.arange(len(papers)), once[places]]))
    rows, columns = np.concatenate(edges, axis=1)
    graph = sparse.coo_matrix((np.ones(len(rows), bool), (rows, columns)), (len(papers),) * 2)
    groups: _Ints = csgraph.connected_components(graph, directed=False)[1].astype(np.int64)
    return groups


def _places(
    splits: Mapping[str, PaperTable], ids: set[str], multi_label: bool
) -> tuple[dict[str, str], dict[str, set[int]]]:
    """The splits of each of these papers, joined by commas, and its labels."""
    names: dict[str, str] = {}
    labels: dict[str, set[int]] = {identifier: set() for identifier in ids}
    for name, part in splits.items():
        chosen = (found := part["id"]).isin(ids)
        for identifier in found[chosen].unique():
            names[identifier] = f"{names[identifier]},{name}" if identifier in names else name
        column = part["labels"] if multi_label else part["label"]
        for identifier, numbers in zip(found[chosen], column[chosen], strict=True):
            labels[identifier].update(np.atleast_1d(numbers).tolist())
    return names, labels


def _similar_texts(texts: Sequence[Texts]) -> _Pairs:
    """All pairs of similar texts; identical texts are compared with the others only once."""
    keys = np.fromiter(map(_text_hash, chain.from_iterable(texts)), np.uint64, sum(map(len, texts)))
    _, first, groups = np.unique(keys, return_index=True, return_inverse=True)
    members = _members(first[groups])
    representative = np.zeros(len(keys), dtype=bool)
    representative[first] = True
    rows = np.flatnonzero(representative)
    shingles = Shingles.of(compress(chain.from_iterable(texts), representative), len(rows))
    pairs = [
        _all_pairs(alike) for row, alike in members.items()
        if shingles.sizes[np.searchsorted(rows, row)]
    ]  # fmt: skip
    for a, b, similarity in zip(*_similar_rows(shingles), strict=True):
        alike = (members.get(int(rows[place]), rows[place : place + 1]) for place in (a, b))
        one, other = np.meshgrid(*alike)
        pairs.append((one.ravel(), other.ravel(), np.full(one.size, similarity)))
    return _concatenate(pairs)


def _text_hash(text: str) -> int:
    """64 bits of a text's words."""
    digest = hashlib.blake2b(text_key(text).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _members(representatives: _Ints) -> dict[int, _Ints]:
    """The rows of each text that occurs several times; representatives: the first one of each."""
    repeated = np.flatnonzero(representatives != np.arange(len(representatives)))
    result: dict[int, list[int]] = {}
    for row in repeated.tolist():
        first = int(representatives[row])
        result.setdefault(first, [first]).append(row)
    return {first: np.array(rows, dtype=np.int64) for first, rows in result.items()}


def _concatenate(pairs: list[_Pairs]) -> _Pairs:
    if not pairs:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    first, second, similarity = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return first, second, similarity


def _all_pairs(rows: _Ints) -> _Pairs:
    """All pairs of rows whose texts are identical."""
    a, b = np.triu_indices(len(rows), 1)
    return rows[a], rows[b], np.ones(len(a))


@dataclass(frozen=True)
class Shingles:
    """The hashed shingles of N texts, each once and rising; they are in a file, not in memory.

    hashes (T,): of all texts, one after the other. starts (N + 1,): where each text begins.
    """

    hashes: npt.NDArray[np.int32]
    starts: _Ints

    @classmethod
    def of(cls, texts: Iterable[str], number: int) -> Shingles:
        """number: of the texts."""
        hashing = HashingVectorizer(
            token_pattern=r"[a-z0-9]+",  # noqa: S106 (not a password)
            ngram_range=(_SHINGLE_WORDS, _SHINGLE_WORDS),
            n_features=_HASHES,
            binary=True,
            norm=None,
            alternate_sign=False,
            dtype=np.float32,
        )
        every = iter(texts)
        sizes: list[_Ints] = [np.zeros(1, np.int64)]
        hashes, blocks = NumberFile(np.int32), range(0, number, _ROWS_PER_BLOCK)
        for _ in Progress(blocks, "near duplicates", unit="blocks of papers"):
            block = hashing.transform(list(islice(every, _ROWS_PER_BLOCK)))
            hashes.append(block.indices)
            sizes.append(np.diff(block.indptr).astype(np.int64))
        return cls(hashes.array(), np.cumsum(np.concatenate(sizes)))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def sizes(self) -> _Ints:
        """The number of shingles of each text, (N,)."""
        return np.diff(self.starts)

    def matrix(self, rows: _Ints) -> sparse.csr_matrix:
        """The shingles of some texts: binary, (len(rows), 2**30)."""
        sizes = self.sizes[rows]
        ends = np.cumsum(sizes)
        places = np.arange(sizes.sum()) + np.repeat(self.starts[rows] - (ends - sizes), sizes)
        ones = np.ones(len(places), dtype=np.float32)
        starts = np.concatenate([[0], ends])
        return sparse.csr_matrix((ones, self.hashes[places], starts), (len(rows), _HASHES))


def _rarest(shingles: Shingles) -> sparse.csr_matrix:
    """Keep only the rarest shingles of each text, as many as the prefix filter needs.

    Columns are renumbered. Most shingles occur in only one text and cannot form a pair: they are
    dropped first.
    """
    hashes, counts = repeated(shingles.hashes)
    shared = np.zeros(_HASHES // 8, dtype=np.uint8)  # a bit for each shingle
    np.bitwise_or.at(shared, hashes >> 3, np.left_shift(1, hashes & 7).astype(np.uint8))
    sizes = shingles.sizes
    needed = sizes - np.ceil(SIMILARITY_THRESHOLD * sizes).astype(np.int64) + 1
    kept_rows, kept_columns = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for first in range(0, len(shingles), _ROWS_PER_BLOCK):
        end = min(first + _ROWS_PER_BLOCK, len(shingles))
        values = shingles.hashes[shingles.starts[first] : shingles.starts[end]]
        rows = np.repeat(np.arange(end - first), sizes[first:end])
        common = (shared[values >> 3] >> (values & 7).astype(np.uint8) & 1).astype(bool)
        rows, column = rows[common], np.searchsorted(hashes, values[common])
        column = column[np.lexsort((column, counts[column], rows))]  # in every row, rarest first
        left = np.bincount(rows, minlength=end - first)
        rank = np.arange(len(column)) - np.repeat(np.cumsum(left) - left, left)
        wanted = needed[first:end] - (sizes[first:end] - left)  # the dropped ones are rarer
        kept = rank < wanted[rows]
        kept_rows.append(first + rows[kept])
        kept_columns.append(column[kept])
    rows, columns = np.concatenate(kept_rows), np.concatenate(kept_columns)
    ones = np.ones(len(rows), dtype=np.float32)
    return sparse.csr_matrix((ones, (rows, columns)), (len(shingles), max(len(hashes), 1)))


def _similar_rows(shingles: Shingles) -> _Pairs:
    """All pairs of rows whose similarity reaches the threshold, each once."""
    rare = _rarest(shingles)
    transposed = rare.T.tocsr()
    pairs: list[_Pairs] = []
    starts = range(0, len(shingles), _ROWS_PER_BLOCK)
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


def _verify(shingles: Shingles, a: _Ints, b: _Ints) -> _Pairs:
    """Keep the candidate pairs whose Jaccard similarity reaches the threshold."""
    sizes = shingles.sizes
    smaller, larger = np.minimum(sizes[a], sizes[b]), np.maximum(sizes[a], sizes[b])
    possible = smaller >= SIMILARITY_THRESHOLD * larger
    a, b = a[possible], b[possible]
    product = shingles.matrix(a).multiply(shingles.matrix(b))
    common = np.asarray(product.sum(1), dtype=np.float64).ravel()
    similarity = common / np.maximum(sizes[a] + sizes[b] - common, 1)
    similar = similarity >= SIMILARITY_THRESHOLD
    return a[similar], b[similar], similarity[similar]
