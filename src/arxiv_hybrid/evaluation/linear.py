"""The linear baseline of every run: TF-IDF and logistic regression, and a model of it to save."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.utils.parallel import Parallel, delayed

from arxiv_hybrid.data.label_set import LabelSet, multi_hot
from arxiv_hybrid.data.table import PaperTable, batches
from arxiv_hybrid.evaluation.descent import CERTAIN, MANY_C, MIN_DF, fit_tfidf, fit_weights
from arxiv_hybrid.inference.familiarity import fit_familiarity
from arxiv_hybrid.inference.linear import LinearClassifier, Weights
from arxiv_hybrid.inference.model_config import LinearConfig
from arxiv_hybrid.inference.tfidf import TOKEN_PATTERN, Tfidf, WordIds
from arxiv_hybrid.system.runtime import cores
from arxiv_hybrid.system.ticker import Progress
from arxiv_hybrid.text.vocabulary import SPECIAL

CANDIDATES = (0.5, 2.0, 5.0)  # inverse regularization strengths C, chosen on validation papers
# 150 classes of 100,000 papers have 150 million weights, and the solver of logistic regression
# keeps some twenty copies of them. From this many weights on, stochastic gradient descent minimizes
# the same loss class by class, see `descent`.
MANY_WEIGHTS = 5_000_000
OUT_OF_FOLD_C = 5.0  # of the candidates, it had the least loss on flipped labels of six fields

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


def document_text(papers: PaperTable) -> Iterator[str]:
    """Title and abstract of each paper as one text, joined by a full stop."""
    for part in batches(papers):
        yield from part["title"] + ". " + part["abstract"]


def fit_linear(
    train: PaperTable, val: PaperTable, test: PaperTable, label_set: LabelSet
) -> LinearResult:
    """Fit TF-IDF (1-2-grams, sublinear) and logistic regression to the training papers.

    With several classes per paper, or `MANY_WEIGHTS`, there is one binary model per class
    (one-vs-rest). C is chosen by the share of validation papers whose likeliest class is right; on
    a tie the smaller C wins. Raises ValueError if `train` lacks a class.
    """
    classes = _classes(train, label_set)
    if absent := int((~classes.any(0)).sum()):
        raise ValueError(f"{absent} of {len(label_set)} classes have no training paper")
    if many := _many_features(train, label_set):
        return _by_descent(*many, classes, val, test, label_set)
    return _exactly(train, classes, val, test, label_set)


def out_of_fold_linear(
    papers: pd.DataFrame, folds: npt.NDArray[np.int64], label_set: LabelSet
) -> Floats:
    """Probabilities (N, C) of each paper by a model of the papers in the other folds.

    folds (N,): the fold of each paper. The model is that of `fit_linear` with C = `OUT_OF_FOLD_C`.
    TF-IDF reads no labels, so all papers share it, unless there are `MANY_WEIGHTS`. Each class
    needs papers in two folds.
    """
    result = np.empty((len(papers), len(label_set)))
    rounds = Progress(np.unique(folds), "linear models", unit="folds")
    if _many_features(papers, label_set):
        for fold in rounds:
            rest, held_out = papers[folds != fold], papers[folds == fold]
            words, classes = fit_tfidf(rest), _classes(rest, label_set)
            model = _by_descent(*words, classes, papers[:0], held_out, label_set)
            result[folds == fold] = model.test
        return result
    features = _vectorizer().fit_transform(document_text(papers))
    numbers, classes = papers["label"].to_numpy(), _classes(papers, label_set)
    for fold in rounds:
        rest, held_out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        learned, asked = features[rest], [features[held_out]]
        if label_set.multi_label:
            fitted = _one_vs_rest(OUT_OF_FOLD_C, learned, classes[rest], asked)
        else:
            fitted = _softmax(OUT_OF_FOLD_C, learned, numbers[rest], asked)
        result[held_out] = fitted.probabilities[0]
    return result


def _many_features(papers: PaperTable, label_set: LabelSet) -> tuple[Tfidf, WordIds] | None:
    """The features of papers, if they have `MANY_WEIGHTS`; else None."""
    # a word or pair is in two papers, so that there are at most as many of both as words in all
    if sum(len(text.split()) for text in document_text(papers)) * len(label_set) < MANY_WEIGHTS:
        return None
    tfidf, words = fit_tfidf(papers)
    return (tfidf, words) if len(tfidf.idf) * len(label_set) >= MANY_WEIGHTS else None


def _vectorizer() -> TfidfVectorizer:
    return TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, min_df=MIN_DF, token_pattern=TOKEN_PATTERN
    )


def _by_descent(
    tfidf: Tfidf,
    words: WordIds,
    classes: Labels,
    val: PaperTable,
    test: PaperTable,
    label_set: LabelSet,
) -> LinearResult:
    weights = fit_weights(words, tfidf, classes)
    config = LinearConfig(
        list(label_set.names), "sigmoid", TOKEN_PATTERN, label_set.multi_label, [], {}
    )
    model = LinearClassifier(config, tfidf, weights)
    on_val, on_test = (
        model.encoded_probabilities(model.encode(papers)).numpy() for papers in (val, test)
    )
    features = len(tfidf.idf) - len(SPECIAL)
    return LinearResult(on_val, on_test, MANY_C, features, tfidf, weights, "sigmoid")


def _exactly(
    train: PaperTable,
    classes: Labels,
    val: PaperTable,
    test: PaperTable,
    label_set: LabelSet,
) -> LinearResult:
    vectorizer = _vectorizer()
    features = vectorizer.fit_transform(document_text(train))
    held_out = [vectorizer.transform(document_text(papers)) for papers in (val, test)]
    right, rows = _classes(val, label_set), np.arange(len(val))
    fits: list[_Fitted] = []
    for c in Progress(CANDIDATES, "linear models", unit="fits"):
        if label_set.multi_label:
            fits.append(_one_vs_rest(c, features, classes, held_out))
        else:
            fits.append(_softmax(c, features, train["label"].to_numpy(), held_out))
    best = max(fits, key=lambda fitted: right[rows, fitted.probabilities[0].argmax(1)].mean())
    tfidf, numbers = Tfidf.of(vectorizer.vocabulary_, vectorizer.idf_)
    link = "sigmoid" if label_set.multi_label else "softmax"
    weights = _by_column(best, numbers)
    on_val, on_test = best.probabilities
    return LinearResult(on_val, on_test, best.c, features.shape[1], tfidf, weights, link)


def saved_model(
    result: LinearResult,
    train: PaperTable,
    val: PaperTable,
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


def _classes(papers: PaperTable, label_set: LabelSet) -> Labels:
    """The class or classes of each paper, (N, C)."""
    if label_set.multi_label:
        return multi_hot(papers["labels"], len(label_set))
    result: Labels = papers["label"].to_numpy()[:, None] == np.arange(len(label_set))
    return result


def _regression(c: float) -> LogisticRegression:
    return LogisticRegression(C=c, max_iter=300, tol=1e-3)


def _softmax(
    c: float,
    features: sparse.csr_matrix,
    labels: npt.NDArray[np.int64],
    held_out: list[sparse.csr_matrix],
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
    c: float, features: sparse.csr_matrix, classes: Labels, held_out: list[sparse.csr_matrix]
) -> _Fitted:
    """One binary model per class."""

    def fit(column: Labels) -> tuple[list[Floats], sparse.csc_matrix, float]:
        if column.all():  # nothing to learn
            nothing = sparse.csc_matrix((features.shape[1], 1))
            return [np.ones(papers.shape[0]) for papers in held_out], nothing, CERTAIN
        model = _regression(c).fit(features, column)
        found = [model.predict_proba(papers)[:, 1] for papers in held_out]
        return found, sparse.csc_matrix(model.coef_.T), float(model.intercept_[0])

    parallel = Parallel(n_jobs=cores(), prefer="threads", return_as="generator")
    done = parallel(delayed(fit)(column) for column in classes.T)
    count = classes.shape[1]
    done = Progress(done, "one model per class", count, "classes")
    found, weights, biases = zip(*done, strict=True)
    probabilities = [np.stack(columns, axis=1) for columns in zip(*found, strict=True)]
    return _Fitted(c, probabilities, sparse.hstack(weights, format="csc"), np.array(biases))


def _by_column(fitted: _Fitted, numbers: npt.NDArray[np.int64]) -> Weights:
    """The weights in the order of `Tfidf`; numbers: scikit-learn's feature of each column."""
    ordered = fitted.weights.tocsr()[numbers]
    ordered.sort_indices()
    counts = np.concatenate([np.zeros(len(SPECIAL), np.int64), np.diff(ordered.indptr)])
    return Weights(
        counts.astype(np.uint16),
        ordered.indices.astype(np.uint16),
        ordered.data.astype(np.float32),
        fitted.biases.astype(np.float32),
    )
