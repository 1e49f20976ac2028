"""The training loop, for classification and pre-training alike.

A `Task` defines what one step computes; the `Trainer` does the rest: batches, updates, validation,
early stopping, the best weights.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from arxiv_hybrid.inference.devices import DeviceConfig
from arxiv_hybrid.inference.encoding import EncodedPapers, Papers
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.ticker import Progress as Shown
from arxiv_hybrid.system.ticker import Ticker
from arxiv_hybrid.system.watched import report_epoch
from arxiv_hybrid.training.batches import shuffled_batches
from arxiv_hybrid.training.distributed import SINGLE, Group, keep_gradients_local
from arxiv_hybrid.training.graphs import FEWEST_STEPS, GraphedSteps
from arxiv_hybrid.training.optimizers import ModelOptimizer, OptimizerConfig
from arxiv_hybrid.training.progress import Progress, State
from arxiv_hybrid.training.seed import random_state, restore_random_state
from arxiv_hybrid.training.task import StepResult, Task

OVERFITTING = 0.05  # accuracy on training papers above that on validation papers


@dataclass(frozen=True)
class TrainerConfig:
    """How long and in which batches to train.

    patience: epochs without a higher validation accuracy before training stops. seed: order of the
    batches. starts_fitted: the model can already predict; it is measured as epoch 0, which may be
    the best. PyTorch's seed must be set by the caller.
    """

    epochs: int
    batch_size: int
    patience: int
    seed: int
    optimizer: OptimizerConfig
    starts_fitted: bool = False


@dataclass(frozen=True)
class Epoch:
    """The metrics of one epoch; `documents_per_second` covers training, not validation.

    Epoch 0 is the model before training; its training loss and accuracy are without dropout.

    train_accuracy, val_accuracy: the share of papers whose likeliest class is right. score: what
    this share is called: accuracy, or precision_at_1 if a paper may have several classes. Without
    validation papers, `val_loss` and `val_accuracy` are NaN.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    documents_per_second: float
    score: str = "accuracy"

    @property
    def metrics(self) -> dict[str, float]:
        """Everything except the number of the epoch, by name; accuracies are named `score`."""
        values = asdict(self)
        del values["epoch"], values["score"]
        return {name.replace("accuracy", self.score): value for name, value in values.items()}


@dataclass
class History:
    """All epochs of a run, and the index of the one whose weights the model has.

    val_papers: the number of papers that validation scores were measured on.
    """

    epochs: list[Epoch] = field(default_factory=list)
    best: int = 0
    val_papers: int = 0
    batch_size: int = 0

    @property
    def trained(self) -> int:
        """How many epochs were trained."""
        return self.epochs[-1].epoch if self.epochs else 0

    @property
    def best_epoch(self) -> Epoch:
        """The epoch whose weights were kept."""
        return self.epochs[self.best]

    @property
    def still_rising(self) -> bool:
        """Whether longer training would probably have helped.

        The last epoch is the best, by more than a standard error, and the model does not overfit.
        """
        if self.best + 1 < len(self.epochs) or len(self.epochs) < 2:
            return False
        last = self.epochs[-1]
        before = max(epoch.val_accuracy for epoch in self.epochs[:-1])
        error = math.sqrt(last.val_accuracy * (1 - last.val_accuracy) / max(self.val_papers, 1))
        overfits = last.train_accuracy - last.val_accuracy > OVERFITTING
        return last.val_accuracy - before > error and not overfits

    @property
    def summary(self) -> str:
        """The best epoch and its score on validation papers, in a line."""
        best = self.best_epoch
        text = f"best epoch {best.epoch}, val {shown(best.score)} {best.val_accuracy:.2%}"
        if self.still_rising:
            text += f"; it still rose in the last epoch: try epochs={2 * self.trained}"
        return text


class BestWeights:
    """A copy of the best epoch's weights: highest validation accuracy, then lowest loss."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.index = 0
        self._score = (-math.inf, -math.inf)
        self._weights: dict[str, Tensor] = {}
        self._last_rise = 0

    def update(self, index: int, accuracy: float, loss: float) -> None:
        """Copy the model's weights if epoch `index` is the best so far."""
        if index == 0 or accuracy > self._score[0]:
            self._last_rise = index
        if index == 0 or (accuracy, -loss) > self._score:
            self.index, self._score = index, (accuracy, -loss)
            self._weights = {name: v.clone() for name, v in self.model.state_dict().items()}

    def epochs_without_rise(self, index: int) -> int:
        """Epochs up to `index` since the accuracy last rose; a lower loss alone does not count."""
        return index - self._last_rise

    def restore(self) -> None:
        """Give the model the best epoch's weights."""
        self.model.load_state_dict(self._weights)

    def state_dict(self, last: int) -> dict[str, Any]:
        """The state after epoch `last`; without weights if those are the model's own."""
        return {
            "index": self.index,
            "score": self._score,
            "last_rise": self._last_rise,
            "weights": None if self.index == last else self._weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`; the model must have the weights of that time."""
        self.index, self._last_rise = state["index"], state["last_rise"]
        self._score = (state["score"][0], state["score"][1])
        weights = state["weights"]
        self._weights = weights or {n: v.clone() for n, v in self.model.state_dict().items()}


class Trainer:
    """Trains a task's model on papers.

    In a `group` each process trains on its shard of every batch, and all end with the same weights.
    """

    def __init__(
        self,
        task: Task,
        train: Papers,
        config: TrainerConfig,
        device_config: DeviceConfig,
        group: Group = SINGLE,
    ) -> None:
        self.task, self.train, self.config, self.group = task, train, config, group
        self.device = device_config.device
        self._random = np.random.default_rng(config.seed)
        self._lengths = task.lengths(train)
        self._ticker = Ticker()  # of all epochs
        self.optimizer = ModelOptimizer(
            task.model,
            config.optimizer,
            epochs=config.epochs,
            batches_per_epoch=len(self._batches()),
            patience=config.patience,
            mixed_fp16=device_config.precision == "fp16",
        )
        task.parallel = group.parallel(task.model)
        self._graphed = self._graphed_steps() if self.device.type == "cuda" else None

    def _graphed_steps(self) -> GraphedSteps | None:
        """The steps as a CUDA graph, where that is possible and worth it."""
        batches = shuffled_batches(
            self._lengths, self.config.batch_size, np.random.default_rng(self.config.seed)
        )
        full = [rows for rows in batches if len(rows) == self.config.batch_size]
        if (
            not isinstance(self.train, EncodedPapers)
            or not self.task.has_fixed_steps
            or self.group.size > 1
            or self.config.optimizer.accumulate > 1
            or self.optimizer.waits_for_values
            or self.config.epochs * len(full) < FEWEST_STEPS
        ):
            return None
        return GraphedSteps(self.task, self.train, self.optimizer, full)

    def fit(
        self,
        val: Papers | None = None,
        on_epoch: Callable[[Epoch], None] | None = None,
        progress: Progress | None = None,
    ) -> History:
        """Train all epochs, or until validation accuracy has not risen for `patience` epochs.

        With `val`, the model ends with the weights of its best epoch. progress: where the state is
        saved; if it has one of this run, training resumes from there, and `on_epoch` gets the
        earlier epochs again. Raises UserError if the loss is no longer finite.
        """
        history = History(batch_size=self.config.batch_size)
        best = BestWeights(self.task.model)
        report = on_epoch if on_epoch and self.group.is_main else lambda _: None
        if progress and (state := progress.load()):
            self._load_state(state, history, best)
            for epoch in history.epochs:
                report(epoch)
            if self.group.is_main:
                done = f"resuming after epoch {history.trained} of {self.config.epochs}"
                print(done, file=sys.stderr, flush=True)
        first = history.trained + 1
        if val is not None and self.config.starts_fitted and not history.epochs:
            first = 0
        for number in range(first, self.config.epochs + 1):
            index = len(history.epochs)
            if best.epochs_without_rise(index - 1) >= self.config.patience and val is not None:
                break
            epoch = self.run_epoch(number, val)
            history.epochs.append(epoch)
            if val is not None:
                best.update(index, epoch.val_accuracy, epoch.val_loss)
            if progress:
                self._save(progress, history, best)
            report(epoch)  # last, so that a reported epoch is not lost
        if val is not None:
            best.restore()
            history.best, history.val_papers = best.index, len(val)
        return history

    def _save(self, progress: Progress, history: History, best: BestWeights) -> None:
        """Save the state after an epoch, if it is due."""
        random = {
            **random_state(self.device),
            "batches": self._random.bit_generator.state,
            "task": self.task.random.bit_generator.state,
        }
        every = self.group.gather(json.dumps(random).encode())  # each process draws its own
        if progress.is_due():
            progress.save(
                {
                    "epochs": [asdict(epoch) for epoch in history.epochs],
                    "model": self.task.model.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "best": best.state_dict(len(history.epochs) - 1),
                    "random": [text.decode() for text in every],
                }
            )

    def _load_state(self, state: State, history: History, best: BestWeights) -> None:
        """Continue where `_save` was."""
        history.epochs.extend(Epoch(**epoch) for epoch in state["epochs"])
        self.task.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        best.load_state_dict(state["best"])
        random = json.loads(state["random"][self.group.rank])
        self._random.bit_generator.state = random["batches"]
        self.task.random.bit_generator.state = random["task"]
        restore_random_state(random, self.device)

    def run_epoch(self, number: int, val: Papers | None = None) -> Epoch:
        """One pass over the training papers, then validation; epoch 0 only measures both."""
        learning_rate, started = self.optimizer.learning_rate, time.perf_counter()
        if number:
            train_loss, train_accuracy = self._train_pass(f"epoch {number}/{self.config.epochs}")
        else:
            train_loss, train_accuracy = self.evaluate(self.train)
        seconds = time.perf_counter() - started
        if not math.isfinite(train_loss):
            raise UserError(
                f"training diverged: the loss of epoch {number} is {train_loss}; lower "
                f"learning_rate ({self.config.optimizer.learning_rate:g})"
            )
        val_loss = val_accuracy = math.nan
        if val is not None:
            val_loss, val_accuracy = self.evaluate(val)
            self.optimizer.end_epoch(val_accuracy)
        return Epoch(
            epoch=number,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            learning_rate=learning_rate,
            documents_per_second=len(self.train) / seconds,
            score=self.task.score,
        )

    def evaluate(self, papers: Papers) -> tuple[float, float]:
        """Loss and accuracy on held-out papers."""
        self.group.average_statistics(self.task.model)
        return self.task.validate(papers, self.group)

    def step(self, rows: npt.NDArray[np.int64], *, last: bool = False) -> StepResult:
        """Train on this process's shard of one batch; `last` marks the end of the epoch."""
        if self._graphed and self._graphed.fits(rows):
            return self._graphed.step(rows)
        shard, size = self.group.shard(rows), self.group.size
        with keep_gradients_local(
            self.task.parallel, when=self.optimizer.is_accumulating(last=last)
        ):
            result = self.task.training_step(self.train.batch(shard))
            loss = result.loss
            if size > 1:  # the average over processes is then the loss of the whole batch
                loss = loss * size * self._loss_share(shard, rows)
            self.optimizer.step(loss, last=last)
        return StepResult(loss.detach() / size, result.correct)

    def _loss_share(
        self, shard: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
    ) -> Tensor | float:
        """The shard's share of the total weight of the batch; the shares sum to 1."""
        labels = self.train.labels
        part, whole = (
            self.task.weight(labels[torch.from_numpy(indices).to(self.device)])
            for indices in (shard, rows)
        )
        return part / whole

    def _train_pass(self, title: str) -> tuple[float, float]:
        """One pass over the training papers; returns their mean loss and accuracy."""
        self.task.model.train()
        batches = self._batches()
        total_loss = torch.zeros((), device=self.device)
        correct = torch.zeros((), device=self.device)
        seen = 0

        def details() -> str:  # reading the loss waits for a GPU
            loss, score = total_loss.item() / seen, correct.item() / seen
            return f"loss {loss:.3f}, {shown(self.task.score)} {score:.3f}"

        with Shown(
            what=title, total=len(self.train), unit="papers", ticker=self._ticker,
            details=details,
        ) as bar:  # fmt: skip
            for number, rows in enumerate(batches):
                result = self.step(rows, last=number == len(batches) - 1)
                total_loss += result.loss * len(rows)
                correct += result.correct
                seen += len(self.group.shard(rows))
                bar.update(len(rows))
        total_loss, correct = self.group.sum(torch.stack([total_loss, correct]))
        return total_loss.item() / len(self.train), correct.item() / len(self.train)

    def _batches(self) -> list[npt.NDArray[np.int64]]:
        """The batches of one epoch; a batch has at least two papers for each process."""
        return shuffled_batches(
            self._lengths, self.config.batch_size, self._random, min_size=2 * self.group.size
        )


def shown(score: str) -> str:
    """The name of a score as people write it: `precision@1` for `precision_at_1`."""
    return score.replace("_at_", "@")


def print_epoch(epoch: Epoch) -> None:
    """Print one line about an epoch with validation to standard error.

    In a trial of a search, its worker gets the validation score, too.
    """
    report_epoch(epoch.epoch, epoch.val_accuracy)
    score = shown(epoch.score)
    print(
        f"epoch {epoch.epoch:>3}  loss {epoch.train_loss:.4f}  {score} {epoch.train_accuracy:.4f}"
        f"  val loss {epoch.val_loss:.4f}  val {score} {epoch.val_accuracy:.4f}"
        f"  lr {epoch.learning_rate:.2g}  {epoch.documents_per_second:,.0f} docs/s",
        file=sys.stderr,
        flush=True,
    )
