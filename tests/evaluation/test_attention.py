"""Explanations of predictions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from arxiv_hybrid.evaluation.attention import explain
from arxiv_hybrid.inference import checkpoint


def test_explain_and_classify_agree(model_folder: Path) -> None:
    classifier = checkpoint.load(model_folder, precision="fp32")
    assert classifier.config.temperature != 1
    papers = pd.DataFrame({"id": ["1"], "title": ["Deep words"], "abstract": ["learning words"]})
    (explained,) = explain(classifier, papers)
    predicted = classifier.classify(papers).iloc[0]
    for name, probability in explained.probabilities.items():
        assert probability == pytest.approx(predicted[name], abs=1e-6)
