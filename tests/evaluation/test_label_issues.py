"""Papers whose label a curator should check."""

from __future__ import annotations

import numpy as np
import pandas as pd

from arxiv_hybrid.evaluation.label_issues import confidently_wrong, hardest

NAMES = ["cs.AI-LG", "cs.CL", "cs.CV"]
PAPERS = pd.DataFrame(
    {
        "id": ["a", "b", "c", "d"],
        "title": ["A", "B", "C", "D"],
        "label": [0, 1, 2, 0],
        "labels": [[0], [1, 2], [2], [0]],
    }
)
PROBABILITIES = np.array([[0.1, 0.8, 0.1], [0.04, 0.01, 0.95], [0.1, 0.2, 0.7], [0.5, 0.1, 0.4]])


def test_mistakes_that_the_authors_do_not_list_come_first() -> None:
    issues = confidently_wrong(PAPERS, PROBABILITIES, NAMES, 9)
    assert [(issue.id, issue.listed) for issue in issues] == [("a", False), ("b", True)]
    assert (issues[1].label, issues[1].predicted) == ("cs.CL", "cs.CV")
    assert (issues[1].label_probability, issues[1].predicted_probability) == (0.01, 0.95)
    assert [p.id for p in confidently_wrong(PAPERS, PROBABILITIES, NAMES, 1)] == ["a"]


def test_the_hardest_papers_have_the_smallest_margin() -> None:
    assert [paper.id for paper in hardest(PAPERS, PROBABILITIES, NAMES, 3)] == ["d", "c", "a"]
