"""Papers whose labels a curator should check."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from random_predictions import at, one_class, papers_listing, several_classes

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.evaluation.label_issues import (
    confidently_wrong,
    doubtful_labels,
    estimated_noise,
    hardest,
    label_quality,
    missing_labels,
    review_table,
)
from arxiv_hybrid.evaluation.predictions import Predictions
from arxiv_hybrid.system.errors import UserError

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


def test_the_quality_of_a_label_is_its_probability_against_the_likeliest_other() -> None:
    assert label_quality(PAPERS["label"].to_numpy(), P) == pytest.approx(
        [0.1 / 0.9, 0.01 / 0.96, 0.7 / 0.9, 0.5 / 0.9]
    )
    assert label_quality(np.array([0]), np.array([[0.0, 0.0]])).tolist() == [0.0]


def test_of_several_labels_the_worst_counts_most() -> None:
    listed = np.array([[True, False, True]])
    right = 0.8 * 0.3 + 0.2 * (0.8 * 0.6 + 0.2 * 0.9)
    assert label_quality(listed, np.array([[0.9, 0.4, 0.3]])) == pytest.approx([right])


def test_confident_learning_finds_the_share_of_flipped_labels() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 6000)
    flipped = random.random(6000) < 0.12
    labels = np.where(flipped, (truth + random.integers(1, 3, 6000)) % 3, truth)
    p = np.full((6000, 3), 0.1)
    p[np.arange(6000), truth] = 0.8
    assert estimated_noise(labels, p) == pytest.approx(flipped.mean(), abs=1e-6)
    assert estimated_noise(truth, p) == 0
    assert estimated_noise(np.zeros(6000, int), np.full((6000, 3), 1 / 3)) == 0, "classes unused"


def test_all_papers_are_reviewed_the_most_doubtful_first() -> None:
    table = review_table(PAPERS, CLASSES, Predictions(P))
    assert list(table) == ["rank", "id", "title", "label", "suggested", "label_quality",
                           *CLASSES.names]  # fmt: skip
    assert table["id"].tolist() == ["b", "a", "d", "c"]
    assert table["rank"].tolist() == [1, 2, 3, 4]
    assert table.iloc[0, 3:5].tolist() == ["cs.CL", "cs.CV"]
    assert table.iloc[0, 6:].tolist() == P[1].tolist()


def test_the_review_of_several_labels_names_the_class_in_doubt() -> None:
    several = LabelSet(CLASSES.names, multi_label=True)
    table = review_table(PAPERS, several, at(0.5, P)).set_index("id")
    assert table.loc["b", ["label", "suggested", "in_doubt"]].tolist() == [
        "cs.CL;cs.CV", "cs.CV", "cs.CL"
    ]  # fmt: skip
    assert table.loc["a", "in_doubt"] == "cs.AI-LG"


@pytest.mark.parametrize(
    ("names", "several", "message"),
    [
        (("title", "b", "c"), False, "a class cannot be called title"),
        (("a;b", "b", "c"), True, "class a;b: `;` joins"),
    ],
)
def test_names_that_the_table_cannot_hold(
    names: tuple[str, ...], several: bool, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        review_table(PAPERS, LabelSet(names, several), at(0.5, P))


def test_cleanlab_gives_the_same_quality_of_several_labels() -> None:
    cleanlab = pytest.importorskip("cleanlab", reason="needs cleanlab (requirements.txt)")
    from cleanlab.multilabel_classification import get_label_quality_scores

    assert cleanlab.__version__
    listed, p = several_classes()
    labels = papers_listing(listed)["labels"].tolist()
    assert label_quality(listed, p) == pytest.approx(get_label_quality_scores(labels, p))


def test_cleanlab_counts_as_many_wrong_labels() -> None:
    pytest.importorskip("cleanlab", reason="needs cleanlab (requirements.txt)")
    from cleanlab.count import compute_confident_joint

    labels, p = one_class(2000)
    joint = compute_confident_joint(labels, p)
    assert estimated_noise(labels, p) == pytest.approx(1 - np.trace(joint) / joint.sum(), abs=0.002)
