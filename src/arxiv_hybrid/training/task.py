"""What is learned: the interface between a training task and the `Trainer`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from arxiv_hybrid.inference.encoding import Batch, Papers
from arxiv_hybrid.training.distributed import Group


@dataclass(frozen=True)
class StepResult:
    """The mean loss of a batch, which is differentiated, and how many predictions were correct."""

    loss: Tensor
    correct: Tensor


class Task(ABC):
    """What is learned: a model and what one step of training computes.

    parallel: what `training_step` calls instead of `model`; the trainer wraps the model for several
    processes. random: what a step draws from besides PyTorch. score: the name of the share of
    correct predictions. has_fixed_steps: every step runs the same operations on the device, so that
    one can be captured and replayed.
    """

    model: nn.Module
    parallel: nn.Module
    random: np.random.Generator
    score: str = "accuracy"
    has_fixed_steps: bool = False

    @abstractmethod
    def training_step(self, batch: Batch) -> StepResult:
        """The loss of a batch, and its number of correct predictions."""

    @abstractmethod
    def lengths(self, papers: Papers) -> npt.NDArray[np.int64]:
        """Token counts (N,) by which papers are batched."""

    def weight(self, labels: Tensor) -> Tensor | float:
        """The total weight of papers with `labels` in the mean loss of a batch."""
        return float(len(labels))

    def validate(self, papers: Papers, group: Group) -> tuple[float, float]:
        """Loss and accuracy on held-out papers, each process of the group taking its shard."""
        raise NotImplementedError(f"{type(self).__name__} has no validation")
