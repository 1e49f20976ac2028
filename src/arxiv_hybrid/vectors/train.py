"""Word vectors for the corpus: word2vec or PPMI-SVD trained on it, or vectors from a file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from arxiv_hybrid.params import Glove
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.ticker import Progress, pulse
from arxiv_hybrid.text.token_ids import TokenIds
from arxiv_hybrid.text.vocabulary import SPECIAL, UNK, Vocabulary, word_counts
from arxiv_hybrid.vectors.files import read_vectors

FloatMatrix = npt.NDArray[np.float32]
MIN_FREQ = 2
MAX_WORDS = 200_000  # of word2vec; a few hundred thousand papers have more
NEGATIVE_SAMPLES = 10  # of word2vec
MAX_CONTEXTS = 50_000  # of PPMI, whose matrix has a row and a column per word
FEWEST_PASSES, MOST_PASSES = 5, 20
READINGS = 300  # of a word, in all passes
MOST_READ = 500_000_000  # words in all passes, if one pass has no more
SMOOTHING = 0.75  # exponent of the context distribution (Levy, Goldberg and Dagan 2015)


def word_vectors(
    documents: Iterable[Sequence[str]], glove: Glove, *, seed: int, file: Path | None = None
) -> tuple[list[str], FloatMatrix]:
    """Words and vectors (words, dim) from the source that `glove.source` names.

    documents: tokens of the texts to train on. file: the vectors to read instead, if
    `glove.source` names some; only the words of `documents` are kept.
    """
    if glove.source == "none":
        return [], np.zeros((0, glove.dim), dtype=np.float32)
    if file is not None:
        wanted = set(word_counts(documents))
        read = read_vectors(file, wanted, dim=glove.dim, option="glove.source")
        if not read.words:
            raise UserError(f"{file}: has none of the papers' {len(wanted):,} words (glove.source)")
        if read.repeated:
            print(f"{file}: {read.repeated:,} words are repeated; their first vector is used")
        return read.words, read.vectors
    settings = {"dim": glove.dim, "window": glove.window, "min_freq": MIN_FREQ, "seed": seed}
    if glove.method == "word2vec":
        epochs = passes(documents) if glove.epochs == "auto" else glove.epochs
        return word2vec(documents, epochs=epochs, **settings)
    return ppmi_svd(documents, **settings)


def passes(documents: Iterable[Sequence[str]]) -> int:
    """Passes of word2vec over a corpus: `FEWEST_PASSES`, more if its words are rare in it.

    Each word is then read `READINGS` times on average, as in 5 passes over 7,000 papers. 5 passes
    over 1,260 papers teach the vectors next to nothing. From about half a million papers on,
    passes get fewer, until all of arXiv is read once: `MOST_READ` words take a quarter of an hour.
    """
    frequent = [count for count in word_counts(documents).values() if count >= MIN_FREQ]
    words = max(sum(frequent), 1)
    needed = math.ceil(READINGS * len(frequent) / words)
    affordable = max(MOST_READ // words, 1)
    return min(max(needed, min(FEWEST_PASSES, affordable)), MOST_PASSES)


def word2vec(
    documents: Iterable[Sequence[str]],
    *,
    dim: int,
    window: int,
    min_freq: int,
    epochs: int,
    seed: int,
    negative: int = NEGATIVE_SAMPLES,
) -> tuple[list[str], FloatMatrix]:
    """Skip-gram vectors with negative sampling (Mikolov et al. 2013); see `skip_gram`.

    documents: tokens of each text. negative: words that each word is told from. The vectors are
    the same, byte for byte, in every run on one machine. Returns words, the most frequent first,
    and vectors (words, dim).
    """
    from arxiv_hybrid.vectors.skip_gram import skip_gram  # loads numba, which nothing else needs

    tokens = documents if isinstance(documents, TokenIds) else TokenIds.of_tokens(documents)
    kept = Vocabulary.build(tokens, max_size=MAX_WORDS + len(SPECIAL), min_freq=min_freq)
    words = list(kept.words[len(SPECIAL) :])
    if not words:
        raise UserError(f"papers.parquet: no word occurs {min_freq} times; use glove.source=none")
    with Progress(what="word vectors", total=epochs * len(tokens), unit="texts") as bar:
        vectors = skip_gram(
            tokens,
            words,
            dim=dim,
            window=window,
            negative=negative,
            epochs=epochs,
            seed=seed,
            advance=bar.update,
        )
    return words, vectors


def ppmi_svd(
    documents: Iterable[Sequence[str]],
    *,
    dim: int,
    window: int,
    min_freq: int,
    seed: int,
) -> tuple[list[str], FloatMatrix]:
    """Vectors from a truncated SVD of the positive pointwise mutual information matrix.

    documents: tokens of each text. Words within `window` positions are each other's context,
    weighted by 1 / distance. The result is scaled by the square root of the singular values
    (Levy, Goldberg and Dagan 2015). Deterministic on one machine. Returns words and vectors
    (words, dim); a vocabulary smaller than `dim` gives fewer dimensions.
    """
    vocabulary = Vocabulary.build(documents, max_size=MAX_CONTEXTS, min_freq=min_freq)
    if len(vocabulary) <= len(SPECIAL) + 1:
        raise UserError(
            f"papers.parquet: no two words occur {min_freq} times; use glove.source=none"
        )
    with pulse("word vectors"):
        counts = _cooccurrences(documents, vocabulary, window)
        left, values, _ = randomized_svd(
            _ppmi(counts), n_components=min(dim, counts.shape[0] - 1), random_state=seed
        )
    vectors = (left * np.sqrt(values)).astype(np.float32)
    words = list(vocabulary.words[len(SPECIAL) :])
    return words, vectors[len(SPECIAL) :]


def _cooccurrences(
    documents: Iterable[Sequence[str]], vocabulary: Vocabulary, window: int
) -> sparse.csr_matrix:
    """Symmetric co-occurrence weights (V, V); unknown words keep their position in the text."""
    lookup = vocabulary.index
    gap = [0] * window  # keeps the words of two documents out of each other's window
    ids = np.array(
        [i for document in documents for i in (*(lookup.get(w, UNK) for w in document), *gap)],
        dtype=np.int64,
    )
    size = len(vocabulary)
    total = sparse.csr_matrix((size, size), dtype=np.float64)
    for distance in range(1, window + 1):
        first, second = ids[:-distance], ids[distance:]
        known = (first > UNK) & (second > UNK)
        weights = np.full(int(known.sum()), 1 / distance)
        total += sparse.csr_matrix((weights, (first[known], second[known])), shape=(size, size))
    return total + total.T


def _ppmi(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Positive pointwise mutual information, with a smoothed context distribution."""
    row_sums = np.asarray(counts.sum(1)).ravel()
    contexts = np.asarray(counts.sum(0)).ravel() ** SMOOTHING
    context_share = contexts / contexts.sum()
    matrix = counts.tocoo()
    pmi = np.log(matrix.data / (row_sums[matrix.row] * context_share[matrix.col]))
    positive = pmi > 0
    return sparse.csr_matrix(
        (pmi[positive], (matrix.row[positive], matrix.col[positive])), shape=counts.shape
    )
