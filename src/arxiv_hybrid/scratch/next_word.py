"""Next-word prediction: a CNN and a CNN-LSTM over the last words, and their model folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from arxiv_hybrid.scratch.layers import (
    LSTM,
    Array,
    Conv1D,
    Dense,
    Embedding,
    GlobalMaxPool,
    Ids,
    Layer,
    ReLU,
    softmax,
)
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import read_bound, require, write_bytes, write_json
from arxiv_hybrid.text.tokenize import tokenize

PAD, UNK = 0, 1
SPECIAL = ("<PAD>", "<UNK>")
KINDS = ("cnn", "cnn_lstm")
CONFIG, WEIGHTS = "model.json", "weights.safetensors"


@dataclass(frozen=True)
class Settings:
    """Sizes and training settings; `seq_len` words predict the next one.

    Raises UserError for a value out of range.
    """

    seq_len: int = 3
    embedding: int = 50
    kernel: int = 2
    filters: int = 64
    hidden: int = 64
    epochs: int = 200
    batch_size: int = 32
    learning_rate: float = 0.1
    validation_split: float = 0.2
    seed: int = 42
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name in ("seq_len", "embedding", "kernel", "filters", "hidden", "epochs", "batch_size"):
            self._check(name, int, 1, "a positive integer")
        self._check("seed", int, 0, "a non-negative integer")
        self._check("learning_rate", (int, float), 1e-12, "a positive number, such as 0.3")
        self._check("validation_split", float, 1e-12, "a share between 0 and 1")
        if self.validation_split >= 1:
            raise UserError(f"validation_split: {self.validation_split} leaves nothing to train on")
        if self.kernel > self.seq_len:
            raise UserError(f"kernel: {self.kernel} is more than seq_len, {self.seq_len}")

    def _check(self, name: str, kind: Any, least: float, allowed: str) -> None:
        value = getattr(self, name)
        if not isinstance(value, kind) or isinstance(value, bool) or not value >= least:
            raise UserError(f"{name}: {value!r} is not allowed: expected {allowed}")


@dataclass
class History:
    """Training curves, one value per epoch."""

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)


@dataclass
class Model:
    """A sequence of layers: token ids (N, seq_len) to logits (N, V) over the vocabulary."""

    kind: str
    vocabulary: list[str]
    settings: Settings
    layers: list[Layer]
    history: History = field(default_factory=History)

    @classmethod
    def new(cls, kind: str, vocabulary: list[str], settings: Settings) -> Model:
        """Embedding, convolution, ReLU; then max-pooling or an LSTM; then a dense layer."""
        if kind not in KINDS:
            raise UserError(f"there is no next-word model {kind!r}; use {' or '.join(KINDS)}")
        random, dtype = np.random.default_rng(settings.seed), np.dtype(settings.dtype)
        size = len(vocabulary)
        layers: list[Layer] = [
            Embedding(size, settings.embedding, random, dtype),
            Conv1D(settings.embedding, settings.filters, settings.kernel, random, dtype),
            ReLU(),
        ]
        if kind == "cnn":
            layers += [GlobalMaxPool(), Dense(settings.filters, size, random, dtype)]
        else:
            layers.append(LSTM(settings.filters, settings.hidden, random, dtype))
            layers.append(Dense(settings.hidden, size, random, dtype))
        return cls(kind, vocabulary, settings, layers)

    def forward(self, ids: Ids) -> Array:
        """Logits (N, V) for token ids (N, seq_len)."""
        values: Any = ids
        for layer in self.layers:
            values = layer.forward(values)
        logits: Array = values
        return logits

    def backward(self, gradient: Array) -> None:
        """Fill the gradients of all layers from the gradient of the logits."""
        for layer in reversed(self.layers):
            gradient = layer.backward(gradient)


def build_vocab(texts: Sequence[str]) -> list[str]:
    """The special entries, then all words of the texts by descending frequency."""
    counts = Counter(word for text in texts for word in tokenize(text))
    return [*SPECIAL, *sorted(counts, key=lambda word: (-counts[word], word))]


def texts_to_sequences(texts: Sequence[str], vocabulary: Sequence[str]) -> list[list[int]]:
    """Token ids of each text; 1 for words outside the vocabulary."""
    index = {word: i for i, word in enumerate(vocabulary)}
    return [[index.get(word, UNK) for word in tokenize(text)] for text in texts]


def predict_next(
    model: Model, prefix_words: Sequence[str], top_k: int = 5
) -> list[tuple[str, float]]:
    """The most probable next words after a prefix, with their probabilities.

    Only the last `seq_len` words of the prefix count. The special entries are never proposed,
    but keep their share of the probability.
    """
    length = model.settings.seq_len
    prefix = texts_to_sequences([" ".join(prefix_words)], model.vocabulary)[0][-length:]
    ids = np.array([[PAD] * (length - len(prefix)) + prefix], dtype=np.int64)
    probabilities = softmax(model.forward(ids))[0]
    probabilities[: len(SPECIAL)] = 0
    count = min(top_k, len(model.vocabulary) - len(SPECIAL))
    best = np.argsort(-probabilities, kind="stable")[:count]
    return [(model.vocabulary[i], float(probabilities[i])) for i in best]


def save_model(folder: Path, model: Model) -> None:
    """Write the weights as safetensors and everything else as JSON."""
    tensors = {
        f"{number}.{name}": np.ascontiguousarray(value)
        for number, layer in enumerate(model.layers)
        for name, value in layer.weights.items()
    }
    write_bytes(folder / WEIGHTS, save(tensors))
    config = {"kind": model.kind, "words": model.vocabulary, "settings": vars(model.settings)}
    write_json(folder / CONFIG, config, bind=[folder / WEIGHTS])


def load_model(folder: Path) -> Model:
    """Read a folder of `save_model`; UserError if a file is missing, damaged or exchanged."""
    for name in (CONFIG, WEIGHTS):
        require(folder / name)
    try:
        config, files = read_bound(folder / CONFIG, [WEIGHTS])
        words = config["words"]
        if tuple(words[: len(SPECIAL)]) != SPECIAL or len(set(words)) < len(words):
            raise ValueError("words must differ, and start with the special entries")
        model = Model.new(config["kind"], words, Settings(**config["settings"]))
        stored = load(files[WEIGHTS])
        for number, layer in enumerate(model.layers):
            for name, value in layer.weights.items():
                weights = stored.pop(f"{number}.{name}")
                if (weights.shape, weights.dtype) != (value.shape, value.dtype):
                    raise ValueError(f"{number}.{name} is {weights.shape} of {weights.dtype}")
                if not np.isfinite(weights).all():
                    raise ValueError(f"{number}.{name} has values that are not finite")
                layer.weights[name] = weights
        if stored:
            raise ValueError(f"no layer has {', '.join(stored)}")
    except (SafetensorError, UserError, ValueError, TypeError, LookupError, RuntimeError) as error:
        raise UserError(f"{folder}: not a sound model: {error}") from None
    return model
