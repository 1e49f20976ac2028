"""The training loop: epochs, validation, early stopping, the best weights."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from arxiv_hybrid.data.labels import CLASSES
from arxiv_hybrid.inference.devices import DeviceConfig
from arxiv_hybrid.inference.encoding import EncodedPapers
from arxiv_hybrid.inference.predict import predict
from arxiv_hybrid.models.base import PaperClassifier
from arxiv_hybrid.params import Params
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.training.batches import drop_words, shuffled_batches
from arxiv_hybrid.training.distributed import ALONE, Group
from arxiv_hybrid.training.losses import Loss, Mixup, class_weights, make_loss
from arxiv_hybrid.training.optimizers import Optimization


@dataclass(frozen=True)
class Epoch:
    """One epoch's figures; `documents_per_second` covers training, not validation."""

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    documents_per_second: float


@dataclass
class History:
    """All epochs of a run, and which one's weights the model now has."""

    epochs: list[Epoch] = field(default_factory=list)
    best: int = 0

    @property
    def best_epoch(self) -> Epoch:
        """The epoch whose weights were kept."""
        return self.epochs[self.best]


def fit(
    model: PaperClassifier,
    train: EncodedPapers,
    val: EncodedPapers,
    params: Params,
    device_config: DeviceConfig,
    *,
    group: Group = ALONE,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> History:
    """Train until the validation accuracy has not risen for `patience` epochs.

    `model` ends with the weights of its best epoch. Ties go to the lower validation loss.
    Needs torch's seed set by the caller; the order of batches follows `params.seed`. In a
    `group` each process trains on its share of every batch, and all end with the same weights.
    Raises UserError where the loss is no longer a number.
    """
    weights = class_weights(params.class_weights, train.labels, CLASSES[params.labels.classes])
    loss_function = make_loss(params.loss, weights, params.label_smoothing)
    random = np.random.default_rng(params.seed)
    fewest = 2 * group.size  # rows of a batch: two a process
    lengths = train.lengths(model.padded)
    steps = len(shuffled_batches(lengths, params.batch_size, random, fewest))
    optimization = Optimization(
        model,
        optimizer=params.optimizer,
        learning_rate=params.learning_rate,
        embedding_rate_scale=params.glove.learning_rate_scale,
        weight_decay=params.weight_decay,
        gradient_clip=params.gradient_clip,
        scheduler=params.scheduler,
        epochs=params.epochs,
        steps_per_epoch=-(-steps // params.accumulate),
        accumulate=params.accumulate,
        patience=params.patience,
        mixed_fp16=device_config.precision == "fp16",
        group=group,
    )
    own = random  # processes agree on batches, but draw their noise apart
    if group.size > 1:
        group.start_alike(model)
        torch.manual_seed(params.seed + group.rank)
        own = np.random.default_rng([params.seed, group.rank])
    noise = _Noise(params.word_dropout, params.mixup, own)
    history = History()
    risen = 0  # the last epoch with a higher accuracy than all before
    best_weights: dict[str, Tensor] = {}
    for number in range(params.epochs):
        batches = shuffled_batches(lengths, params.batch_size, random, fewest)
        rate = optimization.learning_rate
        started = time.perf_counter()
        title = f"epoch {number + 1}/{params.epochs}"
        train_loss, train_accuracy = _train_epoch(
            model,
            train,
            batches,
            loss_function,
            optimization,
            device_config,
            noise,
            title,
            group,
            weights,
        )
        seconds = time.perf_counter() - started
        if not math.isfinite(train_loss):
            raise UserError(
                f"training diverged: the loss of epoch {number + 1} is {train_loss}; lower "
                f"learning_rate ({params.learning_rate:g})"
            )
        group.average_statistics(model)
        logits = _predict_shared(model, val, device_config, group)
        val_loss = float(loss_function(logits, val.labels))
        val_accuracy = _accuracy(logits, val.labels)
        optimization.end_epoch(val_accuracy)
        epoch = Epoch(
            number + 1,
            train_loss,
            train_accuracy,
            val_loss,
            val_accuracy,
            rate,
            len(train) / seconds,
        )
        history.epochs.append(epoch)
        if on_epoch and group.first:
            on_epoch(epoch)
        best = history.best_epoch
        if val_accuracy > best.val_accuracy:
            risen = number
        if number == 0 or (val_accuracy, -val_loss) > (best.val_accuracy, -best.val_loss):
            history.best = number
            best_weights = {name: value.clone() for name, value in model.state_dict().items()}
        if number - risen >= params.patience:
            break
    model.load_state_dict(best_weights)
    return history


@dataclass(frozen=True)
class _Noise:
    """What makes training harder than reading: hidden words, mixed papers."""

    word_dropout: float
    mixup: float
    random: np.random.Generator

    def mix(self, labels: Tensor) -> Mixup | None:
        """A mix for a share of the batches; no number is drawn where there is none."""
        if not self.mixup or self.random.random() >= self.mixup:
            return None
        return Mixup.draw(len(labels), labels.device, self.random)


def _train_epoch(
    model: PaperClassifier,
    train: EncodedPapers,
    batches: list[npt.NDArray[np.int64]],
    loss_function: Loss,
    optimization: Optimization,
    device_config: DeviceConfig,
    noise: _Noise,
    title: str,
    group: Group,
    weights: Tensor | None,
) -> tuple[float, float]:
    """One pass over the batches; returns mean loss and accuracy while training."""
    model.train()
    total_loss, correct = torch.zeros(2, device=device_config.device).unbind()
    seen = 0
    quiet = None if group.first else True
    with tqdm(total=len(train), desc=title, unit="doc", disable=quiet, leave=False) as bar:
        for step, batch in enumerate(batches):
            rows = group.share(batch)
            titles, abstracts, labels = train.batch(rows)
            titles, abstracts = (drop_words(ids, noise.word_dropout) for ids in (titles, abstracts))
            mix = noise.mix(labels)
            with device_config.autocast():
                logits, _ = model(
                    titles,
                    abstracts,
                    mixing=mix.features if mix else None,
                    words=train.words(rows),
                )
            loss = mix.loss(loss_function, logits, labels) if mix else loss_function(logits, labels)
            if group.size > 1:
                loss = loss * _share(train.labels, rows, batch, weights)
            optimization.step(loss, last=step == len(batches) - 1)
            total_loss += loss.detach() * len(batch)
            aim = mix.stronger(labels) if mix else labels
            correct += (logits.detach().argmax(1) == aim).sum()
            seen += len(rows)
            if bar.update(len(batch)):  # drawn: reading the loss waits for the device
                means = {"loss": total_loss.item() / seen, "accuracy": correct.item() / seen}
                bar.set_postfix({name: f"{mean:.3f}" for name, mean in means.items()})
    total_loss, correct = group.sum(torch.stack([total_loss, correct]))
    return total_loss.item() / len(train), correct.item() / len(train)


def _share(
    labels: Tensor,
    rows: npt.NDArray[np.int64],
    batch: npt.NDArray[np.int64],
    weights: Tensor | None,
) -> Tensor | float:
    """What part of a batch's mean loss its `rows` are: weighted means divide by the weights."""
    if weights is None:
        return len(rows) / len(batch)
    part, whole = (
        weights[labels[torch.from_numpy(of).to(labels.device)]].sum() for of in (rows, batch)
    )
    return part / whole


def _predict_shared(
    model: PaperClassifier, papers: EncodedPapers, device_config: DeviceConfig, group: Group
) -> Tensor:
    """What `predict` returns, each process of the group doing its share."""
    if group.size == 1:
        return predict(model, papers, device_config)
    rows = group.share(np.arange(len(papers)))
    own = predict(model, papers.take(rows), device_config)
    whole = own.new_zeros(len(papers), own.shape[1])
    return group.sum(whole.index_copy_(0, torch.from_numpy(rows).to(own.device), own))


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(1) == labels).double().mean())


def describe(epoch: Epoch) -> str:
    """One line about an epoch for people who watch."""
    return (
        f"epoch {epoch.epoch:>3}  loss {epoch.train_loss:.4f}  accuracy {epoch.train_accuracy:.4f}"
        f"  val loss {epoch.val_loss:.4f}  val accuracy {epoch.val_accuracy:.4f}"
        f"  lr {epoch.learning_rate:.2g}  {epoch.documents_per_second:,.0f} docs/s"
    )


def say(epoch: Epoch) -> None:
    """Print an epoch's line."""
    print(describe(epoch), file=sys.stderr, flush=True)
