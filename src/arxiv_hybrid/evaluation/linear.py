"""The linear baseline that every run is measured against: TF-IDF and logistic regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

REGULARISATION = (0.5, 2.0, 5.0)  # inverse strengths C; validation accuracy chooses


@dataclass(frozen=True)
class LinearResult:
    """Class probabilities (N, C) on validation and test papers, and how they came about."""

    val: npt.NDArray[np.float64]
    test: npt.NDArray[np.float64]
    c: float
    features: int


def document_text(papers: pd.DataFrame) -> pd.Series:
    """Title, full stop, abstract: one text a paper."""
    return papers["title"] + ". " + papers["abstract"]


def fit_linear(
    train: pd.DataFrame, val: pd.DataFrame, test: pd.DataFrame, *, classes: int
) -> LinearResult:
    """Fit TF-IDF (1-2-grams, sublinear) and logistic regression on the training papers.

    C is chosen by validation accuracy, the smaller C on a tie. Every class must occur in
    `train`.
    """
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    features = vectorizer.fit_transform(document_text(train))
    held = {
        name: vectorizer.transform(document_text(part))
        for name, part in (("val", val), ("test", test))
    }
    best: tuple[float, float, LogisticRegression] = (-1.0, 0.0, None)
    for c in tqdm(REGULARISATION, desc="linear baseline", unit="fit", disable=None, leave=False):
        model = LogisticRegression(C=c, max_iter=300, tol=1e-3)
        model.fit(features, train["label"])
        accuracy = float(model.score(held["val"], val["label"]))
        if accuracy > best[0]:
            best = (accuracy, c, model)
    _, c, model = best
    if len(model.classes_) != classes:
        raise ValueError(f"{len(model.classes_)} of {classes} classes in the training papers")
    return LinearResult(
        model.predict_proba(held["val"]), model.predict_proba(held["test"]), c, features.shape[1]
    )


def prediction_table(
    papers: pd.DataFrame, probabilities: npt.NDArray[np.float64], class_names: list[str]
) -> pd.DataFrame:
    """id, label and one probability column a class, in the papers' order."""
    table = papers[["id", "label"]].reset_index(drop=True)
    return pd.concat([table, pd.DataFrame(probabilities, columns=class_names)], axis=1)
