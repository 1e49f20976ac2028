"""Papers unlike the training papers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CPU
from safetensors.torch import load, load_file, save, save_file
from sklearn.feature_extraction.text import TfidfVectorizer

from arxiv_hybrid.inference import familiarity
from arxiv_hybrid.inference.encoding import EncodedPapers, encode_papers
from arxiv_hybrid.inference.familiarity import UNFAMILIAR, Familiarity, fit_familiarity
from arxiv_hybrid.text.tokenize import tokenize
from arxiv_hybrid.text.vocabulary import Vocabulary

Splits = dict[str, pd.DataFrame]


def encode(papers: pd.DataFrame, vocabulary: Vocabulary) -> EncodedPapers:
    return encode_papers(papers, vocabulary, title_length=30, abstract_length=300, device=CPU)


def typed(*texts: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(texts, columns=["title", "abstract"])


@pytest.fixture(scope="module")
def fitted(splits: Splits, vocabulary: Vocabulary) -> Familiarity:
    train, val = (encode(splits[name], vocabulary) for name in ("train", "val"))
    classes = np.eye(3, dtype=bool)[splits["train"]["label"]]
    return fit_familiarity(train, classes, val, len(vocabulary))


def test_nonsense_and_other_languages_are_unfamiliar(
    fitted: Familiarity, splits: Splits, vocabulary: Vocabulary
) -> None:
    strange = typed(
        ("asdf qwer", "zxcv uiop hjkl"),
        ("", ""),
        ("Über die Theorie", "Wir zeigen, dass jede endliche Gruppe auflösbar ist " * 5),
        ("the", "of of of the the the and and"),
    )
    assert fitted.unfamiliar(encode(strange, vocabulary)).all()
    share = fitted.unfamiliar(encode(splits["val"], vocabulary)).mean()
    assert share == pytest.approx(UNFAMILIAR, abs=1 / len(splits["val"]))
    assert fitted.unfamiliar(encode(splits["test"], vocabulary)).mean() < 0.25


def test_a_title_alone_is_compared_with_short_texts(
    fitted: Familiarity, splits: Splits, vocabulary: Vocabulary
) -> None:
    titles = splits["train"].assign(abstract="")
    assert fitted.unfamiliar(encode(titles, vocabulary)).mean() < 0.5
    abstracts = splits["train"].assign(title="")
    assert fitted.unfamiliar(encode(abstracts, vocabulary)).mean() < 0.1


def test_likeness_is_the_cosine_of_tf_idf_vectors(
    fitted: Familiarity, splits: Splits, vocabulary: Vocabulary
) -> None:
    """scikit-learn gives the same, for texts in which every word is known."""
    train = splits["train"]
    texts = [" ".join(word for word in tokenize(f"{row.title} {row.abstract}")
                      if word in vocabulary.index) for row in train.itertuples()]  # fmt: skip
    known = train.assign(title="", abstract=texts)
    vectorizer = TfidfVectorizer(
        vocabulary=vocabulary.index, tokenizer=str.split, token_pattern=None, lowercase=False,
        sublinear_tf=True, smooth_idf=True,
    )  # fmt: skip
    vectorizer.fit(texts)
    vectorizer.idf_ = vectorizer.idf_ - 1  # ours has no floor of 1
    vectors = vectorizer.transform(texts).toarray()
    means = np.stack([vectors[train["label"] == c].sum(0) for c in range(3)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    encoded = encode(known, vocabulary)
    ours = fit_familiarity(encoded, np.eye(3, dtype=bool)[train["label"]], encoded, len(vocabulary))
    (tokens,) = familiarity._chunks(encoded)
    np.testing.assert_allclose(ours.likeness(tokens), (vectors @ means.T).max(1), atol=2e-3)
    assert fitted.idf.shape == (len(vocabulary),)


def test_unknown_words_lower_the_likeness(fitted: Familiarity, vocabulary: Vocabulary) -> None:
    words = "neural networks for language models"
    papers = typed((words, ""), (words + " qqq", ""), (words + " qqq www", ""))
    (tokens,) = familiarity._chunks(encode(papers, vocabulary))
    likeness = fitted.likeness(tokens)
    assert (np.diff(likeness) < 0).all()


def test_the_number_of_papers_in_memory_changes_nothing(
    fitted: Familiarity, splits: Splits, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = encode(splits["train"], vocabulary)
    whole = fitted.scores(encoded)
    monkeypatch.setattr(familiarity, "_CHUNK", 7)
    np.testing.assert_allclose(fitted.scores(encoded), whole)
    classes = np.eye(3, dtype=bool)[splits["train"]["label"]]
    again = fit_familiarity(encoded, classes, encode(splits["val"], vocabulary), len(vocabulary))
    np.testing.assert_allclose(again.means, fitted.means, atol=1e-3)
    assert again.threshold == pytest.approx(fitted.threshold, abs=1e-3)


def test_a_round_trip(fitted: Familiarity, splits: Splits, vocabulary: Vocabulary) -> None:
    content = familiarity.to_bytes(fitted)
    loaded = familiarity.parse(content, words=len(vocabulary), classes=3)
    encoded = encode(splits["test"], vocabulary)
    assert np.array_equal(loaded.scores(encoded), fitted.scores(encoded))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"idf": torch.zeros(3)}, "expected .* words and 3 classes"),
        ({"means": torch.full((2, 3), torch.nan)}, "expected .* words and 3 classes"),
        ({"threshold": torch.tensor(torch.inf)}, "not finite"),
        ({"curve": torch.tensor([[8.0, 4.0], [1.0, 1.0], [1.0, 1.0]])}, "lengths must increase"),
        ({"curve": torch.tensor([[8.0], [1.0], [0.0]])}, "deviations be positive"),
        ({"curve": torch.zeros(3, 0)}, "lengths must increase"),
        ({"more": torch.zeros(1)}, "expected"),
    ],
)
def test_a_damaged_file_is_refused(
    change: dict[str, Any], message: str, fitted: Familiarity, vocabulary: Vocabulary,
    tmp_path: Path,
) -> None:  # fmt: skip
    path = tmp_path / "f.safetensors"
    path.write_bytes(familiarity.to_bytes(fitted))
    save_file(load_file(path) | change, path)
    with pytest.raises(ValueError, match=message):
        familiarity.parse(path.read_bytes(), words=len(vocabulary), classes=3)


def many_classes(splits: Splits, vocabulary: Vocabulary, classes: int) -> Familiarity:
    """Fitted with classes of equal size, each within one of the three of the corpus."""
    train, val = (encode(splits[name], vocabulary) for name in ("train", "val"))
    labels = splits["train"]["label"].to_numpy()
    numbers = labels + 3 * (np.arange(len(labels)) % (classes // 3))
    return fit_familiarity(train, np.eye(classes, dtype=bool)[numbers], val, len(vocabulary))


@pytest.mark.parametrize("classes", [42, 60])
def test_of_many_classes_only_the_largest_means_are_kept(
    classes: int, splits: Splits, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(familiarity, "LARGEST", 20)
    many = many_classes(splits, vocabulary, classes)
    assert many.means.shape == (len(vocabulary), classes)
    norms = np.linalg.norm(many.means, axis=0)
    np.testing.assert_allclose(norms[norms > 0], 1, atol=0.01)
    assert ((many.means > 0).sum(0) <= 20).all()
    content = familiarity.to_bytes(many)
    assert len(content) < 20 * classes * 6 + 4 * len(vocabulary) + 1000
    loaded = familiarity.parse(content, words=len(vocabulary), classes=classes)
    assert familiarity.to_bytes(loaded) == content
    np.testing.assert_array_equal(loaded.means, many.means)
    strange = typed(("asdf qwer", "zxcv uiop hjkl"), ("the", "of of of the the the and and"))
    assert loaded.unfamiliar(encode(strange, vocabulary)).all()
    val = encode(splits["val"], vocabulary)
    assert loaded.unfamiliar(val).mean() == pytest.approx(UNFAMILIAR, abs=1 / len(val))


def test_a_model_of_all_of_arxiv_stays_below_two_megabytes() -> None:
    random = np.random.default_rng(0)
    means = random.random((60_000, 152), np.float32)
    curve = np.array([[4], [0.5], [0.1]], np.float32)
    many = Familiarity(np.ones(60_000, np.float32), means, 3.0, curve, 0.0)
    assert len(familiarity.to_bytes(many)) < 2e6


def test_as_many_classes_as_are_kept_whole_are_saved_as_before(
    splits: Splits, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(familiarity, "LARGEST", 20)
    content = load(familiarity.to_bytes(many_classes(splits, vocabulary, 39)))
    assert content.keys() == {"idf", "means", "curve", "unknown", "threshold"}
    assert content["means"].shape == (len(vocabulary), 39)


def test_a_whole_file_of_many_classes_is_read(splits: Splits, vocabulary: Vocabulary) -> None:
    """Older versions kept all means of any number of classes."""
    content = load(familiarity.to_bytes(many_classes(splits, vocabulary, 42)))
    del content["rows"]
    content["means"] = torch.full((len(vocabulary), 42), 0.5).half()
    read = familiarity.parse(save(content), words=len(vocabulary), classes=42)
    assert (read.means == 0.5).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], "expected .* words and 42 classes"),
        (lambda rows: rows[:, :-1], "expected .* words and 42 classes"),
        (lambda rows: rows + 10**6, "rows must be numbers of words"),
        (lambda rows: rows - 1, "rows must be numbers of words"),
        (lambda rows: rows.flip(0), "rows must be numbers of words"),
        (lambda rows: rows * 0, "rows must be numbers of words"),
        (lambda rows: rows.float(), "rows must be numbers of words"),
    ],
)
def test_damaged_rows_are_refused(
    change, message: str, splits: Splits, vocabulary: Vocabulary
) -> None:
    content = load(familiarity.to_bytes(many_classes(splits, vocabulary, 42)))
    content["rows"] = change(content["rows"]).contiguous()
    with pytest.raises(ValueError, match=message):
        familiarity.parse(save(content), words=len(vocabulary), classes=42)
