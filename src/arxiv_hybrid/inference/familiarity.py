"""How familiar a paper is: its likeness to the training papers of the class it is most like.

Class probabilities do not show this: a network is sure of papers from other fields, too. Here each
class has the mean TF-IDF vector of its training papers. A paper's likeness is its cosine with the
nearest of these, where unknown words count as the rarest ones. Short texts are compared with short
ones: the score is the likeness in standard deviations from the mean of texts of that length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load as deserialize
from safetensors.numpy import save as serialize
from torch.nn import functional as F

from arxiv_hybrid.text.vocabulary import PAD, UNK

UNFAMILIAR = 0.05  # share of validation papers below the threshold
LENGTHS = (4, 8, 16, 32, 64, 128, 256)  # tokens for which likeness is measured
MOST_CLASSES = 40  # whose means are kept whole; of more, only the largest values
LARGEST = 1500  # values kept: they find as many foreign papers as all do
KNOWN_TOKENS = 3  # a text with fewer is unfamiliar
_FEWEST = 20  # validation papers that a length needs
_CHUNK = 4096  # papers whose vectors are in memory

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tokens:
    """The tokens of N papers, in their order: the row of each and the number of its word."""

    rows: Integers
    words: Integers
    papers: int

    @property
    def lengths(self) -> Integers:
        """Tokens of each paper, (N,)."""
        return np.bincount(self.rows, minlength=self.papers)

    def first(self, length: int) -> Tokens:
        """The first `length` tokens of those papers that have so many."""
        lengths = self.lengths
        position = np.arange(len(self.rows)) - (np.cumsum(lengths) - lengths)[self.rows]
        number = np.cumsum(lengths >= length) - 1
        kept = (lengths[self.rows] >= length) & (position < length)
        return Tokens(number[self.rows[kept]], self.words[kept], int((lengths >= length).sum()))


class Padded(Protocol):
    """N papers that give batches with title_ids (B, Tt) and abstract_ids (B, Ta), padded."""

    def __len__(self) -> int: ...

    def batch(self, rows: Integers) -> Any:
        """The papers in `rows`."""


@runtime_checkable
class WithTokens(Protocol):
    """N papers that give their tokens themselves."""

    def __len__(self) -> int: ...

    def token_chunks(self) -> Iterator[Tokens]:
        """The tokens of all papers, some papers at a time."""


Tokenized: TypeAlias = Padded | WithTokens


@dataclass(frozen=True)
class Vectors:
    """Unit TF-IDF vectors of N papers, sparse: the row, the word and the weight of each entry.

    Sorted by row. Unknown words have no entry, but count in the length of a vector.
    """

    rows: Integers
    words: Integers
    weights: Floats
    papers: int


@dataclass(frozen=True)
class Familiarity:
    """What scores papers: inverse document frequencies (V,) and class means (V, C) of length 1.

    With more than `MOST_CLASSES`, only the `LARGEST` values of each mean are not 0.
    unknown: the weight of an unknown word. curve (3, K): numbers of tokens, and the mean and the
    standard deviation of the likeness of validation papers cut to so many. threshold: papers that
    score below it are unfamiliar.
    """

    idf: Floats
    means: Floats
    unknown: float
    curve: Floats
    threshold: float

    def scores(self, papers: Tokenized) -> npt.NDArray[np.float64]:
        """How unusual the likeness of each paper is for a text of its length, (N,).

        In standard deviations from the mean; minus infinity with fewer than `KNOWN_TOKENS` known.
        """
        lengths, mean, deviation = self.curve
        parts = []
        for tokens in _chunks(papers):
            position = np.log(np.maximum(tokens.lengths, 1))
            expected, spread = (np.interp(position, np.log(lengths), y) for y in (mean, deviation))
            score = (self.likeness(tokens) - expected) / spread
            known = np.bincount(tokens.rows[tokens.words != UNK], minlength=tokens.papers)
            parts.append(np.where(known < KNOWN_TOKENS, -np.inf, score))
        return np.concatenate(parts)

    def unfamiliar(self, papers: Tokenized) -> npt.NDArray[np.bool_]:
        """Whether each paper (N,) is unlike the training papers of every class."""
        return self.scores(papers) < self.threshold

    def likeness(self, tokens: Tokens) -> npt.NDArray[np.float64]:
        """The largest cosine with a class mean, (N,); 0 for a text without known words."""
        vectors = _unit_vectors(tokens, self.idf, self.unknown)
        starts = np.searchsorted(vectors.rows, np.arange(tokens.papers))
        cosines = F.embedding_bag(
            torch.from_numpy(vectors.words),
            torch.from_numpy(self.means),
            torch.from_numpy(starts),
            mode="sum",
            per_sample_weights=torch.from_numpy(vectors.weights),
        )
        return cosines.max(1).values.double().numpy()


def fit_familiarity(
    train: Tokenized, classes: npt.NDArray[np.bool_], val: Tokenized, words: int
) -> Familiarity:
    """The class means of training papers, and what is usual among validation papers.

    classes (N, C): those of each training paper. words: the size of the vocabulary.
    """
    frequency = np.zeros(words)
    for tokens in _chunks(train):
        once = np.unique(tokens.rows * words + tokens.words) % words
        frequency += np.bincount(once, minlength=words)
    idf = np.log((1 + len(train)) / (1 + frequency)).astype(np.float32)
    unknown = float(np.log(1 + len(train)))
    means = _class_means(train, classes, idf, unknown)
    fitted = Familiarity(idf, means, unknown, curve=np.ones((3, 1), np.float32), threshold=0.0)
    fitted = replace(fitted, curve=_likeness_by_length(fitted, val))
    scores = fitted.scores(val)
    scores = np.sort(scores[np.isfinite(scores)])
    threshold = float(scores[int(UNFAMILIAR * len(scores))]) if len(scores) else 0.0
    return replace(fitted, threshold=threshold)


def _class_means(
    train: Tokenized, classes: npt.NDArray[np.bool_], idf: Floats, unknown: float
) -> Floats:
    """The mean vector of each class at length 1, (V, C); in half precision, as it is saved."""
    from scipy.sparse import csr_array  # half a second to load

    total = np.zeros((len(idf), classes.shape[1]))
    first = 0
    for tokens in _chunks(train):
        vectors = _unit_vectors(tokens, idf, unknown)
        shape = (tokens.papers, len(idf))
        matrix = csr_array((vectors.weights, (vectors.rows, vectors.words)), shape=shape)
        members = csr_array(classes[first : first + tokens.papers].astype(np.float32))
        first += tokens.papers
        found = (matrix.T @ members).tocoo()
        total[found.coords] += found.data
    if classes.shape[1] > MOST_CLASSES:
        rows, largest = _largest(total)
        total[:] = 0
        np.put_along_axis(total, rows, largest, axis=0)
    total /= np.maximum(np.linalg.norm(total, axis=0), 1e-12)
    return np.asarray(total.astype(np.float16), dtype=np.float32)


def _largest(columns: npt.NDArray[Any]) -> tuple[Integers, npt.NDArray[Any]]:
    """The rows (K, C) of the K largest values of each column (V, C), rising, and these values."""
    kept = min(LARGEST, len(columns))
    largest = [np.argpartition(-column, kept - 1)[:kept] for column in columns.T]
    rows = np.sort(np.stack(largest, axis=1), axis=0)
    return rows, np.take_along_axis(columns, rows, axis=0)


def _likeness_by_length(fitted: Familiarity, val: Tokenized) -> Floats:
    """The `curve` of validation papers: `LENGTHS` that enough of them have, means, deviations."""
    likeness: dict[int, list[npt.NDArray[np.float64]]] = {length: [] for length in LENGTHS}
    for tokens in _chunks(val):
        for length in LENGTHS:
            if (cut := tokens.first(length)).papers:
                likeness[length].append(fitted.likeness(cut))
    values = {length: np.concatenate(parts) for length, parts in likeness.items() if parts}
    most = max(map(len, values.values()), default=0)
    points = [
        (length, value.mean(), max(value.std(), 1e-6))
        for length, value in values.items()
        if len(value) >= min(_FEWEST, most)
    ]
    return np.array(points or [(1, 0, 1)], dtype=np.float32).T


def _chunks(papers: Tokenized) -> Iterator[Tokens]:
    """The tokens of `_CHUNK` papers at a time, titles before abstracts.

    A text that is one unknown word may be an empty one, see `Vocabulary.encode`: it has no token.
    """
    if isinstance(papers, WithTokens):
        yield from papers.token_chunks()
        return
    for start in range(0, len(papers), _CHUNK):
        batch = papers.batch(np.arange(start, min(start + _CHUNK, len(papers))))
        texts = []
        for ids in (batch.title_ids, batch.abstract_ids):
            matrix = ids.cpu().numpy()
            empty = (matrix[:, 0] == UNK) & (matrix[:, 1:] == PAD).all(1)
            texts.append(np.where(empty[:, None], PAD, matrix))
        joined = np.concatenate(texts, axis=1)
        rows, columns = np.nonzero(joined)
        yield Tokens(rows, joined[rows, columns].astype(np.int64), len(joined))


def _unit_vectors(tokens: Tokens, idf: Floats, unknown: float) -> Vectors:
    """TF-IDF vectors of length 1, with sublinear term frequencies."""
    keys, counts = np.unique(tokens.rows * len(idf) + tokens.words, return_counts=True)
    rows, words = np.divmod(keys, len(idf))
    known = words != UNK
    squares = np.bincount(rows[~known], counts[~known] * unknown**2, tokens.papers)
    rows, words = rows[known], words[known]
    weights = (1 + np.log(counts[known])) * idf[words]
    # not in place: without unknown words the first counts are integers
    squares = squares + np.bincount(rows, weights**2, tokens.papers)
    weights /= np.sqrt(np.maximum(squares, 1e-12))[rows]
    return Vectors(rows, words, weights.astype(np.float32), tokens.papers)


def to_bytes(fitted: Familiarity) -> bytes:
    """What was fitted as safetensors; of many classes the rows (K, C) of their largest means."""
    means, rows = fitted.means, {}
    if means.shape[1] > MOST_CLASSES:
        places, means = _largest(means)
        rows = {"rows": places.astype(np.int32)}
    content: dict[str, npt.NDArray[Any]] = {
        "idf": fitted.idf,
        "means": means.astype(np.float16),
        **rows,
        "curve": np.ascontiguousarray(fitted.curve),
        "unknown": np.array(fitted.unknown, np.float64),
        "threshold": np.array(fitted.threshold, np.float64),
    }
    return serialize(content)


def parse(file: bytes, *, words: int, classes: int) -> Familiarity:
    """What `to_bytes` made.

    Raises ValueError if it does not fit a model of so many words and classes.
    """
    content = deserialize(file)
    points = content["curve"].shape[-1] if "curve" in content else 1
    kept = min(LARGEST, words) if "rows" in content else words
    expected = {"idf": (words,), "means": (kept, classes), "curve": (3, points),
                "unknown": (), "threshold": ()}  # fmt: skip
    expected |= {"rows": (kept, classes)} if "rows" in content else {}
    if {name: tuple(value.shape) for name, value in content.items()} != expected:
        raise ValueError(f"familiarity: expected {words} words and {classes} classes")
    if not all(np.isfinite(value).all() for value in content.values()):
        raise ValueError("familiarity: contains values that are not finite")
    curve = content["curve"]
    if not points or (np.diff(curve[0], prepend=0) <= 0).any() or (curve[2] <= 0).any():
        raise ValueError("familiarity: lengths must increase and deviations be positive")
    means = content["means"].astype(np.float32)
    if "rows" in content:
        means = _spread(content["rows"], means, words)
    unknown, threshold = (float(content[name]) for name in ("unknown", "threshold"))
    return Familiarity(content["idf"], means, unknown, curve, threshold)


def _spread(rows: npt.NDArray[Any], largest: Floats, words: int) -> Floats:
    """Means (V, C) of their largest values (K, C); ValueError if a row is no word's."""
    rising = (np.diff(rows, axis=0, prepend=-1) > 0).all()
    if rows.dtype != np.int32 or not rising or (rows >= words).any():
        raise ValueError("familiarity: rows must be numbers of words, rising")
    means = np.zeros((words, rows.shape[1]), np.float32)
    np.put_along_axis(means, rows.astype(np.int64), largest, axis=0)
    return means
