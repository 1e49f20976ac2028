"""From parameters and labelled papers to a trained, calibrated classifier."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.data.label_set import LabelSet, multi_hot
from arxiv_hybrid.data.table import PaperTable
from arxiv_hybrid.inference.calibration import (
    fit_sigmoids,
    fit_temperature,
    sigmoid_probabilities,
)
from arxiv_hybrid.inference.checkpoint import Classifier, ModelConfig
from arxiv_hybrid.inference.devices import DeviceConfig, choose_device
from arxiv_hybrid.inference.encoding import Batch, EncodedPapers, Papers
from arxiv_hybrid.inference.familiarity import fit_familiarity
from arxiv_hybrid.inference.predict import predict
from arxiv_hybrid.inference.pretrained import Pretrained
from arxiv_hybrid.inference.thresholds import fit_thresholds
from arxiv_hybrid.models import registry
from arxiv_hybrid.models.base import PaperClassifier
from arxiv_hybrid.models.pooled import PooledCNN
from arxiv_hybrid.params import PRETRAINABLE, Params, training_values
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.runtime import keep_freed_memory
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training.batches import batch_size_for
from arxiv_hybrid.training.distributed import SINGLE, Group
from arxiv_hybrid.training.from_encoder import fit_head, load_encoder
from arxiv_hybrid.training.losses import Loss, class_weights, make_loss, make_multi_label_loss
from arxiv_hybrid.training.optimizers import OptimizerConfig
from arxiv_hybrid.training.progress import Progress, run_identity
from arxiv_hybrid.training.regularizer import Regularizer
from arxiv_hybrid.training.seed import seed_everything
from arxiv_hybrid.training.task import StepResult, Task
from arxiv_hybrid.training.trainer import Epoch, History, Trainer, TrainerConfig
from arxiv_hybrid.vectors.matrix import EMBEDDING_STD


class Classification(Task):
    """Learning the class or classes of papers, with word dropout and mixup."""

    def __init__(
        self,
        model: PaperClassifier,
        labels: Tensor,
        label_set: LabelSet,
        params: Params,
        device_config: DeviceConfig,
        group: Group = SINGLE,
    ) -> None:
        """labels (N,) or (N, C): of the training papers, for balanced class weights."""
        self.model: PaperClassifier = model
        self.parallel = model
        self.device_config = device_config
        self.multi_label = label_set.multi_label
        self.score = "precision_at_1" if self.multi_label else "accuracy"
        self.class_weights = class_weights(params.class_weights, labels, label_set)
        make = make_multi_label_loss if self.multi_label else make_loss
        self._smoothed = partial(make, params.loss, self.class_weights)
        self.loss = self._smoothed(params.label_smoothing)
        self.random = np.random.default_rng([params.seed, group.rank])
        self.regularizer = Regularizer(params.word_dropout, params.mixup, self.random)
        self.has_fixed_steps = not params.mixup  # which some batches have

    @property
    def plain_loss(self) -> Loss:
        """The loss without label smoothing."""
        return self._smoothed(0.0)

    def training_step(self, batch: Batch) -> StepResult:
        """The loss of a batch, and for how many papers the likeliest class is right."""
        batch = self.regularizer.drop_tokens(batch)
        labels = batch.labels
        mixup = self.regularizer.draw_mixup(labels)
        with (
            self.device_config.autocast(),
            mixup.applied_to(self.model.head) if mixup else nullcontext(),
        ):
            logits, _ = batch.feed(self.parallel)
        loss = mixup.loss(self.loss, logits, labels) if mixup else self.loss(logits, labels)
        target = mixup.majority(labels) if mixup else labels
        return StepResult(loss, _hits(logits.detach(), target).sum())

    def lengths(self, papers: Papers) -> npt.NDArray[np.int64]:
        """Lengths of the text whose padding costs this model time."""
        return papers.lengths(self.model.bucket_by)

    def weight(self, labels: Tensor) -> Tensor | float:
        """Papers, or with one label per paper the sum of their class weights."""
        if self.class_weights is None or self.multi_label:
            return super().weight(labels)
        return self.class_weights[labels].sum()

    def validate(self, papers: Papers, group: Group) -> tuple[float, float]:
        """See `Task.validate`."""
        logits = self._predict(papers, group)
        accuracy = _hits(logits, papers.labels).double().mean()
        return float(self.loss(logits, papers.labels)), float(accuracy)

    def _predict(self, papers: Papers, group: Group) -> Tensor:
        """Logits (N, C), each process of the group computing its shard."""
        if group.size == 1:
            return predict(self.model, papers, self.device_config)
        rows = group.shard(np.arange(len(papers)))
        shard = predict(self.model, papers.take(rows), self.device_config)
        logits = shard.new_zeros(len(papers), shard.shape[1])
        return group.sum(logits.index_copy_(0, torch.from_numpy(rows).to(shard.device), shard))


def _hits(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether each paper's likeliest class is its class, or one of them; (B,) bool."""
    likeliest = logits.argmax(1)
    if labels.ndim == 1:
        return likeliest == labels
    return labels.gather(1, likeliest[:, None]).squeeze(1)


def fit(
    model: PaperClassifier,
    train: EncodedPapers,
    val: EncodedPapers,
    label_set: LabelSet,
    params: Params,
    device_config: DeviceConfig,
    *,
    from_encoder: bool = False,
    group: Group = SINGLE,
    on_epoch: Callable[[Epoch], None] | None = None,
    resume: Path | None = None,
) -> History:
    """Train `model` on labelled papers; it ends with the weights of its best epoch.

    from_encoder: the head is fitted first, and the model before the first epoch may be the best.
    PyTorch's seed must be set by the caller. resume: see `train_classifier`. Raises UserError if
    training diverges.
    """
    task = Classification(model, train.labels, label_set, params, device_config, group)
    if from_encoder and isinstance(model, PooledCNN):
        fit_head(model, train, val, task.plain_loss, device_config, seed=params.seed)
    progress = None
    if resume:
        settings = {**training_values(params), "classes": label_set.names}
        papers = {"training papers": train, "validation papers": val}
        progress = Progress(
            resume, run_identity(settings, model, papers, device_config, group), group
        )
    config = replace(trainer_config(params, len(train)), starts_fitted=from_encoder)
    trainer = Trainer(task, train, config, device_config, group)
    if group.size > 1:  # processes agree on batches but draw their own dropout
        torch.manual_seed(params.seed + group.rank)
    return trainer.fit(val, on_epoch, progress)


def trainer_config(params: Params, papers: int) -> TrainerConfig:
    """What the training loop needs of the parameters, for a number of training papers."""
    if isinstance(params.batch_size, int):
        size = params.batch_size
    else:
        size = max(batch_size_for(papers, params.epochs, params.min_steps), 2 * params.processes)
    steps = math.ceil(papers / size / params.accumulate)
    epochs = max(params.epochs, math.ceil(params.min_steps / steps))
    optimizer = OptimizerConfig(
        name=params.optimizer,
        learning_rate=params.learning_rate,
        embedding_rate_scale=params.glove.learning_rate_scale,
        weight_decay=params.weight_decay,
        gradient_clip=params.gradient_clip,
        scheduler=params.scheduler,
        accumulate=params.accumulate,
    )
    return TrainerConfig(
        epochs=epochs,
        batch_size=size,
        patience=math.ceil(params.patience * epochs / params.epochs),
        seed=params.seed,
        optimizer=optimizer,
    )


def train_classifier(
    params: Params,
    train: PaperTable,
    val: PaperTable,
    vocabulary: Vocabulary,
    embeddings: npt.NDArray[np.float32] | None,
    label_set: LabelSet,
    *,
    pretrained: Pretrained | None = None,
    group: Group = SINGLE,
    on_epoch: Callable[[Epoch], None] | None = None,
    resume: Path | None = None,
) -> tuple[Classifier, History]:
    """Train `params.model` on papers with the columns title, abstract and label.

    If papers may have several classes, as `label_set` says, they need the column labels, too.
    embeddings (V, D): initial word vectors, used if `params.embeddings` is `pretrained`; None means
    random vectors of width `params.glove.dim`. pretrained: an encoder that v6 starts from;
    `vocabulary` and `embeddings` must then be the encoder's. resume: a folder for the state of this
    run, see `progress`; the caller removes it after saving the result. Returns the classifier with
    its best epoch's weights; probabilities, thresholds and familiarity are fitted on `val`.
    """
    if pretrained is not None and pretrained.vocabulary != vocabulary:
        raise UserError(
            "pretrained: its vocabulary differs from data/processed/vocab.txt; `dvc repro` builds "
            "that file again"
        )
    keep_freed_memory()
    device_config = choose_device(params.device, params.precision)
    seed_everything(params.seed)
    model, config = _build(params, vocabulary, embeddings, label_set, pretrained)
    model.to(device_config.device)
    classifier = Classifier(model, vocabulary, config, device_config)
    encoded, held_out = (_encode(classifier, papers, label_set) for papers in (train, val))
    if label_set.multi_label:
        start_at_shares(model, encoded.labels)
    history = fit(
        model, encoded, held_out, label_set, params, device_config,
        from_encoder=pretrained is not None and params.model == PRETRAINABLE,
        group=group, on_epoch=on_epoch, resume=resume,
    )  # fmt: skip
    logits = predict(model, held_out, device_config)
    weights = class_weights(params.class_weights, encoded.labels, label_set)
    config = fitted_config(config, logits, held_out.labels, weights, params.thresholds)
    members = _membership(encoded.labels, len(label_set))
    known = fit_familiarity(encoded, members, held_out, len(vocabulary))
    return replace(classifier, config=config, familiarity=known), history


def _encode(classifier: Classifier, papers: PaperTable, label_set: LabelSet) -> EncodedPapers:
    """Papers with their targets: class numbers (N,), or with several labels (N, C) bool."""
    encoded = classifier.encode(papers)
    if not label_set.multi_label:
        return encoded
    targets = torch.from_numpy(multi_hot(papers["labels"], len(label_set)))
    return replace(encoded, labels=targets.to(encoded.labels.device))


def start_at_shares(model: PaperClassifier, labels: Tensor) -> None:
    """Let the untrained model predict each class with its share of the papers (Lin et al. 2017).

    labels (N, C) bool. Otherwise it would begin with 50 % for each class, and spend its first steps
    on learning that most papers have few of them.
    """
    shares = (labels.sum(0) + 1) / (len(labels) + 2)
    layers = [layer for layer in model.head.modules() if isinstance(layer, nn.Linear)]
    if layers and layers[-1].bias is not None and layers[-1].out_features == len(shares):
        with torch.no_grad():
            layers[-1].bias.copy_(shares.logit())


def _membership(labels: Tensor, classes: int) -> npt.NDArray[np.bool_]:
    """Targets (N,) or (N, C) as a matrix (N, C)."""
    if labels.ndim == 1:
        labels = F.one_hot(labels, classes).bool()
    return labels.cpu().numpy()


def fitted_config(
    config: ModelConfig,
    logits: Tensor,
    labels: Tensor,
    weights: Tensor | None,
    thresholds: str,
) -> ModelConfig:
    """The configuration with what is fitted on validation papers after training.

    logits (N, C) and labels, (N,) or (N, C) bool, of validation papers; weights (C,): of the
    classes in the loss; thresholds: `per_class` or `global`. A class that the loss weighs by w gets
    logits that are too high by log w; its bias takes that back.
    """
    if not config.multi_label:
        return replace(config, temperature=round(fit_temperature(logits, labels), 6))
    shift = torch.zeros(logits.shape[1]) if weights is None else -weights.cpu().log()
    temperature, bias = fit_sigmoids(logits.cpu() + shift, labels)
    biases = [round(value, 6) for value in (bias + shift / temperature).tolist()]
    config = replace(config, temperature=round(temperature, 6), biases=biases)
    probabilities = sigmoid_probabilities(logits, config.temperature, biases).numpy()
    fitted = fit_thresholds(
        labels.cpu().numpy(), probabilities, per_class=thresholds == "per_class"
    )
    return replace(config, thresholds=[round(value, 6) for value in fitted.tolist()])


def _build(
    params: Params,
    vocabulary: Vocabulary,
    embeddings: npt.NDArray[np.float32] | None,
    label_set: LabelSet,
    pretrained: Pretrained | None,
) -> tuple[PaperClassifier, ModelConfig]:
    """The model before training: architecture, initial word vectors, pre-trained encoder."""
    encoder = pretrained if params.model == PRETRAINABLE else None
    classes = list(label_set.names)
    arguments: dict[str, Any] = {
        "vocab_size": len(vocabulary),
        "embed_dim": params.glove.dim if embeddings is None else embeddings.shape[1],
        "num_classes": len(classes),
        "dropout": params.dropout,
        **(encoder.arguments if encoder else {}),
        **params.architecture.given(),
    }
    model = registry.build(params.model, **arguments)
    model.set_vocabulary(vocabulary.words)
    for name in model.matching_only:
        model.get_submodule(name).requires_grad_(requires_grad=False)
    with torch.no_grad():
        if embeddings is not None and params.embeddings == "pretrained":
            model.embedding.weight.copy_(torch.from_numpy(embeddings))
        elif params.embeddings != "wide":  # wide keeps PyTorch's initial spread
            model.embedding.weight.mul_(EMBEDDING_STD)
    if encoder:
        load_encoder(model, encoder, label_set)
    config = ModelConfig(
        params.model,
        arguments,
        classes,
        params.vocab.title_length,
        params.vocab.abstract_length,
        multi_label=label_set.multi_label,
        titles=label_set.titles(),
    )
    return model, config


def report(classifier: Classifier, history: History) -> dict[str, Any]:
    """The content of metrics/train.json: the best epoch's metrics, and what `auto` chose."""
    best = history.best_epoch
    names = ("train_loss", "val_loss", f"train_{best.score}", f"val_{best.score}")
    return {
        "best_epoch": best.epoch,
        "epochs": len(history.epochs),
        "batch_size": history.batch_size,
        **{name: best.metrics[name] for name in names},
        "parameters": sum(p.numel() for p in classifier.model.parameters()),
        "device": classifier.device_config.device.type,
        "precision": classifier.device_config.precision,
        "temperature": classifier.config.temperature,
    }


def curves(history: History) -> pd.DataFrame:
    """One row per epoch, without timings: plots must not change between equal runs.

    The columns have the same names in every run, because DVC's plots name them: `accuracy` is the
    share of papers whose likeliest class is right, also where the score is called precision@1.
    """
    columns = (
        "epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy", "learning_rate",
    )  # fmt: skip
    return pd.DataFrame(
        [{name: getattr(epoch, name) for name in columns} for epoch in history.epochs]
    )
