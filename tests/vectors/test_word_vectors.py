"""Word vectors trained on a corpus, their storage, and the embedding matrix."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from arxiv_hybrid.text.vocabulary import PAD, Vocabulary
from arxiv_hybrid.vectors import train
from arxiv_hybrid.vectors.matrix import EMBEDDING_STD, coverage, embedding_matrix
from arxiv_hybrid.vectors.storage import load_vectors, save_vectors, select_words

METHODS = {"word2vec": partial(train.word2vec, epochs=60), "ppmi_svd": train.ppmi_svd}


@pytest.mark.parametrize("method", METHODS)
def test_vectors_group_words_by_topic_and_are_reproducible(method: str) -> None:
    random = np.random.default_rng(0)
    topics = [[f"{name}{i}" for i in range(40)] for name in "xy"]
    documents = [random.choice(topics[n % 2], 60).tolist() for n in range(200)]
    fit = partial(METHODS[method], documents, dim=4, window=3, min_freq=2, seed=1)
    words, vectors = fit()
    again = fit()
    assert words == again[0]
    np.testing.assert_array_equal(vectors, again[1])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    same_topic = np.array([[a[0] == b[0] for b in words] for a in words])
    assert cosine[same_topic].mean() > cosine[~same_topic].mean() + 0.3


def test_context_windows_do_not_cross_documents() -> None:
    vocabulary = Vocabulary(("<PAD>", "<UNK>", "a", "b"))
    apart = train._cooccurrences([["a"], ["b"]], vocabulary, window=5)
    together = train._cooccurrences([["a", "b"]], vocabulary, window=5)
    assert apart.sum() == 0
    assert together[2, 3] == together[3, 2] == 1


def test_vectors_survive_a_round_trip(tmp_path: Path) -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(3, 2)
    save_vectors(tmp_path / "v", ["a", "b", "c"], matrix)
    words, loaded = load_vectors(tmp_path / "v")
    assert words == ["a", "b", "c"]
    np.testing.assert_array_equal(loaded, matrix)


def test_selected_words_keep_their_order() -> None:
    words, matrix = select_words(["a", "b", "c"], np.eye(3, dtype=np.float32), {"c", "a", "x"})
    assert words == ["a", "c"]
    np.testing.assert_array_equal(matrix, np.eye(3, dtype=np.float32)[[0, 2]])


def test_embedding_matrix_places_vectors_by_word() -> None:
    vocabulary = Vocabulary(("<PAD>", "<UNK>", "a", "b"))
    vectors = np.array([[3.0, 0.0], [0.0, 4.0]], dtype=np.float32)
    matrix, known = embedding_matrix(vocabulary, ["b", "z"], vectors, dim=3, seed=0)
    assert known.tolist() == [False, False, False, True]
    assert matrix[PAD].tolist() == [0, 0, 0]
    assert matrix[3, 0] == pytest.approx(3 * EMBEDDING_STD / vectors.std())
    assert matrix[3, 1:].tolist() == [0, 0]
    assert np.abs(matrix[2]).sum() > 0


def test_coverage_counts_tokens_not_types() -> None:
    vocabulary = Vocabulary(("<PAD>", "<UNK>", "a", "b"))
    report = coverage(
        vocabulary, {"test": [["a", "x"], ["b", "y"]]}, np.array([False, False, True, False])
    )
    assert report == {"size": 4, "words_with_vector": 0.5, "out_of_vocabulary": {"test": 0.5}}


@pytest.mark.parametrize(
    ("words", "repeats", "number"), [(10, 1000, 5), (1000, 60, 5), (1000, 25, 12), (1000, 2, 20)]
)
def test_word2vec_passes_more_often_where_words_are_rare(
    words: int, repeats: int, number: int
) -> None:
    documents = [[f"word{i}" for i in range(words)]] * repeats + [["once"]]
    assert train.passes(documents) == number
