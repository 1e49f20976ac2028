"""Pre-training of v6 on many papers: the categories that they list, and titles with abstracts.

The categories of arXiv are free labels of every paper: binary cross-entropy, summed over them. The
first one that a paper lists is its primary category: cross-entropy, by a head that is not kept.
Without labels, matching titles with abstracts captures the topic of a paper, which largely
determines its categories (InfoNCE, van den Oord et al. 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.data.paper_arrays import PaperArrays
from arxiv_hybrid.inference.devices import DeviceConfig
from arxiv_hybrid.inference.encoding import Batch, Papers
from arxiv_hybrid.models.pooled import PooledCNN
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.training.distributed import Group
from arxiv_hybrid.training.optimizers import OptimizerConfig
from arxiv_hybrid.training.progress import Progress, run_identity
from arxiv_hybrid.training.regularizer import Regularizer
from arxiv_hybrid.training.stored_papers import StoredPapers
from arxiv_hybrid.training.task import StepResult, Task
from arxiv_hybrid.training.trainer import Epoch, History, Trainer, TrainerConfig

CATEGORIES, PRIMARY, TITLES = "categories", "primary", "titles"
UNKNOWN = -1  # a paper's primary category is no class
FEWEST = 2  # validation papers

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Settings:
    """How to pre-train.

    objectives: `categories`, `primary` (only beside it), `titles`. primary_weight, titles_weight:
    of their losses beside that of categories. temperature: cosines are divided by it.
    learning_rate: peak of one cycle; word vectors learn at `embedding_rate_scale` times it.
    word_dropout: share of hidden tokens. validation: share of the papers held back, by a hash of
    the id.
    """

    objectives: Sequence[str] = (CATEGORIES,)
    primary_weight: float = 1.0
    titles_weight: float = 1.0
    temperature: float = 0.07
    epochs: int = 4
    batch_size: int = 256
    learning_rate: float = 0.002
    embedding_rate_scale: float = 5.0
    word_dropout: float = 0.05
    weight_decay: float = 0.001
    validation: float = 0.01
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


class Outputs(nn.Module):
    """What the objectives compare, from one pass of the encoder."""

    def __init__(self, model: PooledCNN, objectives: Sequence[str]) -> None:
        super().__init__()
        self.model, self.objectives = model, objectives
        self.primary = None
        if PRIMARY in objectives:
            self.primary = nn.Linear(model.head.in_features, model.head.out_features)

    def forward(
        self, title_ids: Tensor, abstract_ids: Tensor
    ) -> tuple[Tensor | None, Tensor | None, tuple[Tensor, Tensor] | None]:
        """Token ids to what is compared; None for an objective that is not learned.

        Logits of all categories (B, C), logits of the primary one (B, C), and unit vectors (B, D)
        of titles and abstracts.
        """
        batch = self.model.encode_batch(title_ids, abstract_ids)
        logits = primary = vectors = None
        if CATEGORIES in self.objectives:
            features = self.model.features_of(batch)
            logits = self.model.head(features)
            primary = self.primary(features) if self.primary else None
        if TITLES in self.objectives:
            vectors = self.model.text_vectors_of(batch)
        return logits, primary, vectors


class Pretraining(Task):
    """Learning the objectives, all in one pass.

    A paper without labels counts only for the titles. Validation leaves `primary` out.
    """

    def __init__(self, model: PooledCNN, settings: Settings, device_config: DeviceConfig) -> None:
        self.model = self.parallel = Outputs(model, settings.objectives).to(device_config.device)
        self.settings, self.device_config = settings, device_config
        by_categories = CATEGORIES in settings.objectives
        self.score = "precision_at_1" if by_categories else "in_batch_accuracy"
        self.random = np.random.default_rng(settings.seed)
        self.regularizer = Regularizer(settings.word_dropout, mixup=0.0, mixup_random=self.random)

    def training_step(self, batch: Batch) -> StepResult:
        """The weighted loss of a batch; how many likeliest categories, or abstracts, are right."""
        return self._step(self.regularizer.drop_tokens(batch))

    def _step(self, batch: Batch) -> StepResult:
        with self.device_config.autocast():
            logits, primary, vectors = batch.feed(self.parallel)
        losses: list[Tensor] = []
        correct: list[Tensor] = []
        if logits is not None:
            loss, precision = categories_loss(logits, batch.labels)
            losses.append(loss)
            correct.append(precision)
        if primary is not None and batch.primary is not None:
            loss = primary_loss(primary, batch.primary)
            losses.append(loss * self.settings.primary_weight)
        if vectors is not None:
            loss, accuracy = info_nce(vectors[0], vectors[1], self.settings.temperature)
            losses.append(loss * (self.settings.titles_weight if losses else 1.0))
            correct.append(accuracy)
        return StepResult(torch.stack(losses).sum(), correct[0].detach() * len(batch))

    def lengths(self, papers: Papers) -> Rows:
        """Lengths of the abstracts."""
        return papers.lengths("abstract")

    @torch.inference_mode()
    def validate(self, papers: Papers, group: Group) -> tuple[float, float]:
        """See `Task.validate`; batches have the size of those in training. One process."""
        del group
        self.model.eval()
        order = np.random.default_rng(self.settings.seed).permutation(len(papers))
        loss = correct = 0.0
        for start in range(0, len(order), self.settings.batch_size):
            batch = papers.batch(order[start : start + self.settings.batch_size])
            result = self._step(batch)
            loss += float(result.loss) * len(batch)
            correct += float(result.correct)
        return loss / len(papers), correct / len(papers)


def categories_loss(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy summed over classes, and precision at 1; means over labelled papers.

    logits (B, C), labels (B, C) bool. Without a labelled paper both are 0.
    """
    labelled = labels.any(1)
    papers = labelled.sum().clamp(min=1)
    losses = F.binary_cross_entropy_with_logits(logits.float(), labels.float(), reduction="none")
    hits = labels.gather(1, logits.argmax(1, keepdim=True)).sum()
    return (losses.sum(1) * labelled).sum() / papers, hits / papers


def primary_loss(logits: Tensor, primary: Tensor) -> Tensor:
    """Cross-entropy of primary categories (B,), mean over papers whose one is known.

    logits (B, C). Without such a paper it is 0.
    """
    papers = (primary != UNKNOWN).sum().clamp(min=1)
    total = F.cross_entropy(logits.float(), primary, ignore_index=UNKNOWN, reduction="sum")
    return total / papers


def info_nce(titles: Tensor, abstracts: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """InfoNCE in both directions over unit vectors (B, D), and the in-batch accuracy of titles.

    Every other paper of the batch is a negative.
    """
    scores = titles @ abstracts.T / temperature
    target = torch.arange(len(scores), device=scores.device)
    loss = (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2
    return loss, (scores.argmax(1) == target).float().mean()


def split(
    arrays: PaperArrays, settings: Settings, device: torch.device
) -> tuple[StoredPapers, StoredPapers]:
    """Papers to train on and validation papers; without titles, only those that have a label.

    Validation papers are chosen by their ids, so they are the same whatever other papers there are.
    Raises UserError if there are no categories to learn, or too few papers.
    """
    by_categories = CATEGORIES in settings.objectives
    if by_categories and len(arrays.classes) < 2:
        raise UserError(
            f"objectives: categories needs two of them with min_papers papers, found "
            f"{len(arrays.classes)}; lower min_papers, or use objectives: [titles]"
        )
    held_back = arrays.held_back(settings.validation)
    labelled = arrays.label_counts > 0
    train = ~held_back & (labelled | (TITLES in settings.objectives))
    val = held_back & (labelled | (not by_categories))
    parts = tuple(StoredPapers(arrays, np.flatnonzero(chosen), device) for chosen in (train, val))
    if min(map(len, parts)) < FEWEST:
        raise UserError(
            f"validation: {len(parts[0]):,} papers to train on and {len(parts[1]):,} held back, "
            f"need {FEWEST} of each; change validation, or name more papers in texts"
        )
    return parts[0], parts[1]


def pretrain(
    model: PooledCNN,
    train: StoredPapers,
    val: Papers,
    settings: Settings,
    device_config: DeviceConfig,
    *,
    on_epoch: Callable[[Epoch], None] | None = None,
    resume: Path | None = None,
) -> History:
    """Train `model`, in place; it ends with the weights of its best epoch.

    PyTorch's seed must be set by the caller. resume: a folder for the state of this run, see
    `progress`; the caller removes it after saving the result.
    """
    task, progress = Pretraining(model, settings, device_config), None
    if resume:
        values = {**asdict(settings), "papers": train.arrays.digest}
        progress = Progress(resume, run_identity(values, task.model, {}, device_config))
    trainer = Trainer(task, train, settings.trainer_config(), device_config)
    return trainer.fit(val, on_epoch, progress)
