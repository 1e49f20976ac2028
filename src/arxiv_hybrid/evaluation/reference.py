"""What a model did on its test papers, for `update` to compare new papers with."""

from __future__ import annotations

import numpy as np
import pandas as pd

from arxiv_hybrid.audit.monitoring import Reference, classes_of_cells, observations
from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.evaluation.predictions import Predictions
from arxiv_hybrid.inference.classifier import TextClassifier


def reference_of(
    classifier: TextClassifier,
    papers: pd.DataFrame,
    label_set: LabelSet,
    predictions: Predictions,
    digest: str,
    *,
    within: tuple[str, ...] = (),
) -> Reference:
    """The reference of a model with this digest, from its predictions for its test papers.

    A paper counts once, and its classes are those of its categories, whatever the labels are: the
    same can be measured on new papers. Labels of the user's own say nothing of these, so accuracy
    and calibration are None. within: see `Reference`.
    """
    first = ~papers["id"].duplicated().to_numpy()
    once, several = papers[first], label_set.multi_label
    actual = None
    if label_set.categories:
        actual = classes_of_cells(once["all_categories"], label_set.categories, several=several)
    unsure = np.zeros(len(papers), bool) if predictions.unsure is None else predictions.unsure
    observed = observations(
        list(label_set.names),
        predictions.probabilities[first],
        unsure[first],
        classifier.unknown_words(once),
        actual,
    )
    return Reference.of(
        observed,
        model=digest,
        test=f"{len(once):,} test papers",
        categories=label_set.categories,
        within=within,
    )
