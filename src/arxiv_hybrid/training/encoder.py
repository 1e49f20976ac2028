"""From parameters and many papers to a pre-trained model: a classifier that others start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from arxiv_hybrid.data.paper_arrays import PaperArrays
from arxiv_hybrid.inference import weights
from arxiv_hybrid.inference.checkpoint import Classifier, ModelConfig
from arxiv_hybrid.inference.devices import choose_device
from arxiv_hybrid.inference.encoding import Papers
from arxiv_hybrid.inference.familiarity import Familiarity, fit_familiarity
from arxiv_hybrid.inference.predict import predict
from arxiv_hybrid.models import PooledCNN
from arxiv_hybrid.params.pretraining import PretrainingParams
from arxiv_hybrid.taxonomy.categories import name_of
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training.batches import random_rows
from arxiv_hybrid.training.classifier import fitted_config, start_at_shares
from arxiv_hybrid.training.pretraining import CATEGORIES, Settings, pretrain, split
from arxiv_hybrid.training.seed import seed_everything
from arxiv_hybrid.training.stored_papers import StoredPapers
from arxiv_hybrid.training.trainer import Epoch, History
from arxiv_hybrid.vectors.matrix import FloatMatrix

MODEL = "v6"
FAMILIAR_PAPERS = 60_000  # of which familiarity is fitted


class Predicted(NamedTuple):
    """Calibrated probabilities of validation papers (N, C), and thresholds (C,) fitted on them."""

    probabilities: npt.NDArray[np.float64]
    thresholds: npt.NDArray[np.float64]


@dataclass(frozen=True)
class TrainedEncoder:
    """A pre-trained model, and what it makes of the validation papers.

    listed (N, C): the categories of validation papers; without categories, C is 0. predicted: with
    the rounded weights of `classifier`; exact: with the weights before rounding.
    papers: how many it was trained on, without the validation papers.
    """

    classifier: Classifier
    history: History
    listed: npt.NDArray[np.bool_]
    predicted: Predicted
    exact: Predicted
    papers: int


def train_encoder(
    arrays: PaperArrays,
    params: PretrainingParams,
    vectors: FloatMatrix,
    *,
    on_epoch: Callable[[Epoch], None] | None = None,
    resume: Path | None = None,
) -> TrainedEncoder:
    """Pre-train a v6; its weights are rounded as its compact form stores them.

    Temperature, biases, thresholds and familiarity are fitted on validation papers with these
    weights. Without the objective categories the model has no classes, and only its encoder is of
    use.
    vectors: of the words of `arrays`, (V, dim), see `vectors_of`.
    resume: a folder for the state of this run, see `progress`; the caller removes it after saving
    the result. Raises UserError if there is too little to learn from, or training diverges.
    """
    device_config = choose_device(params.device, params.precision)
    seed_everything(params.seed)
    settings = params.values_of(Settings)
    classes = arrays.classes if CATEGORIES in params.objectives else []
    train, val = split(arrays, settings, device_config.device)
    config = _config(params, len(arrays.words), classes)
    model = PooledCNN(**config.arguments)
    with torch.no_grad():
        model.embedding.weight.copy_(torch.from_numpy(vectors))
    if classes:
        labelled = train.take(np.flatnonzero(arrays.label_counts[train.rows]))
        start_at_shares(model, labelled.labels)
    model.to(device_config.device)
    held_back = val.in_memory()
    history = pretrain(
        model, train, held_back, settings, device_config, on_epoch=on_epoch, resume=resume
    )
    classifier = Classifier(model, Vocabulary(tuple(arrays.words)), config, device_config)
    if not classes:
        _round_weights(model)
        listed = np.zeros((len(val), 0), dtype=bool)
        nothing = Predicted(np.zeros((len(val), 0)), np.zeros(0))
        return TrainedEncoder(classifier, history, listed, nothing, nothing, len(train))
    _, exact = _calibrate(classifier, held_back)
    _round_weights(model)
    classifier, predicted = _calibrate(classifier, held_back)
    classifier = replace(classifier, familiarity=_familiarity(train, held_back, params.seed))
    listed = held_back.labels.cpu().numpy()
    return TrainedEncoder(classifier, history, listed, predicted, exact, len(train))


def _calibrate(classifier: Classifier, val: Papers) -> tuple[Classifier, Predicted]:
    """Fit temperature, biases and thresholds on validation papers, and predict these."""
    logits = predict(classifier.model, val, classifier.device_config)
    config = fitted_config(classifier.config, logits, val.labels, None, "per_class")
    fitted = replace(classifier, config=config)
    return fitted, Predicted(fitted.calibrated(logits).numpy(), np.array(config.thresholds))


def _round_weights(model: PooledCNN) -> None:
    """Give the weights the values that they have after `checkpoint.save(compact=True)`."""
    state = model.state_dict()
    stored = weights.to_bytes({name: v.cpu().numpy() for name, v in state.items()}, compact=True)
    rounded = weights.from_bytes(stored)
    model.load_state_dict({name: torch.from_numpy(rounded[name].copy()) for name in state})


def _familiarity(train: StoredPapers, val: Papers, seed: int) -> Familiarity:
    """Fitted on a random part of the training papers, which stay on disk."""
    part = train.take(random_rows(len(train), FAMILIAR_PAPERS, seed))
    return fit_familiarity(part, part.labels.cpu().numpy(), val, len(part.arrays.words))


def _config(params: PretrainingParams, words: int, classes: list[str]) -> ModelConfig:
    arguments = {
        "vocab_size": words,
        "embed_dim": params.dim,
        "num_filters": params.num_filters,
        "kernel_sizes": params.kernel_sizes,
        "hidden": params.hidden,
        "num_classes": max(len(classes), 1),  # a head without outputs cannot be initialized
        "dropout": params.dropout,
    }
    names = {name: name_of(name) for name in classes}
    return ModelConfig(
        MODEL,
        arguments,
        classes,
        params.title_length,
        params.abstract_length,
        multi_label=bool(classes),
        titles={name: title for name, title in names.items() if title},
    )
