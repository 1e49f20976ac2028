"""How familiar a paper is: its likeness to the training papers of the class it is most like.

Class probabilities do not show this: a network is sure of papers from other fields, too. Here each
class has the mean TF-IDF vector of its training papers. A paper's likeness is its cosine with the
nearest of these, where unknown words count as rare ones; short texts are compared with short texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch.nn import functional as F

from arxiv_hybrid.inference.encoding import EncodedPapers
from arxiv_hybrid.system.files import write_bytes
from arxiv_hybrid.text.vocabulary import PAD, UNK

UNFAMILIAR = 0.05  # share of validation papers below the threshold
LENGTHS = (4, 8, 16, 32, 64, 128, 256)  # tokens for which the usual likeness is measured
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
    """What scores papers: inverse document frequencies (V,) and class means (V, C).

    unknown: the weight of an unknown word. usual: the mean likeness of validation papers cut to
    each of `lengths` tokens. threshold: papers that score below it are unfamiliar.
    """

    idf: Floats
    means: Floats
    unknown: float
    lengths: Floats
    usual: Floats
    threshold: float

    def scores(self, papers: EncodedPapers) -> npt.NDArray[np.float64]:
        """The likeness of each paper (N,), divided by what is usual for a text of its length."""
        parts = []
        for tokens in _chunks(papers):
            lengths = np.log(np.maximum(tokens.lengths, 1))
            usual = np.interp(lengths, np.log(self.lengths), self.usual)
            parts.append(self.likeness(tokens) / usual)
        return np.concatenate(parts)

    def unfamiliar(self, papers: EncodedPapers) -> npt.NDArray[np.bool_]:
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
    train: EncodedPapers, classes: npt.NDArray[np.bool_], val: EncodedPapers, words: int
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
    one = np.ones(1, dtype=np.float32)
    fitted = Familiarity(idf, means, unknown, lengths=one, usual=one, threshold=0.0)
    fitted = _with_usual_likeness(fitted, val)
    return replace(fitted, threshold=float(np.quantile(fitted.scores(val), UNFAMILIAR)))


def _class_means(
    train: EncodedPapers, classes: npt.NDArray[np.bool_], idf: Floats, unknown: float
) -> Floats:
    """The mean unit vector of each class, (V, C); in half precision, as it is saved."""
    from scipy.sparse import csr_array  # half a second to load

    total = np.zeros((len(idf), classes.shape[1]))
    for number, tokens in enumerate(_chunks(train)):
        vectors = _unit_vectors(tokens, idf, unknown)
        shape = (tokens.papers, len(idf))
        matrix = csr_array((vectors.weights, (vectors.rows, vectors.words)), shape=shape)
        first = number * _CHUNK
        members = csr_array(classes[first : first + tokens.papers].astype(np.float32))
        total += (matrix.T @ members).toarray()
    means = (total / np.maximum(classes.sum(0), 1)).astype(np.float16)
    return np.asarray(means, dtype=np.float32)


def _with_usual_likeness(fitted: Familiarity, val: EncodedPapers) -> Familiarity:
    """Measure the mean likeness of validation papers cut to each of `LENGTHS`."""
    sums, counts = np.zeros(len(LENGTHS)), np.zeros(len(LENGTHS))
    for tokens in _chunks(val):
        for number, length in enumerate(LENGTHS):
            cut = tokens.first(length)
            if cut.papers:
                sums[number] += fitted.likeness(cut).sum()
                counts[number] += cut.papers
    enough = counts >= min(_FEWEST, counts.max())
    lengths, usual = np.array(LENGTHS)[enough], (sums / np.maximum(counts, 1))[enough]
    return replace(
        fitted,
        lengths=lengths.astype(np.float32),
        usual=np.maximum(usual, 1e-6).astype(np.float32),
    )


def _chunks(papers: EncodedPapers) -> Iterator[Tokens]:
    """The tokens of `_CHUNK` papers at a time, titles before abstracts.

    A text that is one unknown word may be an empty one, see `Vocabulary.encode`: it has no token.
    """
    for start in range(0, len(papers), _CHUNK):
        part = slice(start, start + _CHUNK)
        texts = []
        for ids in (papers.title_ids[part], papers.abstract_ids[part]):
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
    squares += np.bincount(rows, weights**2, tokens.papers)
    weights /= np.sqrt(np.maximum(squares, 1e-12))[rows]
    return Vectors(rows, words, weights.astype(np.float32), tokens.papers)


def save(path: Path, fitted: Familiarity) -> None:
    """Write what was fitted as safetensors, the class means in half precision."""
    scalars = [fitted.unknown, fitted.threshold]
    content = {
        "idf": torch.from_numpy(fitted.idf),
        "means": torch.from_numpy(fitted.means).half(),
        "lengths": torch.from_numpy(fitted.lengths),
        "usual": torch.from_numpy(fitted.usual),
        "unknown_and_threshold": torch.tensor(scalars, dtype=torch.float64),
    }
    write_bytes(path, serialize(content))


def load(path: Path, *, words: int, classes: int) -> Familiarity:
    """Read what `save` wrote. Raises ValueError if it does not fit the model."""
    content = load_file(path)
    expected = {"idf": (words,), "means": (words, classes), "unknown_and_threshold": (2,)}
    curve = content.get("lengths", torch.empty(0)).shape
    shapes = {name: tuple(value.shape) for name, value in content.items()}
    if shapes != expected | {"lengths": curve, "usual": curve} or not curve.numel():
        raise ValueError(f"{path.name}: expected {words} words and {classes} classes")
    if not all(bool(value.isfinite().all()) for value in content.values()):
        raise ValueError(f"{path.name}: contains values that are not finite")
    lengths, usual = content["lengths"].numpy(), content["usual"].numpy()
    if (np.diff(lengths, prepend=0) <= 0).any() or (usual <= 0).any():
        raise ValueError(f"{path.name}: lengths must increase and likeness be positive")
    unknown, threshold = content["unknown_and_threshold"].tolist()
    means = content["means"].float().numpy()
    return Familiarity(content["idf"].numpy(), means, unknown, lengths, usual, threshold)
