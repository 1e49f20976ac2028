"""Out-of-fold probabilities: of each paper, by models that have learned from others only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from arxiv_hybrid.data.identifiers import with_zeros
from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.evaluation.ensemble import Classes, Vote, classes_of
from arxiv_hybrid.evaluation.linear import out_of_fold_linear
from arxiv_hybrid.evaluation.predictions import Floats, Labels, Predictions
from arxiv_hybrid.inference.checkpoint import Classifier
from arxiv_hybrid.models.pooled import PooledCNN
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.ticker import Progress
from arxiv_hybrid.training.batches import random_rows
from arxiv_hybrid.training.from_encoder import MAX_PAPERS, features_of, regression
from arxiv_hybrid.training.losses import make_loss, make_multi_label_loss

FOLDS = 5
PENALTIES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01)  # of squared weights of a head
MOST_PAPERS = 250_000  # whose texts and features (4 KB each) are in memory
MOST_PROBABILITIES = 1 << 25  # papers x classes; there are some ten arrays of that size
_LEAST_SCALE = 1e-4

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Encoder:
    """A v6 whose features are used, and the ids of the papers that it has read."""

    classifier: Classifier
    papers: frozenset[str]


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of N papers by models of the papers in other folds.

    members: the probabilities (N, C) that were combined, by name: `linear` and perhaps `encoder`.
    encoded (N,): the papers that have both; the others have NaN from the encoder.
    """

    predictions: Predictions
    members: dict[str, Floats]
    encoded: Labels


def check_size(papers: int, classes: int) -> None:
    """Raise UserError if so many papers and classes do not fit into memory."""
    if papers > MOST_PAPERS or papers * classes > MOST_PROBABILITIES:
        raise UserError(
            f"{papers:,} papers and {classes:,} classes are too many: at most {MOST_PAPERS:,} "
            f"papers and {MOST_PROBABILITIES:,} probabilities fit into memory; take a part of the "
            "papers, or fewer classes"
        )


def deal(papers: pd.DataFrame, groups: Integers, label_set: LabelSet, seed: int) -> Integers:
    """The fold (N,) of each paper, from 0 to `FOLDS` - 1.

    groups (N,): papers of one group are in one fold. Groups are dealt class by class, by the class
    of their first paper, or by the rarest of its classes if there are several, so that folds have
    about the same share of each. Raises UserError if all papers of a class are in one fold.
    """
    classes = _one_hot(classes_of(papers, label_set), len(label_set))
    rarest = np.where(classes, classes.sum(0), len(papers) + 1).argmin(1)
    number, first = np.unique(groups, return_index=True)
    order = np.random.default_rng(seed).permutation(len(number))
    order = order[np.argsort(rarest[first[order]], kind="stable")]
    fold_of_group = np.empty(len(number), np.int64)
    fold_of_group[order] = np.arange(len(number)) % FOLDS
    folds: Integers = fold_of_group[np.searchsorted(number, groups)]
    for fold in range(FOLDS):
        if (lonely := ~classes[folds != fold].any(0)).any():
            name = label_set.names[int(lonely.argmax())]
            raise UserError(
                f"class {name}: its papers are too few, or copies of one another; out-of-fold "
                "models need two different ones (labels.min_papers)"
            )
    return folds


def out_of_fold(
    papers: pd.DataFrame,
    label_set: LabelSet,
    folds: Integers,
    encoder: Encoder | None = None,
    *,
    seed: int = 0,
) -> OutOfFold:
    """Probabilities (N, C) of papers with `id`, texts, `label` and `labels`; folds: see `deal`.

    The vote of a linear model of words (see `evaluation.linear`) and, with an encoder, a logistic
    regression on its features of the papers. The encoder has learned the categories of papers that
    it has read: for them and from them there is no regression. The vote is calibrated on the same
    papers, with one or two numbers for all of them.
    """
    classes = classes_of(papers, label_set)
    members = {"linear": out_of_fold_linear(papers, folds, label_set)}
    encoded: Labels = np.zeros(len(papers), dtype=bool)
    if encoder:
        read = papers["id"].isin(encoder.papers) | papers["id"].map(with_zeros).isin(encoder.papers)
        encoded = _with_enough(~read.to_numpy(), classes, folds, label_set)
    if encoder and encoded.any():
        parts = papers[encoded], classes[encoded], folds[encoded]
        members["encoder"] = np.full((len(papers), len(label_set)), np.nan)
        members["encoder"][encoded] = _heads(encoder.classifier, *parts, len(label_set), seed=seed)
    p = np.empty((len(papers), len(label_set)))
    for rows, names in ((encoded, list(members)), (~encoded, ["linear"])):
        if rows.any():
            votes = {name: members[name][rows] for name in names}
            p[rows] = Vote.fit(classes[rows], votes, "equal").predict(votes).probabilities
    thresholds = np.full(len(label_set), 0.5) if label_set.multi_label else None
    return OutOfFold(Predictions(p, thresholds), members, encoded)


def _with_enough(unread: Labels, classes: Classes, folds: Integers, label_set: LabelSet) -> Labels:
    """The papers that the encoder has not read; none if the other folds have too few of them."""
    every = _one_hot(classes, len(label_set))
    enough = all(every[unread & (folds != fold)].any(0).all() for fold in range(FOLDS))
    return unread if enough else np.zeros_like(unread)


def _one_hot(classes: Classes, number: int) -> Labels:
    if classes.ndim == 2:
        return classes
    result: Labels = classes[:, None] == np.arange(number)
    return result


def _heads(
    classifier: Classifier,
    papers: pd.DataFrame,
    classes: Classes,
    folds: Integers,
    number: int,
    *,
    seed: int,
) -> Floats:
    """Probabilities (N, C) by a logistic regression per fold on the features of the other folds.

    number: of classes. The penalty is the one with the least loss on the first fold.
    """
    encoded = classifier.encode(papers[["title", "abstract"]])
    model = cast(PooledCNN, classifier.model)
    features = features_of(model, encoded, classifier.device_config).cpu()
    labels, several = torch.tensor(classes), classes.ndim == 2
    loss = (make_multi_label_loss if several else make_loss)("cross_entropy", None, 0.0)
    logits = torch.empty(len(papers), number)
    penalties: tuple[float, ...] = PENALTIES
    best = PENALTIES[0]
    for fold in Progress(np.unique(folds), "models of the encoder's vectors", unit="folds"):
        held_out = torch.from_numpy(folds == fold)
        rest = np.flatnonzero(folds != fold)
        rows = torch.from_numpy(rest[random_rows(len(rest), MAX_PAPERS, seed)])
        mean, scale = features[rows].mean(0), features[rows].std(0).clamp(min=_LEAST_SCALE)
        learned, asked = (features[rows] - mean) / scale, (features[held_out] - mean) / scale
        nothing = torch.zeros(number, features.shape[1]), torch.zeros(number)
        fitted, least = nothing, float("inf")
        for penalty in penalties:
            fitted = regression(learned, labels[rows], loss, penalty, nothing[0], fitted)
            found = asked @ fitted[0].T + fitted[1]
            if (lost := float(loss(found, labels[held_out]))) < least:
                best, least, logits[held_out] = penalty, lost, found
        penalties = (best,)
    p: Floats = (logits.double().sigmoid() if several else logits.double().softmax(1)).numpy()
    return p
