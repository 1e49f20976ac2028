"""TF-IDF and a linear model of many weights, fitted from disk by stochastic gradient descent.

The features are scikit-learn's: words and pairs of neighbouring words. Texts are read once; the
numbers of their words, their pairs and their vectors are in files that are mapped into memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn import config_context
from sklearn.linear_model import SGDClassifier
from sklearn.utils.parallel import Parallel, delayed

from arxiv_hybrid.data.table import PaperTable, batches
from arxiv_hybrid.inference.linear import Weights
from arxiv_hybrid.inference.tfidf import Tfidf, WordIds, paper_words
from arxiv_hybrid.system.number_file import NumberFile, repeated
from arxiv_hybrid.system.runtime import cores
from arxiv_hybrid.system.ticker import Progress
from arxiv_hybrid.text.token_ids import TokenIds
from arxiv_hybrid.text.vocabulary import SPECIAL, UNK, Vocabulary

MIN_DF = 2  # training papers that a word or a pair must be in
MOST_COLUMNS = 4_000_000  # of more words and pairs, those in the most papers
MANY_C, PASSES = 10.0, 5
MOST_READ = 1_200_000  # papers in all passes; there is always one
# Of the weights those below SMALL are dropped and the others rounded to 16 bits. Of 253 million
# weights (143 classes) 12 % stay, 120 MB; no probability of 9,165 test papers moves by more than
# 0.019, and micro-F1 by 0.1 points.
SMALL = 0.05
CERTAIN = 40.0  # the bias of a class that all papers have: its probability is 1
_TOKENS = 1 << 21  # whose pairs or vectors are in memory
_CHUNK, _CHUNKS = 256, 128  # papers that stay together in random order; chunks read at a time
_CLASSES = 8  # a core learns at a time

Integers = npt.NDArray[np.int64]
Labels = npt.NDArray[np.bool_]


def fit_tfidf(papers: PaperTable) -> tuple[Tfidf, WordIds]:
    """The words and pairs of training papers, equal to scikit-learn's, and the papers' words.

    Words and pairs are those in at least `MIN_DF` papers, or in more if there were more than
    `MOST_COLUMNS`.
    """
    tokens = TokenIds.of_tokens(words for part in batches(papers) for words in paper_words(part))
    frequency = tokens.papers_with()
    frequent = sorted(np.flatnonzero(frequency >= MIN_DF).tolist(), key=tokens.words.__getitem__)
    names = [tokens.words[number] for number in frequent]
    words = _renumbered(WordIds(tokens.ids, tokens.starts), frequent, len(tokens.words))
    counts = np.concatenate([np.zeros(len(SPECIAL), np.int64), frequency[frequent]])
    keys, pair_counts = repeated(_pairs(words, len(counts)), MIN_DF)
    least = _least(np.concatenate([counts, pair_counts]))
    if least > MIN_DF:
        kept = np.flatnonzero(counts >= least)
        names = [names[number - len(SPECIAL)] for number in kept.tolist()]
        words = _renumbered(words, kept.tolist(), len(counts))
        often = pair_counts >= least
        pairs = np.searchsorted(kept, np.stack(np.divmod(keys[often], len(counts)), axis=1))
        pairs, counts, pair_counts = pairs + len(SPECIAL), counts[kept], pair_counts[often]
        counts = np.concatenate([np.zeros(len(SPECIAL), np.int64), counts])
    else:
        pairs = np.stack(np.divmod(keys, len(counts)), axis=1)
    idf = np.log((1 + len(words)) / (1 + np.concatenate([counts, pair_counts]))) + 1
    idf[: len(SPECIAL)] = 1
    vocabulary = Vocabulary((*SPECIAL, *names))
    return Tfidf(vocabulary, pairs.astype(np.int32), idf.astype(np.float32)), words


def _renumbered(words: WordIds, kept: list[int], number: int) -> WordIds:
    """The same texts, in which the words `kept` of so many have new numbers; changed in place."""
    numbers = np.full(number, UNK, np.int32)
    numbers[kept] = np.arange(len(SPECIAL), len(SPECIAL) + len(kept))
    for start in range(0, len(words.ids), _TOKENS):
        part = words.ids[start : start + _TOKENS]
        part[:] = numbers[part]
    return words


def _pairs(words: WordIds, width: int) -> NumberFile:
    """The pairs of neighbouring words of each text, each once: first * width + second."""
    keys = NumberFile(np.int64)
    for part in words.blocks(_TOKENS):
        ids, rows = part.ids.astype(np.int64), part.rows
        known = ids != UNK
        first = np.flatnonzero(known[:-1] & known[1:] & (rows[:-1] == rows[1:]))
        pairs = ids[first] * width + ids[first + 1]
        keys.append(np.unique(rows[first] * width**2 + pairs) % width**2)
    return keys


def _least(counts: Integers) -> int:
    """In how many papers words and pairs must be, so that there are at most `MOST_COLUMNS`."""
    if (counts > 0).sum() <= MOST_COLUMNS:
        return MIN_DF
    return int(np.partition(counts, -MOST_COLUMNS - 1)[-MOST_COLUMNS - 1]) + 1


@dataclass(frozen=True)
class _Vectors:
    """Unit TF-IDF vectors of N papers in files: paper n has the entries starts[n]:starts[n + 1]."""

    columns: NumberFile
    weights: NumberFile
    starts: Integers
    width: int

    @classmethod
    def of(cls, words: WordIds, tfidf: Tfidf) -> _Vectors:
        columns, values = NumberFile(np.int32), NumberFile(np.float32)
        lengths: list[Integers] = [np.zeros(1, np.int64)]
        for part in Progress(list(words.blocks(_TOKENS)), "TF-IDF", unit="blocks of papers"):
            entries, weights = tfidf.unit_entries(part)
            columns.append(entries.columns)
            values.append(weights)
            lengths.append(np.bincount(entries.rows, minlength=len(part)))
        starts = np.cumsum(np.concatenate(lengths))
        return cls(columns, values, starts, len(tfidf.idf))

    def in_random_order(self, seed: int) -> Iterator[tuple[Integers, sparse.csr_matrix]]:
        """All papers in some pass: the numbers of some thousand, and their vectors."""
        papers = len(self.starts) - 1
        order = np.random.default_rng(seed).permutation(-(-papers // _CHUNK))
        for first in range(0, len(order), _CHUNKS):
            chunks = [(n * _CHUNK, min((n + 1) * _CHUNK, papers))
                      for n in order[first : first + _CHUNKS].tolist()]  # fmt: skip
            rows = np.concatenate([np.arange(*chunk) for chunk in chunks])
            spans = [(int(self.starts[start]), int(self.starts[end])) for start, end in chunks]
            columns, values = (
                np.concatenate([file.read(*span) for span in spans])
                for file in (self.columns, self.weights)
            )
            starts = np.concatenate([[0], np.cumsum(np.diff(self.starts)[rows])])
            yield rows, sparse.csr_matrix((values, columns, starts), (len(rows), self.width))


def fit_weights(words: WordIds, tfidf: Tfidf, classes: Labels) -> Weights:
    """One binary model for each class (one-vs-rest); classes (N, C): of each training paper.

    Small weights are dropped, see `SMALL`.
    """
    vectors = _Vectors.of(words, tfidf)
    papers, number = classes.shape
    passes = min(max(MOST_READ // papers, 1), PASSES)
    group = _CLASSES * cores()
    columns: list[sparse.csc_matrix] = []
    biases: list[float] = []
    groups = range(0, number, group)
    with Progress(what="linear model", total=number, unit="classes") as progress:
        for first in groups:
            part = classes[:, first : first + group]
            for weights, bias in _descend(vectors, part, passes):
                columns.append(weights)
                biases.append(bias)
                progress.update()
    matrix = sparse.hstack(columns, format="csc").tocsr()
    matrix.sort_indices()
    return Weights(
        np.diff(matrix.indptr).astype(np.uint16),
        matrix.indices.astype(np.uint16),
        matrix.data.astype(np.float16),
        np.array(biases, np.float32),
    )


def _descend(
    vectors: _Vectors, classes: Labels, passes: int
) -> Iterator[tuple[sparse.csc_matrix, float]]:
    """The rounded weights (V, 1) and the bias of each of some classes."""
    alpha = 1 / (MANY_C * len(classes))
    models = [
        None
        if column.all()
        else SGDClassifier(loss="log_loss", alpha=alpha, average=True, random_state=0)
        for column in classes.T
    ]

    def learn(model: SGDClassifier | None, matrix: sparse.csr_matrix, right: Labels) -> None:
        if model is not None:
            model.partial_fit(matrix, right, classes=[False, True])

    with config_context(assume_finite=True), Parallel(cores(), prefer="threads") as parallel:
        for number in range(passes):
            for rows, matrix in vectors.in_random_order(number):
                pairs = zip(models, classes[rows].T, strict=True)
                parallel(delayed(learn)(model, matrix, right) for model, right in pairs)
    for model in models:
        if model is None:  # all papers have the class
            yield sparse.csc_matrix((vectors.width, 1), dtype=np.float32), CERTAIN
        else:
            yield _rounded(model.coef_[0]), float(model.intercept_[0])


def _rounded(weights: npt.NDArray[np.floating]) -> sparse.csc_matrix:
    """The weights (V, 1) in half precision, without those below `SMALL`."""
    kept = np.flatnonzero(np.abs(weights) >= SMALL)
    halves = weights[kept].astype(np.float16).astype(np.float32)
    return sparse.csc_matrix((halves, kept, [0, len(kept)]), (len(weights), 1))
