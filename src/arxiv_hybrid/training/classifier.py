"""From parameters and papers to a trained classifier: what the train stage calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from arxiv_hybrid.data.labels import CLASSES
from arxiv_hybrid.inference.calibration import fit_temperature
from arxiv_hybrid.inference.checkpoint import Classifier, ModelConfig
from arxiv_hybrid.inference.devices import choose_device
from arxiv_hybrid.inference.predict import predict
from arxiv_hybrid.models import registry
from arxiv_hybrid.params import Params
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.runtime import keep_freed_memory
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training.distributed import ALONE, Group
from arxiv_hybrid.training.loop import Epoch, History, fit
from arxiv_hybrid.training.pretraining import load_encoder
from arxiv_hybrid.training.seed import seed_everything
from arxiv_hybrid.vectors.matrix import EMBEDDING_STD
from arxiv_hybrid.vectors.pretrained import MODEL, Pretrained


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
    device_config = choose_device(params.device, params.precision)
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
    model.set_vocabulary(vocabulary.words)
    with torch.no_grad():
        if embeddings is not None and params.embeddings == "pretrained":
            model.embedding.weight.copy_(torch.from_numpy(embeddings))
        elif params.embeddings != "wide":
            model.embedding.weight.mul_(EMBEDDING_STD)
    if pretrained is not None and params.model == MODEL:
        load_encoder(model, pretrained)
    model.to(device_config.device)
    vocab = params.vocab
    config = ModelConfig(
        params.model, arguments, classes, vocab.title_length, vocab.abstract_length
    )
    classifier = Classifier(model, vocabulary, config, device_config)
    held_out = classifier.encode(val)
    history = fit(
        model,
        classifier.encode(train),
        held_out,
        params,
        device_config,
        group=group,
        on_epoch=on_epoch,
    )
    temperature = fit_temperature(predict(model, held_out, device_config), held_out.labels)
    calibrated = replace(config, temperature=round(temperature, 6))
    return replace(classifier, config=calibrated), history


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
        "device": classifier.device_config.device.type,
        "precision": classifier.device_config.precision,
        "temperature": classifier.config.temperature,
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
