"""Speed of the NumPy CNN and CNN-LSTM beside the same networks in torch, on the example's corpus.

    python benchmarks/scratch.py [--epochs N]

Both see the same batches, one thread each; the torch twin has autograd and `torch.optim.SGD`.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.scratch.layers import SGD, cross_entropy
from arxiv_hybrid.scratch.next_word import KINDS, Model, Settings, build_vocab, texts_to_sequences
from arxiv_hybrid.scratch.training import create_examples

CORPUS = Path(__file__).resolve().parents[1] / "examples" / "next_word" / "corpus.txt"


class Twin(nn.Module):
    """The same layers in torch."""

    def __init__(self, kind: str, words: int, settings: Settings) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, settings.embedding, padding_idx=0)
        self.conv = nn.Conv1d(settings.embedding, settings.filters, settings.kernel)
        self.lstm = (
            nn.LSTM(settings.filters, settings.hidden, batch_first=True)
            if kind == "cnn_lstm"
            else None
        )
        self.out = nn.Linear(settings.hidden if self.lstm else settings.filters, words)

    def forward(self, ids: Tensor) -> Tensor:
        words = F.relu(self.conv(self.embedding(ids).transpose(1, 2)))
        if self.lstm:
            states: Tensor = self.out(self.lstm(words.transpose(1, 2))[0][:, -1])
            return states
        scores: Tensor = self.out(words.amax(2))
        return scores


def compare(epochs: int) -> dict[str, tuple[float, float]]:
    """Examples a second of each kind of network in NumPy and in torch."""
    torch.set_num_threads(1)
    speeds = {}
    texts, settings = CORPUS.read_text(encoding="utf-8").splitlines(), Settings()
    words = build_vocab(texts)
    x, y = create_examples(texts_to_sequences(texts, words), settings.seq_len)
    order = np.random.default_rng(0).permutation(len(y))
    batches = np.array_split(order, -(-len(y) // settings.batch_size))
    print(f"{len(y):,} examples, {len(words):,} words, {epochs} epochs, one thread")
    for kind in KINDS:
        ours = Model.new(kind, words, settings)
        optimizer = SGD(settings.learning_rate)
        started = time.perf_counter()
        for _ in range(epochs):
            for rows in batches:
                ours.backward(cross_entropy(ours.forward(x[rows]), y[rows])[1])
                optimizer.step(ours)
        numpy_seconds = time.perf_counter() - started

        torch.manual_seed(0)
        twin = Twin(kind, len(words), settings)
        descent = torch.optim.SGD(twin.parameters(), lr=settings.learning_rate)
        ids, labels = torch.from_numpy(x), torch.from_numpy(y)
        started = time.perf_counter()
        for _ in range(epochs):
            for rows in batches:
                descent.zero_grad()
                F.cross_entropy(twin(ids[rows]), labels[rows]).backward()
                descent.step()
        torch_seconds = time.perf_counter() - started
        done = epochs * len(y)
        speeds[kind] = done / numpy_seconds, done / torch_seconds
        print(
            f"{kind:<9} NumPy {speeds[kind][0]:8,.0f} examples/s   torch "
            f"{speeds[kind][1]:8,.0f} examples/s   ratio {torch_seconds / numpy_seconds:.2f}"
        )
    return speeds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    compare(parser.parse_args().epochs)


if __name__ == "__main__":
    main()
