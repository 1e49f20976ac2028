"""Occlusion: how much a prediction depends on each word (Zeiler and Fergus 2014)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from arxiv_hybrid.evaluation.attention import Prediction
from arxiv_hybrid.inference.classifier import TextClassifier


@dataclass(frozen=True)
class Occlusion(Prediction):
    """A prediction, and how each word of the vocabulary contributes to its likeliest class.

    drops: (word, drop of that class's probability without the word), the largest drop first. A drop
    is negative if the word is evidence against the class.
    """

    drops: list[tuple[str, float]]


def occlusion(classifier: TextClassifier, title: str, abstract: str) -> Occlusion:
    """Classify a paper, and again for each distinct word with that word replaced by `<UNK>`.

    All occurrences of a word are replaced. Occlusion measures what the prediction depends on;
    attention shows only where the network looked.
    """
    paper = classifier.encode(pd.DataFrame({"title": [title], "abstract": [abstract]}))
    words, rows = classifier.without_each_word(paper)
    probabilities = rows.numpy()
    whole, occluded = probabilities[0], probabilities[1:]
    predicted = int(whole.argmax())
    drops = whole[predicted] - occluded[:, predicted]
    order = np.argsort(-drops, kind="stable")
    return Occlusion(
        **vars(Prediction.of(classifier, whole)),
        drops=[(words[i], float(drops[i])) for i in order],
    )
