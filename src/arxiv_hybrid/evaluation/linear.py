"""The linear baseline of every run: TF-IDF and logistic regression, and a model of it to save."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from scipy.special import expit
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.utils.parallel import Parallel, delayed
from tqdm import tqdm

from arxiv_hybrid.data.label_set import LabelSet, multi_hot
from arxiv_hybrid.inference.familiarity import fit_familiarity
from arxiv_hybrid.inference.linear import LinearClassifier, Weights
from arxiv_hybrid.inference.model_config import LinearConfig
from arxiv_hybrid.inference.tfidf import TOKEN_PATTERN, Tfidf
from arxiv_hybrid.system.runtime import cores
from arxiv_hybrid.text.vocabulary import SPECIAL

CANDIDATES = (0.5, 2.0, 5.0)  # inverse regularization strengths C, chosen on validation papers
# 150 classes of 100,000 papers have 150 million weights, and the solver of logistic regression
# keeps some twenty copies of them. From this many weights on, stochastic gradient descent minimizes
# the same loss class by class, with one C and a few passes over the training papers.
MANY_WEIGHTS = 5_000_000
MANY_C, PASSES = 10.0, 5
# Of so many weights those below SMALL are dropped and the others rounded to 16 bits. Of 253 million
# weights (143 classes) 12 % stay, 120 MB; no probability of 9,165 test papers moves by more than
# 0.019, and micro-F1 by 0.1 points.
SMALL = 0.05
CERTAIN = 40.0  # the bias of a class that all papers have: its probability is 1

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class LinearResult:
    """Class probabilities (N, C) of validation and test papers; C and the number of features.

    Rows sum to 1, unless a paper may have several classes. tfidf, weights, link: of the model that
    gives these probabilities, see `saved_model`.
    """

    val: Floats
    test: Floats
    c: float
    features: int
    tfidf: Tfidf
    weights: Weights
    link: str


@dataclass(frozen=True)
class _Fitted:
    """Probabilities (N, C) of validation and test papers, and the weights (V, C) and biases (C,).

    c: the strength. V: scikit-learn's features; the matrix is sparse.
    """

    c: float
    probabilities: list[Floats]
    weights: sparse.csc_matrix
    biases: Floats


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
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, min_df=2, token_pattern=TOKEN_PATTERN
    )
    features = vectorizer.fit_transform(document_text(train))
    held_out = [vectorizer.transform(document_text(papers)) for papers in (val, test)]
    classes, right = _classes(train, label_set), _classes(val, label_set)
    if absent := int((~classes.any(0)).sum()):
        raise ValueError(f"{absent} of {len(label_set)} classes have no training paper")
    many = features.shape[1] * len(label_set) >= MANY_WEIGHTS
    one_vs_rest = label_set.multi_label or many
    fits: list[_Fitted] = []
    candidates = (MANY_C,) if many else CANDIDATES
    for c in tqdm(candidates, desc="linear baseline", unit="fit", disable=None, leave=False):
        if one_vs_rest:
            fits.append(_one_vs_rest(c, features, classes, held_out, many=many))
        else:
            fits.append(_softmax(c, features, train["label"], held_out))
    rows = np.arange(len(val))
    best = max(fits, key=lambda fitted: right[rows, fitted.probabilities[0].argmax(1)].mean())
    val_fitted, test_fitted = best.probabilities
    if many and not label_set.multi_label:
        val_fitted, test_fitted = (p / p.sum(1, keepdims=True) for p in (val_fitted, test_fitted))
    tfidf, numbers = Tfidf.of(vectorizer.vocabulary_, vectorizer.idf_)
    return LinearResult(
        val_fitted,
        test_fitted,
        best.c,
        features.shape[1],
        tfidf=tfidf,
        weights=_by_column(best, numbers, many=many),
        link="sigmoid" if one_vs_rest else "softmax",
    )


def saved_model(
    result: LinearResult,
    train: pd.DataFrame,
    val: pd.DataFrame,
    label_set: LabelSet,
    *,
    thresholds: Floats | None = None,
) -> LinearClassifier:
    """The fitted model as a classifier; what is usual for papers is learned from `train` and `val`.

    thresholds (C,): of the classes, if a paper may have several.
    """
    config = LinearConfig(
        list(label_set.names),
        result.link,
        TOKEN_PATTERN,
        label_set.multi_label,
        [] if thresholds is None else thresholds.tolist(),
        label_set.titles(),
    )
    words, held_out = (result.tfidf.encode(papers) for papers in (train, val))
    classes = _classes(train, label_set)
    known = fit_familiarity(words, classes, held_out, len(result.tfidf.vocabulary))
    return LinearClassifier(config, result.tfidf, result.weights, known)


def _classes(papers: pd.DataFrame, label_set: LabelSet) -> Labels:
    """The class or classes of each paper, (N, C)."""
    if label_set.multi_label:
        return multi_hot(papers["labels"], len(label_set))
    result: Labels = papers["label"].to_numpy()[:, None] == np.arange(len(label_set))
    return result


def _regression(c: float) -> LogisticRegression:
    return LogisticRegression(C=c, max_iter=300, tol=1e-3)


def _descent(c: float, papers: int) -> SGDClassifier:
    alpha = 1 / (c * papers)
    return SGDClassifier(
        loss="log_loss", alpha=alpha, max_iter=PASSES, tol=None, average=True, random_state=0
    )


def _softmax(
    c: float, features: sparse.csr_matrix, labels: pd.Series, held_out: list[sparse.csr_matrix]
) -> _Fitted:
    """One model of all classes."""
    model = _regression(c).fit(features, labels)
    weights, biases = model.coef_.T, model.intercept_
    if len(biases) == 1:  # of two classes the second one's: the first one has zeros
        weights, biases = (
            np.concatenate([np.zeros_like(x), x], axis=-1) for x in (weights, biases)
        )
    probabilities = [model.predict_proba(papers) for papers in held_out]
    return _Fitted(c, probabilities, sparse.csc_matrix(weights), biases)


def _one_vs_rest(
    c: float,
    features: sparse.csr_matrix,
    classes: Labels,
    held_out: list[sparse.csr_matrix],
    *,
    many: bool,
) -> _Fitted:
    """One binary model per class; of many weights each model's small ones are dropped at once."""

    def fit(column: Labels) -> tuple[list[Floats], sparse.csc_matrix, float]:
        if column.all():  # nothing to learn
            nothing = sparse.csc_matrix((features.shape[1], 1))
            return [np.ones(papers.shape[0]) for papers in held_out], nothing, CERTAIN
        model = (_descent(c, features.shape[0]) if many else _regression(c)).fit(features, column)
        weights, bias = model.coef_[0], float(model.intercept_[0])
        if many:
            weights = _rounded(weights)
            found = [expit(papers @ weights + bias) for papers in held_out]
        else:
            found = [model.predict_proba(papers)[:, 1] for papers in held_out]
        return found, sparse.csc_matrix(weights[:, None]), bias

    parallel = Parallel(n_jobs=cores(), prefer="threads", return_as="generator")
    done = parallel(delayed(fit)(column) for column in classes.T)
    count = classes.shape[1]
    done = tqdm(done, "one-vs-rest", count, unit="class", delay=2, disable=None, leave=False)
    found, weights, biases = zip(*done, strict=True)
    probabilities = [np.stack(columns, axis=1) for columns in zip(*found, strict=True)]
    return _Fitted(c, probabilities, sparse.hstack(weights, format="csc"), np.array(biases))


def _rounded(weights: Floats) -> Floats:
    """The weights (V,) in half precision; those below `SMALL` are 0."""
    halves = weights.astype(np.float16).astype(np.float64)
    return np.where(np.abs(weights) < SMALL, 0.0, halves)


def _by_column(fitted: _Fitted, numbers: npt.NDArray[np.int64], *, many: bool) -> Weights:
    """The weights in the order of `Tfidf`; numbers: scikit-learn's feature of each column."""
    ordered = fitted.weights.tocsr()[numbers]
    ordered.sort_indices()
    counts = np.concatenate([np.zeros(len(SPECIAL), np.int64), np.diff(ordered.indptr)])
    return Weights(
        counts.astype(np.uint16),
        ordered.indices.astype(np.uint16),
        ordered.data.astype(np.float16 if many else np.float32),
        fitted.biases.astype(np.float32),
    )
