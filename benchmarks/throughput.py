"""Training speed of v1 against a plain loop, and what each has learned after the same epochs.

The plain loop is what a careful first implementation does: fp32, a DataLoader, every abstract
padded to 300 tokens and every title to 30, element-wise dropout, dense AdamW. Both models
have the same architecture, start, papers, vectors and number of epochs; both are timed in
this process. Run it on an idle machine:

    python benchmarks/throughput.py [--csv FILE] [--epochs N] [--papers N] [--seeds N ...]
        [--device cpu|cuda]
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as stages do, for both loops

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from arxiv_hybrid.data.labels import CLASSES, label_papers
from arxiv_hybrid.data.splits import split_documents
from arxiv_hybrid.data.table import texts_of
from arxiv_hybrid.inference.devices import choose_device
from arxiv_hybrid.inference.encoding import EncodedPapers, encode_papers
from arxiv_hybrid.models.base import initialise
from arxiv_hybrid.params import Params, load
from arxiv_hybrid.sources import synthetic
from arxiv_hybrid.sources.csv_source import read_csv
from arxiv_hybrid.text.tokenize import tokenize_all
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training.classifier import train_classifier
from arxiv_hybrid.training.seed import seed_everything
from arxiv_hybrid.vectors.matrix import embedding_matrix
from arxiv_hybrid.vectors.train import word_vectors

SYNTHETIC_PAPERS = 4_000


class PlainBlock(nn.Module):
    """The residual block on padded batches."""

    def __init__(self, channels: int, filters: int, size: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(channels, filters, size, padding="same")
        self.norm1 = nn.BatchNorm1d(filters)
        self.conv2 = nn.Conv1d(filters, filters, size, padding="same")
        self.norm2 = nn.BatchNorm1d(filters)
        self.skip = nn.Conv1d(channels, filters, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(F.relu(self.norm1(self.conv1(x))))
        return F.relu(self.norm2(self.conv2(hidden)) + self.skip(x))


class PlainV1(nn.Module):
    """v1 as a first implementation writes it: padding takes part everywhere."""

    def __init__(self, embeddings: npt.NDArray[np.float32], classes: int, dropout: float) -> None:
        super().__init__()
        weights = torch.from_numpy(embeddings.copy())
        self.embedding = nn.Embedding.from_pretrained(weights, freeze=False, padding_idx=0)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(300, 128, 2, batch_first=True, bidirectional=True, dropout=dropout)
        self.attention = nn.MultiheadAttention(256, 4, dropout=0.1, batch_first=True)
        self.norm = nn.LayerNorm(256)
        self.blocks = nn.ModuleList(PlainBlock(300, 128, k, 0.5 * dropout) for k in (3, 4, 5))
        self.score, self.project = nn.Linear(384, 4), nn.Linear(384, 384)
        self.pool_norm = nn.LayerNorm(384)
        self.title_gate, self.abstract_gate = nn.Linear(640, 256), nn.Linear(640, 384)
        self.fusion_norm = nn.LayerNorm(640)
        self.head = nn.Sequential(
            nn.LayerNorm(640), nn.Dropout(dropout), nn.Linear(640, 256), nn.ReLU(),
            nn.LayerNorm(256), nn.Dropout(dropout), nn.Linear(256, classes),
        )  # fmt: skip
        initialise(self)

    def forward(self, titles: Tensor, abstracts: Tensor) -> Tensor:
        states, _ = self.lstm(self.dropout(self.embedding(titles)))
        attended, _ = self.attention(states, states, states)
        title = self.norm(states + attended).mean(1)
        embedded = self.dropout(self.embedding(abstracts)).transpose(1, 2)
        words = torch.cat([block(embedded) for block in self.blocks], 1).transpose(1, 2)
        weights = self.score(words).softmax(1).mean(-1, keepdim=True)
        pooled = (words * weights).sum(1)
        abstract = self.pool_norm(pooled + self.project(pooled))
        both = torch.cat([title, abstract], 1)
        gates = torch.cat([self.title_gate(both), self.abstract_gate(both)], 1)
        logits: Tensor = self.head(self.fusion_norm(both * gates.sigmoid()))
        return logits


def train_plain(
    params: Params, train: EncodedPapers, val: EncodedPapers, embeddings: npt.NDArray[np.float32]
) -> tuple[list[float], list[float]]:
    """Documents a second and validation accuracy of each epoch of the plain loop."""
    seed_everything(params.seed)
    torch.use_deterministic_algorithms(False)
    model = PlainV1(embeddings, params.labels.classes, params.dropout).to(train.labels.device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay
    )

    def padded(papers: EncodedPapers, shuffle: bool) -> DataLoader[tuple[Tensor, ...]]:
        data = TensorDataset(papers.title_ids, papers.abstract_ids, papers.labels)
        return DataLoader(data, batch_size=params.batch_size, shuffle=shuffle)

    batches = padded(train, True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, params.learning_rate, total_steps=params.epochs * len(batches)
    )
    speeds, accuracies = [], []
    for number in range(params.epochs):
        model.train()
        started = time.perf_counter()
        for titles, abstracts, labels in batches:
            optimizer.zero_grad()
            logits = model(titles, abstracts)
            loss = F.cross_entropy(logits, labels, label_smoothing=params.label_smoothing)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), params.gradient_clip)
            optimizer.step()
            schedule.step()
        loss.item()  # a GPU has done its work when this is at hand
        speeds.append(len(train) / (time.perf_counter() - started))
        model.eval()
        with torch.inference_mode():
            right = sum(int((model(t, a).argmax(1) == y).sum()) for t, a, y in padded(val, False))
        accuracies.append(right / len(val))
        print(
            f"  plain {number + 1}: {speeds[-1]:6.1f} docs/s, val {accuracies[-1]:.2%}", flush=True
        )
    return speeds, accuracies


@dataclass(frozen=True)
class Comparison:
    """Documents a second and the last validation accuracy of both loops."""

    plain_speed: float
    plain_accuracy: float
    speed: float
    accuracy: float


def compare(
    csv: Path | None, *, epochs: int, papers: int, precision: str, seed: int, device: str = "cpu"
) -> Comparison:
    """Train v1 both ways on the same papers, with one recipe."""
    params = load(Path(__file__).resolve().parents[1] / "params.yaml")
    # what only this project's loop has is off
    params = params.model_copy(
        update={
            "model": "v1",
            "epochs": epochs,
            "patience": epochs,
            "word_dropout": 0.0,
            "precision": precision,
            "device": device,
            "seed": seed,
            "glove": params.glove.model_copy(update={"learning_rate_scale": 1.0}),
        }
    )
    splits = papers_of(csv, params)
    train, val = splits["train"].iloc[:papers], splits["val"]
    tokens = tokenize_all(texts_of(train))
    vocabulary = Vocabulary.build(tokens, max_size=params.vocab.max_size, min_freq=2)
    words, vectors = word_vectors(tokens, params.glove, seed=params.seed)
    embeddings, _ = embedding_matrix(vocabulary, words, vectors, dim=300, seed=params.seed)
    device_config = choose_device(device, params.precision)
    print(
        f"{len(train):,} papers, {len(val):,} for validation, {len(vocabulary):,} words, "
        f"{len(CLASSES[params.labels.classes])} classes, {torch.get_num_threads()} threads, "
        f"precision {device_config.precision}, seed {seed}",
        flush=True,
    )
    whole = [
        encode_papers(
            part, vocabulary, title_length=30, abstract_length=300, device=device_config.device
        )
        for part in (train, val)
    ]
    plain_speed, plain_accuracy = train_plain(params, whole[0], whole[1], embeddings)
    _, history = train_classifier(
        params, train, val, vocabulary, embeddings,
        on_epoch=lambda e: print(
            f"  ours  {e.epoch}: {e.documents_per_second:6.1f} docs/s, val {e.val_accuracy:.2%}",
            flush=True,
        ),
    )  # fmt: skip
    return Comparison(
        float(np.median(plain_speed)),
        plain_accuracy[-1],
        float(np.median([epoch.documents_per_second for epoch in history.epochs])),
        history.epochs[-1].val_accuracy,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--csv", type=Path, help="papers; default: the synthetic corpus")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--papers", type=int, default=2000, help="training papers at most")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    chosen = parser.parse_args()
    found = [
        compare(chosen.csv, epochs=chosen.epochs, papers=chosen.papers,
                precision=chosen.precision, seed=seed, device=chosen.device)
        for seed in chosen.seeds
    ]  # fmt: skip
    plain, ours = (
        float(np.mean([getattr(one, name) for one in found])) for name in ("plain_speed", "speed")
    )
    right = [[one.plain_accuracy for one in found], [one.accuracy for one in found]]
    print(f"plain loop {plain:6.1f} docs/s, validation accuracy {np.mean(right[0]):.2%}")
    print(f"this loop  {ours:6.1f} docs/s, validation accuracy {np.mean(right[1]):.2%}")
    print(f"ratio {ours / plain:.2f}")


def papers_of(csv: Path | None, params: Params) -> dict[str, pd.DataFrame]:
    """Training and validation papers of the synthetic corpus or of a CSV.

    Nearly half are for validation: what is compared is two accuracies, and 360 papers would
    know each of them to two points only.
    """
    if csv:
        papers = read_csv(csv)
    else:
        fetch = params.fetch
        papers, _ = synthetic.generate(
            papers=SYNTHETIC_PAPERS, label_noise=fetch.label_noise, seed=fetch.seed
        )
    documents = label_papers(papers, scheme="primary", classes=params.labels.classes)
    return split_documents(
        documents, by="paper", val=0.45, test=0.05, seed=params.split.seed,
        classes=params.labels.classes,
    )  # fmt: skip


if __name__ == "__main__":
    main()
