"""The linear baseline: one or several classes per paper, few or many weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from random_predictions import label_set
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from arxiv_hybrid.data.label_set import multi_hot
from arxiv_hybrid.evaluation import descent, linear
from arxiv_hybrid.evaluation.linear import document_text, fit_linear, saved_model
from arxiv_hybrid.inference import checkpoint

CLASSES = 4
Parts = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def papers(number: int, seed: int) -> pd.DataFrame:
    """Papers with one or two classes, which their words tell with some noise."""
    random = np.random.default_rng(seed)
    first, second = random.integers(CLASSES, size=(2, number))
    noise = random.integers(CLASSES, size=(number, 3))
    rows = []
    for a, b, others in zip(first, second, noise, strict=True):
        words = [f"word{a}", f"word{b}", "the", "of", *(f"word{other}" for other in others)]
        rows.append((f"On word{a}", " ".join(random.permutation(words)), a, sorted({a, b})))
    return pd.DataFrame(rows, columns=["title", "abstract", "label", "labels"])


@pytest.fixture(scope="module")
def parts() -> Parts:
    return papers(400, 0), papers(200, 1), papers(200, 2)


def accuracy(result: np.ndarray, part: pd.DataFrame) -> float:
    return float((result.argmax(1) == part["label"]).mean())


def test_one_class_per_paper_is_logistic_regression(parts: Parts) -> None:
    train, val, test = parts
    result = fit_linear(*parts, label_set(CLASSES, multi_label=False))
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    x = vectorizer.fit_transform(document_text(train))
    models = {
        c: LogisticRegression(C=c, max_iter=300, tol=1e-3).fit(x, train["label"])
        for c in linear.CANDIDATES
    }
    scores = {
        c: model.score(vectorizer.transform(document_text(val)), val["label"])
        for c, model in models.items()
    }
    assert result.c == max(scores, key=lambda c: (scores[c], -c))
    expected = models[result.c].predict_proba(vectorizer.transform(document_text(test)))
    np.testing.assert_allclose(result.test, expected)
    assert result.features == x.shape[1]


def test_several_classes_have_probabilities_of_their_own(parts: Parts) -> None:
    result = fit_linear(*parts, label_set(CLASSES, multi_label=True))
    listed = multi_hot(parts[2]["labels"], CLASSES)
    assert result.test.shape == listed.shape
    assert (result.test.sum(1) > 1.1).any(), "rows need not sum to 1"
    assert result.test[listed].mean() > result.test[~listed].mean() + 0.2
    assert listed[np.arange(len(listed)), result.test.argmax(1)].mean() > 0.8


@pytest.mark.parametrize("multi_label", [False, True])
def test_many_weights_are_fitted_by_descent_as_well(
    parts: Parts, multi_label: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = label_set(CLASSES, multi_label=multi_label)
    exact = fit_linear(*parts, classes)
    monkeypatch.setattr(linear, "MANY_WEIGHTS", 1)
    result, again = fit_linear(*parts, classes), fit_linear(*parts, classes)
    assert result.c == descent.MANY_C
    assert np.array_equal(result.test, again.test), "the threads' order does not matter"
    if not multi_label:
        np.testing.assert_allclose(result.test.sum(1), 1)
    assert accuracy(result.test, parts[2]) > accuracy(exact.test, parts[2]) - 0.05
    assert accuracy(result.val, parts[1]) > 0.6


def test_a_class_that_every_training_paper_has(parts: Parts) -> None:
    train, val, test = (
        part.assign(labels=part["labels"].map(lambda labels: sorted({0, *labels})))
        for part in parts
    )
    result = fit_linear(train, val, test, label_set(CLASSES, multi_label=True))
    assert (result.test[:, 0] == 1).all()


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_class_without_training_papers_is_refused(parts: Parts, multi_label: bool) -> None:
    with pytest.raises(ValueError, match="1 of 5 classes have no training paper"):
        fit_linear(*parts, label_set(CLASSES + 1, multi_label=multi_label))


KINDS = ("one of 4", "one of 2", "several", "several, one of all", "many, one", "many, several")


@pytest.mark.parametrize("kind", KINDS)
def test_the_saved_model_has_the_probabilities_of_the_stage(
    kind: str, parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    multi_label, classes = "several" in kind, 2 if kind == "one of 2" else CLASSES
    if "many" in kind:
        monkeypatch.setattr(linear, "MANY_WEIGHTS", 1)
    if kind == "one of 2":
        parts = tuple(part[part["label"] < 2].reset_index(drop=True) for part in parts)  # type: ignore[assignment]
    if kind == "several, one of all":
        parts = tuple(part.assign(labels=part["labels"].map(lambda x: sorted({0, *x})))
                      for part in parts)  # type: ignore[assignment]  # fmt: skip
    train, val, test = parts
    names = label_set(classes, multi_label=multi_label)
    result = fit_linear(*parts, names)
    thresholds = np.array([0.3, 0.4, 0.45, 0.5]) if multi_label else None
    saved_model(result, train, val, names, thresholds=thresholds).save(tmp_path)
    loaded = checkpoint.load(tmp_path)
    for papers, expected in ((val, result.val), (test, result.test)):
        found = loaded.probabilities(papers).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert loaded.config.thresholds == ([] if thresholds is None else thresholds.tolist())
    assert loaded.classify(test)["unsure"].mean() < 0.25
    strange = loaded.classify([("qwer asdf", "zxcv uiop"), ("", "")])
    assert strange["unsure"].all()


def test_small_ones_of_many_weights_are_dropped_and_their_loss_is_small(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = label_set(CLASSES, multi_label=True)
    monkeypatch.setattr(linear, "MANY_WEIGHTS", 1)
    monkeypatch.setattr(descent, "SMALL", 0.0)
    whole = fit_linear(*parts, names)
    monkeypatch.setattr(descent, "SMALL", 0.05)
    rounded = fit_linear(*parts, names)
    assert len(rounded.weights.factors) < len(whole.weights.factors)
    assert np.abs(rounded.weights.factors).min() > 0.0499
    assert rounded.weights.factors.dtype == np.float16
    assert 0 < np.abs(rounded.test - whole.test).max() < 0.02
