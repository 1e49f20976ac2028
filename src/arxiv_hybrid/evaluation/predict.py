"""What a classifier predicts for papers, as the evaluation needs it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from arxiv_hybrid.evaluation.predictions import Predictions
from arxiv_hybrid.inference.checkpoint import TextClassifier


def predict(classifier: TextClassifier, papers: pd.DataFrame) -> Predictions:
    """The probabilities of papers, with the classifier's thresholds, and which it is unsure of."""
    table, config = classifier.classify(papers), classifier.config
    return Predictions(
        table.iloc[:, -len(config.classes) :].to_numpy(dtype=np.float64),
        np.array(config.thresholds) if config.multi_label else None,
        table["unsure"].to_numpy(dtype=bool) if "unsure" in table.columns[:3] else None,
    )
