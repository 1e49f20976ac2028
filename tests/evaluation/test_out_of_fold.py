"""Out-of-fold probabilities: nothing is learned from the paper itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from conftest import SEVERAL
from saved_encoder import save_encoder

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.evaluation import linear
from arxiv_hybrid.evaluation.out_of_fold import (
    FOLDS,
    MOST_PAPERS,
    Encoder,
    check_size,
    deal,
    out_of_fold,
)
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.checkpoint import Classifier
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.text.vocabulary import SPECIAL, Vocabulary

TWO = LabelSet(("a", "b"))
WORDS = {0: ("proof", "ring", "lemma"), 1: ("robot", "arm", "grasp")}


def papers_of(labels: npt.NDArray[np.int64], *, telling: bool = True) -> pd.DataFrame:
    """Papers whose words tell their labels, or tell nothing; each has a word of its own, twice."""
    random = np.random.default_rng(0)
    every = [word for words in WORDS.values() for word in words]
    texts = [
        " ".join([*random.choice(WORDS[label] if telling else every, 6), f"own{n}", f"own{n}"])
        for n, label in enumerate(labels.tolist())
    ]
    return pd.DataFrame(
        {
            "id": [f"2505.{number:05}" for number in range(len(labels))],
            "title": "On a topic",
            "abstract": texts,
            "label": labels,
            "labels": [[label] for label in labels.tolist()],
        }
    )


@pytest.fixture
def encoder(tmp_path: Path) -> Encoder:
    words = [word for words in WORDS.values() for word in words]
    save_encoder(tmp_path / "encoder", Vocabulary((*SPECIAL, *words)), papers=[])
    classifier = checkpoint.load(tmp_path / "encoder")
    assert isinstance(classifier, Classifier)
    return Encoder(classifier, frozenset())


def test_folds_have_equal_shares_of_each_class_and_whole_groups() -> None:
    labels = np.repeat([0, 0, 0, 1], 100)
    papers, groups = papers_of(labels), np.arange(400) // 2
    folds = deal(papers, groups, TWO, seed=3)
    assert (folds[::2] == folds[1::2]).all()
    counts = pd.crosstab(folds, labels)
    assert counts.index.tolist() == list(range(FOLDS))
    assert counts.to_numpy().tolist() == [[60, 20]] * FOLDS
    assert (deal(papers, groups, TWO, seed=4) != folds).any()


def test_folds_of_several_labels_have_the_rarest_classes(
    several_splits: dict[str, pd.DataFrame],
) -> None:
    papers = pd.concat(several_splits.values(), ignore_index=True)
    folds = deal(papers, np.arange(len(papers)), SEVERAL, seed=0)
    exploded = papers.assign(fold=folds).explode("labels")
    assert pd.crosstab(exploded["fold"], exploded["labels"]).to_numpy().min() > 0


def test_a_class_whose_papers_are_copies_is_named() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1])
    with pytest.raises(UserError, match="class b: its papers are too few, or copies"):
        deal(papers_of(labels), np.array([0, 1, 2, 3, 4, 4]), TWO, seed=0)


@pytest.mark.parametrize("many", [False, True])
def test_wrong_labels_get_low_probabilities(
    many: bool, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    if many:
        monkeypatch.setattr(linear, "MANY_WEIGHTS", 1)
    truth = np.arange(120) % 2
    labels = truth.copy()
    labels[[10, 51, 92]] ^= 1
    papers = papers_of(truth).assign(label=labels)
    folds = deal(papers, np.arange(120), TWO, seed=0)
    result = out_of_fold(papers, TWO, folds, encoder)
    p = result.predictions.probabilities
    given = p[np.arange(120), labels]
    assert set(np.argsort(given)[:3]) == {10, 51, 92}
    assert p.sum(1) == pytest.approx(np.ones(120))
    assert result.encoded.all()
    assert set(result.members) == {"linear", "encoder"}


def test_labels_that_nothing_tells_are_not_predicted(encoder: Encoder) -> None:
    labels = np.random.default_rng(1).integers(0, 2, 200)
    papers = papers_of(labels, telling=False)
    apart = out_of_fold(papers, TWO, deal(papers, np.arange(200), TWO, seed=0), encoder)
    assert (apart.predictions.likeliest == labels).mean() < 0.65
    # two rows of each paper: in different folds they tell each other's labels
    both = pd.concat([papers, papers], ignore_index=True)
    leaking = deal(both, np.arange(400), TWO, seed=0)
    whole = deal(both, np.tile(np.arange(200), 2), TWO, seed=0)
    right = both["label"].to_numpy()
    leaked, kept = (
        (out_of_fold(both, TWO, folds).predictions.likeliest == right).mean()
        for folds in (leaking, whole)
    )
    assert kept < 0.65 < 0.8 < leaked


def test_the_encoder_does_not_count_for_papers_that_it_has_read(encoder: Encoder) -> None:
    papers = papers_of(np.arange(100) % 2)
    papers.loc[7, "id"] = "2505.0001"  # lost its last zero as a number
    read = Encoder(encoder.classifier, frozenset({"2505.00003", "2505.00010"}))
    folds = deal(papers, np.arange(100), TWO, seed=0)
    result = out_of_fold(papers, TWO, folds, read)
    assert np.flatnonzero(~result.encoded).tolist() == [3, 7, 10]
    assert np.flatnonzero(np.isnan(result.members["encoder"]).all(1)).tolist() == [3, 7, 10]
    assert np.isfinite(result.predictions.probabilities).all()
    everything = Encoder(encoder.classifier, frozenset(papers["id"]) - {"2505.00000"})
    result = out_of_fold(papers, TWO, folds, everything)
    assert not result.encoded.any(), "too few papers that it has not read"
    assert set(result.members) == {"linear"}


def test_several_labels(several_splits: dict[str, pd.DataFrame], encoder: Encoder) -> None:
    papers = pd.concat(several_splits.values(), ignore_index=True)
    folds = deal(papers, np.arange(len(papers)), SEVERAL, seed=0)
    predictions = out_of_fold(papers, SEVERAL, folds, encoder).predictions
    listed = np.zeros_like(predictions.probabilities, dtype=bool)
    for row, numbers in enumerate(papers["labels"]):
        listed[row, numbers] = True
    assert (
        predictions.probabilities[listed].mean() > 1.5 * predictions.probabilities[~listed].mean()
    )
    assert predictions.probabilities.mean() == pytest.approx(listed.mean(), abs=0.02), "calibrated"
    assert predictions.assigned.any(1).all()


@pytest.mark.parametrize(("papers", "classes"), [(MOST_PAPERS + 1, 2), (240_000, 143)])
def test_what_does_not_fit_into_memory_is_refused(papers: int, classes: int) -> None:
    with pytest.raises(UserError, match="are too many: at most 250,000 papers"):
        check_size(papers, classes)
    check_size(100_000, 143)
