"""Contrastive pre-training without labels: match titles with abstracts.

An encoder that matches them captures the topic of a paper, which largely determines its category.
Sentence embeddings are trained with the same objective on many kinds of pairs (van den Oord et al.
2018 for the loss). Here all pairs, and the text behind the word vectors, come from papers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.checkpoint import ModelConfig
from arxiv_hybrid.inference.devices import DeviceConfig
from arxiv_hybrid.inference.encoding import Batch, EncodedPapers
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.models.paired import PairedCNNLSTM
from arxiv_hybrid.params import PRETRAINABLE
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training.optimizers import OptimizerConfig
from arxiv_hybrid.training.progress import Progress, run_identity
from arxiv_hybrid.training.regularizer import Regularizer
from arxiv_hybrid.training.trainer import Epoch, StepResult, Task, Trainer, TrainerConfig

SHARED_DIM = 256  # of the joint embedding space of titles and abstracts
PROJECTION_DROPOUT = 0.1
CLASSIFIER_ONLY = ("head.", "fusion.")  # weights that need labels to be trained; not taken over


@dataclass(frozen=True)
class Settings:
    """How to pre-train.

    learning_rate: peak of one cycle. temperature: cosines are divided by it. word_dropout: share of
    hidden tokens.
    """

    epochs: int = 4
    batch_size: int = 256
    learning_rate: float = 0.002
    embedding_rate_scale: float = 0.2
    word_dropout: float = 0.2
    temperature: float = 0.07
    weight_decay: float = 0.001
    seed: int = 42

    def trainer_config(self) -> TrainerConfig:
        """The part that the training loop needs."""
        optimizer = OptimizerConfig(
            name="adamw",
            learning_rate=self.learning_rate,
            embedding_rate_scale=self.embedding_rate_scale,
            weight_decay=self.weight_decay,
            gradient_clip=1.0,
            scheduler="onecycle",
        )
        return TrainerConfig(
            epochs=self.epochs,
            batch_size=self.batch_size,
            patience=self.epochs,  # no early stopping
            seed=self.seed,
            optimizer=optimizer,
        )


@dataclass(frozen=True)
class PretrainEpoch:
    """The metrics of one pass.

    in_batch_accuracy: share of titles whose abstract scores highest in the batch.
    """

    epoch: int
    loss: float
    in_batch_accuracy: float
    documents_per_second: float


class DualEncoder(nn.Module):
    """A v5 encoder with two projections into the joint space of titles and abstracts."""

    def __init__(self, model: PairedCNNLSTM) -> None:
        super().__init__()
        self.model = model
        size = model.encoder.out_dim
        self.title, self.abstract = (nn.Linear(size, SHARED_DIM) for _ in range(2))

    def forward(self, title_ids: Tensor, abstract_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids of B papers to unit vectors (B, 256) of their titles and abstracts."""
        title, abstract = self.model.embedding(title_ids, abstract_ids)
        title_vector, _ = self.model.encode_title(title)
        abstract_vector, _ = self.model.encode_abstract(abstract)
        return (
            self._project(self.title, title_vector),
            self._project(self.abstract, abstract_vector),
        )

    def _project(self, layer: nn.Linear, vector: Tensor) -> Tensor:
        dropped = F.dropout(vector, PROJECTION_DROPOUT, self.training)
        return F.normalize(layer(dropped).float(), dim=-1)


class Matching(Task):
    """Learning to match titles with abstracts; labels are ignored."""

    def __init__(
        self, model: PairedCNNLSTM, settings: Settings, device_config: DeviceConfig
    ) -> None:
        self.model = self.parallel = DualEncoder(model).to(device_config.device)
        self.device_config, self.temperature = device_config, settings.temperature
        self.random = np.random.default_rng(settings.seed)
        self.regularizer = Regularizer(settings.word_dropout, mixup=0.0, mixup_random=self.random)

    def training_step(self, batch: Batch) -> StepResult:
        """InfoNCE of a batch, and how many titles were matched with their abstract."""
        batch = self.regularizer.drop_tokens(batch)
        with self.device_config.autocast():
            titles, abstracts = batch.feed(self.parallel)
        loss, in_batch_accuracy = info_nce(titles, abstracts, self.temperature)
        return StepResult(loss, in_batch_accuracy * len(batch))

    def lengths(self, papers: EncodedPapers) -> npt.NDArray[np.int64]:
        """Lengths of the abstracts."""
        return papers.abstract_lengths


def info_nce(titles: Tensor, abstracts: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """InfoNCE in both directions over unit vectors (B, D), and the in-batch accuracy of titles.

    Every other paper of the batch is a negative.
    """
    scores = titles @ abstracts.T / temperature
    target = torch.arange(len(scores), device=scores.device)
    loss = (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2
    return loss, (scores.argmax(1) == target).float().mean()


def pretrain(
    model: PairedCNNLSTM,
    papers: EncodedPapers,
    settings: Settings,
    device_config: DeviceConfig,
    *,
    on_epoch: Callable[[PretrainEpoch], None] | None = None,
    resume: Path | None = None,
) -> list[PretrainEpoch]:
    """Train the embedding and encoder of `model`, in place.

    PyTorch's seed must be set by the caller. resume: a folder for the state of this run, see
    `progress`; the caller removes it after saving the result.
    """
    task, progress = Matching(model, settings, device_config), None
    if resume:
        identity = run_identity(asdict(settings), task.model, {"papers": papers}, device_config)
        progress = Progress(resume, identity)
    trainer = Trainer(task, papers, settings.trainer_config(), device_config)

    def report(epoch: Epoch) -> None:
        if on_epoch:
            on_epoch(_pretrain_epoch(epoch))

    return [_pretrain_epoch(e) for e in trainer.fit(on_epoch=report, progress=progress).epochs]


def _pretrain_epoch(epoch: Epoch) -> PretrainEpoch:
    return PretrainEpoch(
        epoch.epoch, epoch.train_loss, epoch.train_accuracy, epoch.documents_per_second
    )


def print_epoch(epoch: PretrainEpoch) -> None:
    """Print one line about an epoch to standard error."""
    print(
        f"epoch {epoch.epoch:>3}  loss {epoch.loss:.4f}  "
        f"in-batch accuracy {epoch.in_batch_accuracy:.4f}"
        f"  {epoch.documents_per_second:,.0f} docs/s",
        file=sys.stderr,
        flush=True,
    )


def save_pretrained(
    folder: Path,
    model: PairedCNNLSTM,
    vocabulary: Vocabulary,
    arguments: dict[str, Any],
    papers: Iterable[str],
) -> None:
    """Write an encoder into `folder`, compact, as a classifier whose head is untrained.

    arguments: the widths that the model was built with. papers: ids of its training papers.
    """
    last = [layer for layer in model.head.modules() if isinstance(layer, nn.Linear)][-1]
    given = {
        "vocab_size": len(vocabulary),
        "embed_dim": model.embedding.embedding_dim,
        "num_classes": last.out_features,
        **arguments,
    }
    classes = [f"class {number}" for number in range(last.out_features)]
    config = ModelConfig(PRETRAINABLE, given, classes, 30, 300)
    papers = list(papers)
    origin = Origin({}, len(papers), task="pre-trained")
    checkpoint.save(folder, model, vocabulary, config, compact=True, origin=origin, papers=papers)
