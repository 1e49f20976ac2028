"""From parameters and papers to a trained classifier: what the train stage calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from arxiv_hybrid.config import Params
from arxiv_hybrid.data.labels import CLASSES
from arxiv_hybrid.errors import UserError
from arxiv_hybrid.models import registry
from arxiv_hybrid.text.embeddings import SPREAD
from arxiv_hybrid.text.pretrained import MODEL, Pretrained
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training.calibration import fit_temperature
from arxiv_hybrid.training.checkpoint import Classifier, Facts
from arxiv_hybrid.training.devices import choose_machine, keep_freed_memory, seed_everything
from arxiv_hybrid.training.distributed import ALONE, Group
from arxiv_hybrid.training.loop import Epoch, History, fit, predict
from arxiv_hybrid.training.pretraining import adopt


def train_classifier(
    params: Params,
    train: pd.DataFrame,
    val: pd.DataFrame,
    vocabulary: Vocabulary,
    embeddings: npt.NDArray[np.float32] | None,
    *,
    pretrained: Pretrained | None = None,
    group: Group = ALONE,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> tuple[Classifier, History]:
    """Train `params.model` on papers with the columns title, abstract and label.

    embeddings (V, D) are the first values of the embedding where `params.embeddings` is
    `pretrained`; None stands for random ones of `params.glove.dim`, of the same spread unless
    it is `wide`: torch's own, ten times as far apart. From `pretrained`
    v5 takes its encoder; `vocabulary` and `embeddings` must then be the encoder's. Returns the
    classifier with its best epoch's weights, its probabilities calibrated on `val`.
    """
    if pretrained is not None and pretrained.vocabulary != vocabulary:
        raise UserError(
            "pretrained: its words are not those of data/processed/vocab.txt; pre-trained anew? "
            "then run `dvc repro -f glove` and `dvc repro`"
        )
    keep_freed_memory()
    machine = choose_machine(params.device, params.precision)
    seed_everything(params.seed)
    classes = list(CLASSES[params.labels.classes])
    arguments: dict[str, Any] = {
        "vocab_size": len(vocabulary),
        "embed_dim": params.glove.dim if embeddings is None else embeddings.shape[1],
        "num_classes": len(classes),
        "dropout": params.dropout,
        **(pretrained.arguments if pretrained is not None and params.model == MODEL else {}),
        **params.architecture.given(),
    }
    model = registry.build(params.model, **arguments)
    model.spell(vocabulary.words)
    with torch.no_grad():
        if embeddings is not None and params.embeddings == "pretrained":
            model.embedding.weight.copy_(torch.from_numpy(embeddings))
        elif params.embeddings != "wide":
            model.embedding.weight.mul_(SPREAD)
    if pretrained is not None and params.model == MODEL:
        adopt(model, pretrained)
    model.to(machine.device)
    vocab = params.vocab
    facts = Facts(params.model, arguments, classes, vocab.title_length, vocab.abstract_length)
    classifier = Classifier(model, vocabulary, facts, machine)
    held_out = classifier.encode(val)
    history = fit(
        model, classifier.encode(train), held_out, params, machine, group=group, on_epoch=on_epoch
    )
    temperature = fit_temperature(predict(model, held_out, machine), held_out.labels)
    calibrated = replace(facts, temperature=round(temperature, 6))
    return replace(classifier, facts=calibrated), history


def report(classifier: Classifier, history: History) -> dict[str, Any]:
    """What metrics/train.json says: the best epoch's figures, and what `auto` chose."""
    best = history.best_epoch
    return {
        "best_epoch": best.epoch,
        "epochs": len(history.epochs),
        "train_accuracy": best.train_accuracy,
        "train_loss": best.train_loss,
        "val_accuracy": best.val_accuracy,
        "val_loss": best.val_loss,
        "parameters": sum(p.numel() for p in classifier.model.parameters()),
        "device": classifier.machine.device.type,
        "precision": classifier.machine.precision,
        "temperature": classifier.facts.temperature,
    }


def curves(history: History) -> pd.DataFrame:
    """One row an epoch, without timings, for plots that must not change between runs."""
    return pd.DataFrame(
        [
            {
                "epoch": epoch.epoch,
                "train_loss": epoch.train_loss,
                "val_loss": epoch.val_loss,
                "train_accuracy": epoch.train_accuracy,
                "val_accuracy": epoch.val_accuracy,
                "learning_rate": epoch.learning_rate,
            }
            for epoch in history.epochs
        ]
    )
