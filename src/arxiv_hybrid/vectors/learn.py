"""Word vectors: trained on the corpus itself, read from a file, or none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save
from scipy import sparse
from sklearn.utils.extmath import randomized_svd
from tqdm import tqdm

from arxiv_hybrid.params import Glove
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import read_lines, write_bytes, write_lines
from arxiv_hybrid.text.vocabulary import SPECIAL, UNK, Vocabulary
from arxiv_hybrid.vectors.files import read_vectors

FloatMatrix = npt.NDArray[np.float32]
SMOOTHING = 0.75  # context distribution smoothing, Levy, Goldberg and Dagan 2015
MAX_WORDS = 200_000  # of word2vec; a few hundred thousand papers have more
MAX_CONTEXTS = 50_000  # of PPMI, whose matrix has a row and a column for each
MIN_FREQ = 2
NEGATIVE, SUBSAMPLING = 10, 1e-4


def word2vec(
    documents: Sequence[Sequence[str]],
    *,
    dim: int,
    window: int,
    min_freq: int,
    epochs: int,
    seed: int,
) -> tuple[list[str], FloatMatrix]:
    """Skip-gram vectors with negative sampling (Mikolov et al. 2013), by gensim.

    documents: tokens of each text. One worker thread, because several would give other
    vectors in every run. Returns words and vectors (words, dim).
    """
    from gensim.models import Word2Vec
    from gensim.models.callbacks import CallbackAny2Vec

    if len(Vocabulary.build(documents, max_size=MAX_WORDS, min_freq=min_freq)) <= len(SPECIAL):
        raise UserError(f"papers.csv: no word occurs {min_freq} times; use glove.source=none")
    with tqdm(total=epochs, desc="word2vec", unit="epoch", disable=None, leave=False) as bar:

        class Progress(CallbackAny2Vec):  # type: ignore[misc]
            def on_epoch_end(self, _: Any) -> None:
                bar.update()

        model = Word2Vec(
            documents,
            vector_size=dim,
            window=window,
            min_count=min_freq,
            max_final_vocab=MAX_WORDS,
            sg=1,
            negative=NEGATIVE,
            sample=SUBSAMPLING,
            epochs=epochs,
            seed=seed,
            workers=1,
            callbacks=[Progress()],
        )
    return list(model.wv.index_to_key), np.asarray(model.wv.vectors, dtype=np.float32)


def ppmi_svd(
    documents: Sequence[Sequence[str]],
    *,
    dim: int,
    window: int,
    min_freq: int,
    seed: int,
) -> tuple[list[str], FloatMatrix]:
    """Vectors from a truncated SVD of positive pointwise mutual information.

    documents: tokens of each text. Words count as context of each other within `window`
    positions, nearer ones more (1 / distance). Rows of the result are scaled by the root
    of the singular values (Levy, Goldberg and Dagan 2015). Deterministic on one machine.
    Returns words and vectors (words, dim); dim shrinks to the number of words less one.
    """
    vocabulary = Vocabulary.build(documents, max_size=MAX_CONTEXTS, min_freq=min_freq)
    if len(vocabulary) <= len(SPECIAL) + 1:
        raise UserError(f"papers.csv: no two words occur {min_freq} times; use glove.source=none")
    counts = _cooccurrences(documents, vocabulary, window)
    left, values, _ = randomized_svd(
        _ppmi(counts), n_components=min(dim, counts.shape[0] - 1), random_state=seed
    )
    vectors = (left * np.sqrt(values)).astype(np.float32)
    words = list(vocabulary.words[len(SPECIAL) :])
    return words, vectors[len(SPECIAL) :]


def _cooccurrences(
    documents: Sequence[Sequence[str]], vocabulary: Vocabulary, window: int
) -> sparse.csr_matrix:
    """Symmetric co-occurrence weights (V, V); unknown words keep their place but not a row."""
    lookup = vocabulary.index
    gap = [0] * window  # keeps words of neighbouring documents out of each other's window
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
    rows = np.asarray(counts.sum(1)).ravel()
    contexts = np.asarray(counts.sum(0)).ravel() ** SMOOTHING
    share = contexts / contexts.sum()
    matrix = counts.tocoo()
    value = np.log(matrix.data / (rows[matrix.row] * share[matrix.col]))
    kept = value > 0
    return sparse.csr_matrix(
        (value[kept], (matrix.row[kept], matrix.col[kept])), shape=counts.shape
    )


def word_vectors(
    documents: Sequence[Sequence[str]], glove: Glove, *, seed: int, file: Path | None = None
) -> tuple[list[str], FloatMatrix]:
    """Words and vectors (words, dim) from where `glove.source` says.

    documents: tokens of the texts that may be learned from, and whose words are looked up
    in `file`, the vectors that `glove.source` names.
    """
    if glove.source == "none":
        return [], np.zeros((0, glove.dim), dtype=np.float32)
    if file is not None:
        wanted = {word for document in documents for word in document}
        found = read_vectors(file, wanted, dim=glove.dim, key="glove.source")
        if not found.words:
            raise UserError(f"{file}: has none of the papers' {len(wanted):,} words (glove.source)")
        if found.repeated:
            print(f"{file}: {found.repeated:,} of the words stand twice, the first counts")
        return found.words, found.vectors
    settings = {"dim": glove.dim, "window": glove.window, "min_freq": MIN_FREQ, "seed": seed}
    if glove.method == "word2vec":
        return word2vec(documents, epochs=glove.epochs, **settings)
    return ppmi_svd(documents, **settings)


def only(words: list[str], vectors: FloatMatrix, wanted: set[str]) -> tuple[list[str], FloatMatrix]:
    """The words that are wanted, in their order, and their vectors."""
    rows = [row for row, word in enumerate(words) if word in wanted]
    return [words[row] for row in rows], vectors[rows]


def save_vectors(folder: Path, words: list[str], vectors: FloatMatrix) -> None:
    """Write vectors as `words.txt` and `vectors.safetensors`."""
    write_lines(folder / "words.txt", words)
    write_bytes(folder / "vectors.safetensors", save({"vectors": np.ascontiguousarray(vectors)}))


def load_vectors(folder: Path) -> tuple[list[str], FloatMatrix]:
    """Read what `save_vectors` wrote."""
    words = read_lines(folder / "words.txt")
    vectors: FloatMatrix = load_file(folder / "vectors.safetensors")["vectors"]
    return words, vectors
