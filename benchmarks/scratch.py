"""Speed of the NumPy CNN and CNN-LSTM beside the same networks in torch, on the example's corpus.

    python benchmarks/scratch.py [--epochs N]

Both see the same batches on one thread; torch uses autograd and `torch.optim.SGD`.
"""

import os
from collections.abc import Iterator

import arxiv_hybrid  # noqa: F401 (before torch: it says how long threads spin)

if __name__ == "__main__":  # read when NumPy and torch are loaded
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from runner import ROOT, Speed, Stopwatch, new_parser, print_speeds
from torch import Tensor, nn
from torch.nn import functional as F

from arxiv_hybrid.scratch import next_word, training
from arxiv_hybrid.scratch.layers import SGD, cross_entropy


class TorchModel(nn.Module):
    """The same layers in torch."""

    def __init__(self, kind: str, vocab_size: int, settings: next_word.Settings) -> None:
        super().__init__()
        hidden = settings.hidden if kind == "cnn_lstm" else None
        self.embedding = nn.Embedding(vocab_size, settings.embedding, padding_idx=0)
        self.conv = nn.Conv1d(settings.embedding, settings.filters, settings.kernel)
        self.lstm = nn.LSTM(settings.filters, hidden, batch_first=True) if hidden else None
        self.out = nn.Linear(hidden or settings.filters, vocab_size)

    def forward(self, ids: Tensor) -> Tensor:
        x = F.relu(self.conv(self.embedding(ids).transpose(1, 2)))
        x = self.lstm(x.transpose(1, 2))[0][:, -1] if self.lstm else x.amax(2)
        logits: Tensor = self.out(x)
        return logits


def measure(epochs: int = 20) -> Iterator[Speed]:
    """Train each kind of network in NumPy and in torch."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    corpus = ROOT / "examples" / "next_word" / "corpus.txt"
    texts, settings = corpus.read_text(encoding="utf-8").splitlines(), next_word.Settings()
    vocabulary = next_word.build_vocab(texts)
    sequences = next_word.texts_to_sequences(texts, vocabulary)
    x, y = training.create_examples(sequences, settings.seq_len)
    ids, labels = torch.from_numpy(x), torch.from_numpy(y)
    order = np.random.default_rng(0).permutation(len(y))
    batches = np.array_split(order, -(-len(y) // settings.batch_size)) * epochs
    for kind in next_word.KINDS:
        model, sgd = next_word.Model.new(kind, vocabulary, settings), SGD(settings.learning_rate)
        with Stopwatch() as numpy_watch:
            for rows in batches:
                model.backward(cross_entropy(model.forward(x[rows]), y[rows])[1])
                sgd.step(model)
        torch.manual_seed(0)
        twin = TorchModel(kind, len(vocabulary), settings)
        optimizer = torch.optim.SGD(twin.parameters(), lr=settings.learning_rate)
        with Stopwatch() as torch_watch:
            for rows in batches:
                optimizer.zero_grad()
                F.cross_entropy(twin(ids[rows]), labels[rows]).backward()
                optimizer.step()
        speeds = [epochs * len(y) / watch.seconds for watch in (numpy_watch, torch_watch)]
        measured, reference = (f"{speed:,.0f} examples/s" for speed in speeds)
        ratio = speeds[0] / speeds[1]
        yield Speed(f"NumPy {kind}, one thread", measured, f"the same in torch: {reference}", ratio)
    torch.set_num_threads(threads)


if __name__ == "__main__":
    parser = new_parser(__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    print_speeds(measure(parser.parse_args().epochs))
