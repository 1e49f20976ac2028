"""The linear baseline of every run: TF-IDF and logistic regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

CANDIDATES = (0.5, 2.0, 5.0)  # inverse regularization strengths C, chosen on validation papers


@dataclass(frozen=True)
class LinearResult:
    """Class probabilities (N, C) of validation and test papers; C and the number of features."""

    val: npt.NDArray[np.float64]
    test: npt.NDArray[np.float64]
    c: float
    features: int


def document_text(papers: pd.DataFrame) -> pd.Series:
    """Title and abstract of each paper as one text, joined by a full stop."""
    return papers["title"] + ". " + papers["abstract"]


def fit_linear(
    train: pd.DataFrame, val: pd.DataFrame, test: pd.DataFrame, *, classes: int
) -> LinearResult:
    """Fit TF-IDF (1-2-grams, sublinear) and logistic regression to the training papers.

    C is chosen by validation accuracy; on a tie the smaller C wins. Raises ValueError if
    `train` lacks a class.
    """
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    features = vectorizer.fit_transform(document_text(train))
    val_features = vectorizer.transform(document_text(val))
    test_features = vectorizer.transform(document_text(test))
    best: tuple[float, float, LogisticRegression] = (-1.0, 0.0, None)
    for c in tqdm(CANDIDATES, desc="linear baseline", unit="fit", disable=None, leave=False):
        model = LogisticRegression(C=c, max_iter=300, tol=1e-3)
        model.fit(features, train["label"])
        accuracy = float(model.score(val_features, val["label"]))
        if accuracy > best[0]:
            best = (accuracy, c, model)
    _, c, model = best
    if len(model.classes_) != classes:
        raise ValueError(f"{len(model.classes_)} of {classes} classes in the training papers")
    return LinearResult(
        val=model.predict_proba(val_features),
        test=model.predict_proba(test_features),
        c=c,
        features=features.shape[1],
    )


def prediction_table(
    papers: pd.DataFrame, probabilities: npt.NDArray[np.float64], class_names: list[str]
) -> pd.DataFrame:
    """Columns id, label and one probability per class; rows in the order of the papers."""
    table = papers[["id", "label"]].reset_index(drop=True)
    return pd.concat([table, pd.DataFrame(probabilities, columns=class_names)], axis=1)
