"""Learning from unlabelled papers which title belongs to which abstract.

An encoder that can tell has to know what a paper is about, which is most of what its category
asks. The same objective, on pairs of many kinds, stands behind sentence embeddings (van den Oord
et al. 2018 for the loss); here it is papers alone, and the words' vectors come from them, too.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as serialize
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from arxiv_hybrid.inference.devices import DeviceConfig
from arxiv_hybrid.inference.encoding import EncodedPapers
from arxiv_hybrid.models.base import PADDING, Counts
from arxiv_hybrid.models.paired import PairedCNNLSTM
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import write_bytes, write_json, write_lines
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training.batches import drop_words, shuffled_batches
from arxiv_hybrid.training.optimizers import Optimization
from arxiv_hybrid.vectors.pretrained import CONFIG, MODEL, PAPERS, WEIGHTS, WORDS, Pretrained

SHARED_DIM = 256  # of the space in which titles meet abstracts
PROJECTION_DROPOUT = 0.1
TASK = ("head.", "fusion.")  # what only categories can teach, and is not kept


@dataclass(frozen=True)
class Settings:
    """How to pre-train; learning_rate is the peak of one cycle, temperature divides cosines."""

    epochs: int = 4
    batch_size: int = 256
    learning_rate: float = 0.002
    embedding_rate_scale: float = 0.2
    word_dropout: float = 0.2
    temperature: float = 0.07
    weight_decay: float = 0.001
    seed: int = 42


@dataclass(frozen=True)
class PretrainEpoch:
    """Figures of one pass; `matched` is the share of titles that found their abstract."""

    epoch: int
    loss: float
    in_batch_accuracy: float
    documents_per_second: float


class _Meeting(nn.Module):
    """A model with the two projections that only pre-training needs."""

    def __init__(self, model: PairedCNNLSTM) -> None:
        super().__init__()
        self.model = model
        size = model.encoder.out_dim
        self.title, self.abstract = (nn.Linear(size, SHARED_DIM) for _ in range(2))

    def forward(
        self, title_ids: Tensor, abstract_ids: Tensor, words: Counts
    ) -> tuple[Tensor, Tensor]:
        """Ids of B pairs to unit vectors (B, 256) of titles and of abstracts."""
        looked_up = self.model.look_up(title_ids, abstract_ids, title_ids != PADDING, words)
        (title, _), (abstract, _) = self.model.texts(*looked_up)
        pairs = ((self.title, title), (self.abstract, abstract))
        titles, abstracts = (
            F.normalize(layer(F.dropout(x, PROJECTION_DROPOUT, self.training)).float(), dim=-1)
            for layer, x in pairs
        )
        return titles, abstracts


def info_nce(titles: Tensor, abstracts: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """InfoNCE in both directions over unit vectors (B, D), and the share of titles matched.

    Every other paper of the batch is a wrong answer.
    """
    scores = titles @ abstracts.T / temperature
    own = torch.arange(len(scores), device=scores.device)
    loss = (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2
    return loss, (scores.argmax(1) == own).float().mean()


def pretrain(
    model: PairedCNNLSTM,
    papers: EncodedPapers,
    settings: Settings,
    device_config: DeviceConfig,
    *,
    on_epoch: Callable[[PretrainEpoch], None] | None = None,
) -> list[PretrainEpoch]:
    """Teach `model`'s embedding and encoder, in place; labels of `papers` are not looked at.

    Needs torch's seed set by the caller; the order of batches follows `settings.seed`.
    """
    both = _Meeting(model).to(device_config.device)
    random = np.random.default_rng(settings.seed)
    steps = len(shuffled_batches(papers.abstract_lengths, settings.batch_size, random))
    optimization = Optimization(
        both,
        optimizer="adamw",
        learning_rate=settings.learning_rate,
        embedding_rate_scale=settings.embedding_rate_scale,
        weight_decay=settings.weight_decay,
        gradient_clip=1.0,
        scheduler="onecycle",
        epochs=settings.epochs,
        steps_per_epoch=steps,
        patience=settings.epochs,
        mixed_fp16=device_config.precision == "fp16",
    )
    history = []
    for number in range(1, settings.epochs + 1):
        both.train()
        started = time.perf_counter()
        total, in_batch_accuracy = torch.zeros(2, device=device_config.device).unbind()
        batches = shuffled_batches(papers.abstract_lengths, settings.batch_size, random)
        title = f"pre-training {number}/{settings.epochs}"
        with tqdm(total=len(papers), desc=title, unit="doc", disable=None, leave=False) as bar:
            for rows in batches:
                titles, abstracts, _ = papers.batch(rows)
                titles, abstracts = (
                    drop_words(ids, settings.word_dropout) for ids in (titles, abstracts)
                )
                with device_config.autocast():
                    title_vectors, abstract_vectors = both(titles, abstracts, papers.words(rows))
                loss, share = info_nce(title_vectors, abstract_vectors, settings.temperature)
                optimization.step(loss)
                total += loss.detach() * len(rows)
                in_batch_accuracy += share * len(rows)
                bar.update(len(rows))
        loss_mean, share_mean = total.item() / len(papers), in_batch_accuracy.item() / len(papers)
        speed = len(papers) / (time.perf_counter() - started)  # a GPU has finished by now
        epoch = PretrainEpoch(number, loss_mean, share_mean, speed)
        history.append(epoch)
        if on_epoch:
            on_epoch(epoch)
    return history


def say(epoch: PretrainEpoch) -> None:
    """Print an epoch's line."""
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
    """Write an encoder into `folder`, as fp16, each file whole or not at all.

    arguments: widths that the model was built with; papers: ids of those it learned from.
    """
    weights = {
        name: value.detach().cpu().half().contiguous()
        for name, value in model.state_dict().items()
        if not name.startswith(TASK)
    }
    write_bytes(folder / WEIGHTS, serialize(weights))
    write_json(folder / CONFIG, {"model": MODEL, "arguments": arguments})
    write_lines(folder / WORDS, list(vocabulary.words))
    write_lines(folder / PAPERS, list(papers))


def load_encoder(model: nn.Module, pretrained: Pretrained) -> None:
    """Start a v5 from pre-trained weights; its head and fusion stay as they are.

    Raises UserError where the shapes differ, as with `architecture` other than pre-trained.
    """
    try:
        weights = {name: torch.from_numpy(value) for name, value in pretrained.weights.items()}
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"params.yaml: architecture differs from pretrained: {reason}") from None
    if unexpected or any(not name.startswith(TASK) for name in missing):
        raise UserError("params.yaml: model is not the one that was pre-trained (v5)")
