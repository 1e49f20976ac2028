"""The linear baseline of every run: TF-IDF and logistic regression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.utils.parallel import Parallel, delayed
from tqdm import tqdm

from arxiv_hybrid.data.label_set import LabelSet, multi_hot
from arxiv_hybrid.system.runtime import cores

CANDIDATES = (0.5, 2.0, 5.0)  # inverse regularization strengths C, chosen on validation papers
# 150 classes of 100,000 papers have 150 million weights, and the solver of logistic regression
# keeps some twenty copies of them. From this many weights on, stochastic gradient descent minimizes
# the same loss class by class, with one C and a few passes over the training papers.
MANY_WEIGHTS = 5_000_000
MANY_C, PASSES = 10.0, 5

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class LinearResult:
    """Class probabilities (N, C) of validation and test papers; C and the number of features.

    Rows sum to 1, unless a paper may have several classes.
    """

    val: Floats
    test: Floats
    c: float
    features: int


def document_text(papers: pd.DataFrame) -> pd.Series:
    """Title and abstract of each paper as one text, joined by a full stop."""
    return papers["title"] + ". " + papers["abstract"]


def fit_linear(
    train: pd.DataFrame, val: pd.DataFrame, test: pd.DataFrame, label_set: LabelSet
) -> LinearResult:
    """Fit TF-IDF (1-2-grams, sublinear) and logistic regression to the training papers.

    With several classes per paper, or `MANY_WEIGHTS`, there is one binary model per class
    (one-vs-rest). C is chosen by the share of validation papers whose likeliest class is right; on
    a tie the smaller C wins. Raises ValueError if `train` lacks a class.
    """
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    features = vectorizer.fit_transform(document_text(train))
    held_out = [vectorizer.transform(document_text(papers)) for papers in (val, test)]
    classes, right = _classes(train, label_set), _classes(val, label_set)
    if absent := int((~classes.any(0)).sum()):
        raise ValueError(f"{absent} of {len(label_set)} classes have no training paper")
    many = features.shape[1] * len(label_set) >= MANY_WEIGHTS
    best: tuple[float, float, list[Floats]] = (-1.0, 0.0, [])
    candidates = (MANY_C,) if many else CANDIDATES
    for c in tqdm(candidates, desc="linear baseline", unit="fit", disable=None, leave=False):
        if label_set.multi_label or many:
            new_model = partial(_descent if many else _regression, c, len(train))
            fitted = _one_vs_rest(new_model, features, classes, held_out)
        else:
            model = _regression(c, len(train)).fit(features, train["label"])
            fitted = [model.predict_proba(papers) for papers in held_out]
        score = float(right[np.arange(len(val)), fitted[0].argmax(1)].mean())
        if score > best[0]:
            best = (score, c, fitted)
    _, c, (val_fitted, test_fitted) = best
    if many and not label_set.multi_label:
        val_fitted, test_fitted = (p / p.sum(1, keepdims=True) for p in (val_fitted, test_fitted))
    return LinearResult(val_fitted, test_fitted, c, features.shape[1])


def _classes(papers: pd.DataFrame, label_set: LabelSet) -> Labels:
    """The class or classes of each paper, (N, C)."""
    if label_set.multi_label:
        return multi_hot(papers["labels"], len(label_set))
    result: Labels = papers["label"].to_numpy()[:, None] == np.arange(len(label_set))
    return result


def _regression(c: float, _: int) -> LogisticRegression:
    return LogisticRegression(C=c, max_iter=300, tol=1e-3)


def _descent(c: float, papers: int) -> SGDClassifier:
    alpha = 1 / (c * papers)
    return SGDClassifier(
        loss="log_loss", alpha=alpha, max_iter=PASSES, tol=None, average=True, random_state=0
    )


def _one_vs_rest(
    new_model: Callable[[], Any],
    features: sparse.csr_matrix,
    classes: Labels,
    held_out: list[sparse.csr_matrix],
) -> list[Floats]:
    """Probabilities (N, C) by one binary model per class, which is dropped at once."""

    def fit(column: Labels) -> list[Floats]:
        if column.all():  # nothing to learn
            return [np.ones(papers.shape[0]) for papers in held_out]
        model = new_model().fit(features, column)
        return [model.predict_proba(papers)[:, 1] for papers in held_out]

    parallel = Parallel(n_jobs=cores(), prefer="threads", return_as="generator")
    done = parallel(delayed(fit)(column) for column in classes.T)
    count = classes.shape[1]
    done = tqdm(done, "one-vs-rest", count, unit="class", delay=2, disable=None, leave=False)
    return [np.stack(columns, axis=1) for columns in zip(*done, strict=True)]
