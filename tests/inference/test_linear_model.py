"""The linear model as a saved classifier: the same answers without scikit-learn."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from linear_models import linear_model
from sklearn.feature_extraction.text import TfidfVectorizer

from arxiv_hybrid.evaluation.occlusion import occlusion
from arxiv_hybrid.inference import checkpoint, linear
from arxiv_hybrid.inference.linear import LinearClassifier
from arxiv_hybrid.inference.tfidf import TOKEN_PATTERN, Tfidf, WordIds
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.text.vocabulary import SPECIAL

TEXTS = pd.DataFrame(
    [
        ("Deep learning", "of words speech; deep deep deep LEARNING learning"),
        ("", ""),
        ("unknown", "altogether strange"),
        ("words", "Words.Words words' x y speech"),
        ("Über Straße", "naïve CO2 a_b 10.5 ﬁne İstanbul deep"),
        ("deep", ""),
    ],
    columns=["title", "abstract"],
)


def sums_by_hand(model: LinearClassifier, tokens: list[str]) -> np.ndarray:
    """The logits of a text of these words, `?` for one that is hidden."""
    vocabulary, pairs = model.vocabulary, model.tfidf.pairs.tolist()
    ids = [vocabulary.index.get(token, 1) for token in tokens]
    columns = [number for number in ids if number > 1]
    columns += [
        len(vocabulary) + pairs.index([*pair]) for pair in pairwise(ids) if [*pair] in pairs
    ]
    vector = np.zeros(len(model.tfidf.idf))
    for column in columns:
        vector[column] += 1
    vector = np.where(vector > 0, 1 + np.log(np.maximum(vector, 1)), 0) * model.tfidf.idf
    dense = np.zeros((len(vector), len(model.config.classes)))
    rows = np.repeat(np.arange(len(vector)), model.weights.counts)
    dense[rows, model.weights.classes] = model.weights.factors
    return vector @ dense / max(np.linalg.norm(vector), 1e-6) + model.weights.biases


@pytest.mark.parametrize(("link", "multi_label"), [("softmax", False), ("sigmoid", False),
                                                   ("sigmoid", True)])  # fmt: skip
def test_probabilities_are_those_of_sums_by_hand(link: str, multi_label: bool) -> None:
    model = linear_model(link=link, multi_label=multi_label, classes=("a", "b", "c"))
    title, abstract = TEXTS.iloc[0]
    tokens = ["deep", "learning", "of", "words", "speech", *["deep"] * 3, *["learning"] * 2]
    logits = sums_by_hand(model, tokens)
    expected = np.exp(logits) if link == "softmax" else 1 / (1 + np.exp(-logits))
    if not multi_label:
        expected /= expected.sum()
    found = model.probabilities([(title, abstract)]).numpy()[0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_columns_and_values_are_those_of_scikit_learn() -> None:
    joined = TEXTS["title"] + ". " + TEXTS["abstract"]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    expected = vectorizer.fit_transform(joined).toarray()
    assert vectorizer.token_pattern == TOKEN_PATTERN
    tfidf, numbers = Tfidf.of(vectorizer.vocabulary_, vectorizer.idf_)
    tfidf.check()
    entries = tfidf.entries(tfidf.encode(TEXTS))
    found = np.zeros((len(TEXTS), len(tfidf.idf)))
    found[entries.rows, entries.columns] = tfidf.values(entries)
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
    np.testing.assert_allclose(found[:, len(SPECIAL) :], expected[:, numbers], rtol=1e-6)
    assert not found[:, : len(SPECIAL)].any()


def test_without_pairs_there_are_words_only() -> None:
    tfidf, _ = Tfidf.of({"deep": 0, "words": 1}, np.array([1.0, 2.0]))
    tfidf.check()
    entries = tfidf.entries(tfidf.encode(TEXTS.head(1)))
    assert entries.counts.tolist() == [4, 1]
    assert tfidf.words_in(entries.columns).tolist() == [[2, 2], [3, 3]]


@pytest.mark.parametrize("tokens", [1, 5, 7, 1000])
def test_the_size_of_blocks_does_not_matter(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = linear_model()
    papers = model.encode(pd.concat([TEXTS] * 3, ignore_index=True))
    expected = model.encoded_probabilities(papers)
    parts = list(papers.blocks(tokens))
    assert sum(map(len, parts)) == len(papers)
    assert all(len(part.ids) <= tokens or len(part) == 1 for part in parts)
    assert np.concatenate([part.ids for part in parts]).tolist() == papers.ids.tolist()
    monkeypatch.setattr(linear, "_PRODUCTS", tokens)
    monkeypatch.setattr(WordIds.blocks, "__defaults__", (tokens,))
    np.testing.assert_allclose(model.encoded_probabilities(papers), expected, rtol=1e-12)


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_saved_model_gives_the_same_answers(multi_label: bool, tmp_path: Path) -> None:
    model = linear_model(multi_label=multi_label, threshold=-1.0)
    model.save(tmp_path)
    loaded = checkpoint.load(tmp_path)
    assert isinstance(loaded, LinearClassifier)
    table = loaded.classify(TEXTS)
    pd.testing.assert_frame_equal(table, model.classify(TEXTS))
    assert table.columns.tolist() == loaded.columns
    assert set(table["unsure"]) == {True, False}, "the premise"
    assert (loaded.config, loaded.origin) == (model.config, model.origin)
    assert str(loaded) == (
        "linear model with 2 classes, trained on 30 papers of a.csv, 2025-10 to 2025-11; "
        "on 2026-01-02"
    )
    assert loaded.known_words(TEXTS.head(1)) == (10, 10)
    assert loaded.known_words([("", "strange words x")]) == (1, 2)
    assert checkpoint.digest(tmp_path) != ""


def test_occlusion_hides_one_word_at_a_time() -> None:
    model = linear_model()
    text = ["deep", "learning", "words", "speech", "deep", "strange", "of"]
    result = occlusion(model, "", " ".join(text))
    number = model.config.classes.index(result.predicted)

    def probability(tokens: list[str]) -> float:
        logits = sums_by_hand(model, tokens)
        return float(np.exp(logits[number]) / np.exp(logits).sum())

    whole = probability(text)
    expected = {
        hidden: whole - probability(["?" if word == hidden else word for word in text])
        for hidden in ("deep", "learning", "words", "speech", "of")
    }
    assert dict(result.drops) == pytest.approx(expected, rel=1e-5, abs=1e-9)
    drops = [drop for _, drop in result.drops]
    assert drops == sorted(drops, reverse=True)
    assert result.confidence == pytest.approx(whole)


@pytest.mark.parametrize("text", ["", "strange", "deep", "deep deep"])
def test_occlusion_of_texts_with_few_words(text: str) -> None:
    model = linear_model()
    result = occlusion(model, text, "")
    assert [word for word, _ in result.drops] == (["deep"] if "deep" in text else [])
    without = model.probabilities([("", "")]).numpy()[0]
    if "deep" in text:
        left = result.confidence - result.drops[0][1]
        assert left == pytest.approx(without[model.config.classes.index(result.predicted)])


def test_only_a_network_has_attention(tmp_path: Path) -> None:
    linear_model().save(tmp_path)
    with pytest.raises(UserError, match="expected a network, found a linear model"):
        checkpoint.load_network(tmp_path)
