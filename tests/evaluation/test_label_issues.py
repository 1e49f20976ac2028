"""Papers whose labels a curator should check."""

from __future__ import annotations

import numpy as np
import pandas as pd
from random_predictions import at

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.evaluation.label_issues import (
    confidently_wrong,
    doubtful_labels,
    hardest,
    missing_labels,
)
from arxiv_hybrid.evaluation.predictions import Predictions

CLASSES = LabelSet(("cs.AI-LG", "cs.CL", "cs.CV"))
PAPERS = pd.DataFrame(
    {
        "id": ["a", "b", "c", "d"],
        "title": ["A", "B", "C", "D"],
        "label": [0, 1, 2, 0],
        "labels": [[0], [1, 2], [2], [0]],
    }
)
P = np.array([[0.1, 0.8, 0.1], [0.04, 0.01, 0.95], [0.1, 0.2, 0.7], [0.5, 0.1, 0.4]])


def test_mistakes_that_the_authors_do_not_list_come_first() -> None:
    issues = confidently_wrong(PAPERS, CLASSES, Predictions(P), 9)
    assert [(issue.id, issue.listed) for issue in issues] == [("a", False), ("b", True)]
    assert (issues[1].label, issues[1].predicted) == ("cs.CL", "cs.CV")
    assert (issues[1].label_probability, issues[1].predicted_probability) == (0.01, 0.95)
    assert [p.id for p in confidently_wrong(PAPERS, CLASSES, Predictions(P), 1)] == ["a"]


def test_the_hardest_papers_have_the_smallest_margin() -> None:
    assert [p.id for p in hardest(PAPERS, CLASSES, Predictions(P), 3)] == ["d", "c", "a"]


def test_missing_labels_are_the_likeliest_that_papers_do_not_list() -> None:
    doubts = missing_labels(PAPERS, CLASSES, at(0.5, P), 9)
    assert [(doubt.id, doubt.label, doubt.probability) for doubt in doubts] == [
        ("a", "cs.CL", 0.8), ("d", "cs.CV", 0.4), ("c", "cs.CL", 0.2), ("b", "cs.AI-LG", 0.04)
    ]  # fmt: skip
    assert (doubts[0].listed, doubts[0].assigned) == (["cs.AI-LG"], ["cs.CL"])
    assert len(missing_labels(PAPERS, CLASSES, at(0.5, P), 2)) == 2
    everything = PAPERS.assign(labels=[[0, 1, 2]] * 4)
    assert missing_labels(everything, CLASSES, at(0.5, P), 9) == []


def test_doubtful_labels_are_the_unlikeliest_that_papers_list() -> None:
    doubts = doubtful_labels(PAPERS, CLASSES, at(0.5, P), 3)
    assert [(doubt.id, doubt.label, doubt.probability) for doubt in doubts] == [
        ("b", "cs.CL", 0.01), ("a", "cs.AI-LG", 0.1), ("d", "cs.AI-LG", 0.5)
    ]  # fmt: skip
    assert (doubts[0].listed, doubts[0].assigned) == (["cs.CL", "cs.CV"], ["cs.CV"])
