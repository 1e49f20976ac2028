"""The linear model of many weights, fitted from disk, beside scikit-learn's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from arxiv_hybrid.data.table import PaperFile
from arxiv_hybrid.evaluation import descent
from arxiv_hybrid.evaluation.descent import _Vectors, fit_tfidf, fit_weights
from arxiv_hybrid.evaluation.linear import document_text
from arxiv_hybrid.inference.tfidf import TOKEN_PATTERN, Tfidf
from arxiv_hybrid.system.files import write_parquet
from arxiv_hybrid.text.vocabulary import SPECIAL


@pytest.fixture(scope="module")
def papers() -> pd.DataFrame:
    """Texts in which few words are frequent, with short ones, empty ones and a long one."""
    random = np.random.default_rng(3)
    words = [f"w{n}" if n % 5 else f"ü{n}" for n in range(400)]
    texts = [
        " ".join(words[place] for place in np.minimum(random.zipf(1.4, size), 399))
        for size in [*random.integers(0, 40, 600), 3000]
    ]
    titles = ["A b", "", *(f"On {text[:12]}!" for text in texts[2:])]
    return pd.DataFrame({"id": map(str, range(601)), "title": titles, "abstract": texts})


@pytest.fixture
def stored(papers: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PaperFile:
    write_parquet(tmp_path / "papers.parquet", papers)
    monkeypatch.setattr(descent, "_TOKENS", 1000)
    monkeypatch.setattr(descent, "_CHUNK", 16)
    monkeypatch.setattr(descent, "_CHUNKS", 4)
    return PaperFile(tmp_path / "papers.parquet")


def plain(papers: pd.DataFrame, min_df: int) -> tuple[Tfidf, sparse.csr_matrix]:
    """By scikit-learn: the columns, and the papers' vectors in their order."""
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, min_df=min_df, token_pattern=TOKEN_PATTERN
    )
    vectors = vectorizer.fit_transform(document_text(papers))
    tfidf, numbers = Tfidf.of(vectorizer.vocabulary_, vectorizer.idf_)
    return tfidf, vectors[:, numbers]


@pytest.mark.parametrize("most", [None, 900, 60])
def test_features_and_vectors_are_those_of_scikit_learn(
    most: int | None, papers: pd.DataFrame, stored: PaperFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    least = 2
    if most is not None:
        monkeypatch.setattr(descent, "MOST_COLUMNS", most)
        least = next(n for n in range(2, 99) if len(plain(papers, n)[0].idf) - 2 <= most)
        assert least > 2
    expected, vectors = plain(papers, least)
    tfidf, words = fit_tfidf(stored)
    tfidf.check()
    assert tfidf.vocabulary == expected.vocabulary
    assert np.array_equal(tfidf.pairs, expected.pairs)
    np.testing.assert_array_equal(tfidf.idf, expected.idf)
    encoded = tfidf.encode(stored)
    assert np.array_equal(encoded.ids, words.ids)
    assert np.array_equal(encoded.ids, tfidf.encode(papers).ids)
    found = _Vectors.of(words, tfidf)
    matrix = sparse.csr_matrix(
        (found.weights.array(), found.columns.array(), found.starts), (601, found.width)
    )
    assert abs(matrix[:, len(SPECIAL) :] - vectors).max() < 1e-6


def test_every_pass_reads_each_paper_once_in_another_order(stored: PaperFile) -> None:
    tfidf, words = fit_tfidf(stored)
    vectors = _Vectors.of(words, tfidf)
    whole = sparse.csr_matrix((vectors.weights.array(), vectors.columns.array(), vectors.starts))
    orders = []
    for seed in (0, 1):
        parts = list(vectors.in_random_order(seed))
        assert max(len(rows) for rows, _ in parts) == 64
        for rows, matrix in parts:
            assert abs(matrix - whole[rows]).max() == 0
        orders.append(np.concatenate([rows for rows, _ in parts]).tolist())
        assert sorted(orders[-1]) == list(range(601))
    assert orders[0] != orders[1]


def test_weights_do_not_depend_on_how_many_classes_are_learned_at_a_time(
    stored: PaperFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    tfidf, words = fit_tfidf(stored)
    classes = np.random.default_rng(1).random((601, 5)) < 0.3
    classes[:, 2] = True
    together = fit_weights(words, tfidf, classes)
    monkeypatch.setattr(descent, "_CLASSES", 1)
    monkeypatch.setattr(descent, "cores", lambda: 1)
    alone = fit_weights(words, tfidf, classes)
    for name in ("counts", "classes", "factors", "biases"):
        assert np.array_equal(getattr(together, name), getattr(alone, name)), name
    together.check(len(tfidf.idf), 5)
    assert together.biases[2] == descent.CERTAIN
    assert 2 not in together.classes
