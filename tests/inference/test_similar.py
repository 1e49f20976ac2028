"""Vectors of papers and exact search."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from arxiv_hybrid.inference import similar
from arxiv_hybrid.inference.checkpoint import Classifier, ModelConfig
from arxiv_hybrid.inference.devices import choose_device
from arxiv_hybrid.inference.similar import Nearest, nearest, paper_vectors
from arxiv_hybrid.models import registry
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.text.vocabulary import Vocabulary

RANDOM = np.random.default_rng(0)


def classifier() -> Classifier:
    torch.manual_seed(0)
    words = ("<PAD>", "<UNK>", *(f"w{number}" for number in range(30)))
    arguments = {"vocab_size": len(words), "embed_dim": 8, "num_classes": 2, "num_filters": 4,
                 "hidden": 8}  # fmt: skip
    config = ModelConfig("v6", arguments, ["a", "b"], 10, 20)
    model = registry.build("v6", **arguments)
    return Classifier(model, Vocabulary(words), config, choose_device("cpu", "fp32"))


def papers(*rows: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["title", "abstract"])


def test_a_vector_is_the_mean_of_title_and_abstract_and_depends_on_no_other_paper() -> None:
    model = classifier()
    rows = [(f"w{i} w{i + 1}", " ".join(f"w{(i * j) % 30}" for j in range(i + 1)))
            for i in range(20)]  # fmt: skip
    together = paper_vectors(model, papers(*rows))
    alone = np.concatenate([paper_vectors(model, papers(row)) for row in rows])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    encoded = model.encode(papers(*rows)).batch(np.arange(20))
    with torch.no_grad():
        texts = model.model.eval().text_vectors(encoded.title_ids, encoded.abstract_ids)
    mean = (texts[0] + texts[1]).numpy()
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(together, mean, atol=1e-5)


def test_a_text_without_a_known_word_does_not_count() -> None:
    model = classifier()
    rows = papers(("w1 w2", ""), ("w1 w2", "qwer asdf"), ("", "w1 w2"), ("", ""), ("qwer", "asdf"))
    vectors = paper_vectors(model, rows)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert not np.allclose(vectors[0], vectors[2], atol=1e-2), "a title is not an abstract"
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 1, 1, 0, 0], atol=1e-5)


def test_other_columns_of_a_library_do_not_matter() -> None:
    model, rows = classifier(), papers(("w1", "w2"))
    same = paper_vectors(model, rows.assign(label="speech", id=7))
    np.testing.assert_array_equal(same, paper_vectors(model, rows))
    with pytest.raises(UserError, match="every paper needs a title"):
        paper_vectors(model, rows.assign(title=5))


def test_damaged_weights_give_no_vectors() -> None:
    model = classifier()
    with torch.no_grad():
        model.model.title_projection.weight.fill_(torch.nan)
    with pytest.raises(UserError, match="vectors that are not finite"):
        paper_vectors(model, papers(("w1", "w2")))


@pytest.mark.parametrize("top", [1, 3, 99, 100, 200])
@pytest.mark.parametrize("block", [7, 100, 1 << 14])
def test_the_search_is_exact(top: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similar, "BLOCK", block)
    vectors = RANDOM.normal(size=(100, 8)).astype(np.float32)
    query = RANDOM.normal(size=8).astype(np.float32)
    rows, products = nearest(vectors, query, top)
    expected = np.argsort(-(vectors @ query), kind="stable")[:top]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(products, (vectors @ query)[expected], rtol=1e-5)


def test_of_equal_papers_the_first_ones_are_kept() -> None:
    vectors = np.ones((50, 4), np.float32)
    assert nearest(vectors, vectors[0], 3)[0].tolist() == [0, 1, 2]
    best = Nearest(vectors[0], 3)
    for start in range(0, 50, 10):
        best.add(papers(*[("t", "a")] * 10), vectors[start : start + 10])
    assert [match.row for match in best.matches] == [0, 1, 2]
    assert best.papers == 50


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_reading_in_chunks_finds_the_same(chunk: int) -> None:
    vectors = RANDOM.normal(size=(64, 8)).astype(np.float32)
    query = RANDOM.normal(size=8).astype(np.float32)
    table = papers(*[(f"title {row}", "") for row in range(64)])
    best = Nearest(query, 5)
    for start in range(0, 64, chunk):
        best.add(table.iloc[start : start + chunk], vectors[start : start + chunk])
    rows, products = nearest(vectors, query, 5)
    assert [match.row for match in best.matches] == rows.tolist()
    assert [match.title for match in best.matches] == [f"title {row}" for row in rows]
    assert [match.similarity for match in best.matches] == pytest.approx(products.tolist(), 1e-5)
