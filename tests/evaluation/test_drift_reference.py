"""What a model did on its test papers, as stage evaluate records it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from growing_arxiv import CLASSES, SHARE_RIGHT, save_model, some_papers

from arxiv_hybrid.audit.monitoring import Reference
from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.evaluation.predict import predict
from arxiv_hybrid.evaluation.reference import reference_of
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.paths import shipped_model
from arxiv_hybrid.system.files import read_json
from arxiv_hybrid.system.shipped import is_shipped


def test_a_paper_counts_once_by_its_own_categories(tmp_path: Path) -> None:
    classifier = save_model(tmp_path, reference=0)
    papers = some_papers(500, seed=4)
    twice = pd.concat([papers, papers.head(100)]).reset_index(drop=True)
    labels = LabelSet(CLASSES, categories={name: (name,) for name in CLASSES})
    found = reference_of(classifier, twice, labels, predict(classifier, twice), "0" * 16)
    assert found.papers == 500
    assert found.accuracy == pytest.approx(SHARE_RIGHT, abs=0.05)
    known, words = classifier.known_words(papers)
    assert found.unknown_words == pytest.approx(1 - known / words, abs=0.01)
    own = reference_of(classifier, papers, LabelSet(CLASSES), predict(classifier, papers), "0" * 16)
    assert (own.accuracy, own.confidence) == (None, None)
    assert own.unknown_words == found.unknown_words


@pytest.mark.skipif(not is_shipped(), reason="this installation has no shipped model")
def test_the_shipped_model_has_a_record_of_its_own_test() -> None:
    path = shipped_model() / "reference.json"
    record = Reference.from_json(read_json(path), str(path))
    assert record.model == checkpoint.digest(shipped_model())
    assert set(record.within) < set(record.categories)
    assert record.papers > 5000
