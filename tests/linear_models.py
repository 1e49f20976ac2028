"""Small linear models, made without training."""

from __future__ import annotations

from typing import Any

import numpy as np

from arxiv_hybrid.inference.familiarity import Familiarity
from arxiv_hybrid.inference.linear import LinearClassifier, Weights
from arxiv_hybrid.inference.model_config import LinearConfig
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.inference.tfidf import TOKEN_PATTERN, Tfidf
from arxiv_hybrid.text.vocabulary import Vocabulary

WORDS = ("deep", "learning", "of", "speech", "words")
PAIRS = ((2, 3), (3, 6), (6, 5))  # deep learning, learning words, words speech


def linear_model(
    *,
    seed: int = 0,
    words: tuple[str, ...] = WORDS,
    classes: tuple[str, ...] = ("cs.CV", "cs.CL"),
    multi_label: bool = False,
    link: str | None = None,
    threshold: float = -9.0,
) -> LinearClassifier:
    """A model with random weights, of which some are missing, and familiarity.

    threshold: of familiarity; papers that score less are unsure.
    """
    random = np.random.default_rng(seed)
    size, columns = 2 + len(words), 2 + len(words) + len(PAIRS)
    dense = random.normal(size=(columns, len(classes))).astype(np.float32) * 2
    dense[:2] = 0
    dense[random.random(dense.shape) < 0.2] = 0
    stored = dense != 0
    weights = Weights(
        stored.sum(1).astype(np.uint16), np.nonzero(stored)[1].astype(np.uint16), dense[stored],
        random.normal(size=len(classes)).astype(np.float32),
    )  # fmt: skip
    idf = random.uniform(1, 3, columns).astype(np.float32)
    tfidf = Tfidf(Vocabulary(("<PAD>", "<UNK>", *words)), np.array(PAIRS, np.int32), idf)
    several: dict[str, Any] = {"thresholds": [0.4] * len(classes)} if multi_label else {}
    config = LinearConfig(
        list(classes), link or ("sigmoid" if multi_label else "softmax"), TOKEN_PATTERN,
        multi_label, **several, titles={classes[0]: "First"},
    )  # fmt: skip
    known = Familiarity(
        idf=np.ones(size, np.float32), means=np.full((size, len(classes)), 0.4, np.float32),
        unknown=3.0 + seed, curve=np.array([[4, 8], [0.5, 0.6], [0.1, 0.1]], np.float32),
        threshold=threshold,
    )  # fmt: skip
    origin = Origin({"a.csv": 30 + seed}, 30 + seed, "2025-10", "2025-11", "2026-01-02")
    return LinearClassifier(config, tfidf, weights, known, origin)
