"""Probabilities, what is made of them, and their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from random_predictions import several_classes

from arxiv_hybrid.evaluation.predict import predict
from arxiv_hybrid.evaluation.predictions import Predictions
from arxiv_hybrid.inference import checkpoint

P = np.array([[0.1, 0.6, 0.4], [0.2, 0.1, 0.15]])


def test_the_likeliest_class_is_always_assigned() -> None:
    assert Predictions(P).likeliest.tolist() == [1, 0]
    assert Predictions(P).assigned.tolist() == [[0, 1, 0], [1, 0, 0]]
    several = Predictions(P, np.array([0.5, 0.5, 0.3]))
    assert several.assigned.tolist() == [[0, 1, 1], [1, 0, 0]]


def test_written_predictions_are_read_again(tmp_path: Path) -> None:
    p = several_classes()[1]
    names = ["id", "label", "b", "a", "1"]
    Predictions(p).write(tmp_path, "val", names)
    assert list(pd.read_parquet(tmp_path / "val.parquet")) == names
    assert not (tmp_path / "thresholds.json").exists()
    read = Predictions.read(tmp_path, "val", multi_label=False)
    np.testing.assert_allclose(read.probabilities, p, atol=1e-7)
    assert read.thresholds is None
    thresholds = np.array([0.5, 0.4, 0.3, 0.2, 0.1])
    Predictions(p, thresholds).write(tmp_path, "test", names)
    several = Predictions.read(tmp_path, "test", multi_label=True)
    assert several.thresholds is not None
    assert several.thresholds.tolist() == thresholds.tolist(), "in the order of the classes"
    assert (several.assigned == Predictions(p, thresholds).assigned).all()


def test_predictions_of_a_classifier(model_folder: Path) -> None:
    classifier = checkpoint.load(model_folder, precision="fp32")
    papers = pd.DataFrame({"title": ["Deep words", ""], "abstract": ["learning", "of words"]})
    predictions = predict(classifier, papers)
    np.testing.assert_allclose(
        predictions.probabilities, classifier.probabilities(papers).numpy(), atol=1e-6
    )
    assert predictions.thresholds is None
