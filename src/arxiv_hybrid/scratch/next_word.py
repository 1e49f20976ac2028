"""Which word comes next: a CNN and a CNN-LSTM over the last words, trained by plain NumPy."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from arxiv_hybrid.scratch.layers import (
    LSTM,
    SGD,
    Array,
    Conv1D,
    Dense,
    Embedding,
    GlobalMaxPool,
    Ids,
    Layer,
    ReLU,
    cross_entropy,
    softmax,
)
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import require, write_bytes, write_json
from arxiv_hybrid.text.tokenize import tokenize

PAD, UNK = 0, 1
SPECIAL = ("<PAD>", "<UNK>")
KINDS = ("cnn", "cnn_lstm")


@dataclass(frozen=True)
class Settings:
    """Sizes and how to train; `seq_len` words are seen to guess the next.

    Raises UserError for a value that cannot be.
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
            self._check(name, int, 1, "a whole number from 1")
        self._check("seed", int, 0, "a whole number from 0")
        self._check("learning_rate", (int, float), 1e-12, "a number above 0, as 0.3")
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
    """One value an epoch."""

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)


@dataclass
class Model:
    """Layers one after the other: word numbers (N, seq_len) to logits (N, words)."""

    kind: str
    words: list[str]
    settings: Settings
    layers: list[Layer]
    history: History = field(default_factory=History)

    @classmethod
    def new(cls, kind: str, words: list[str], settings: Settings) -> Model:
        """Embedding, convolution and ReLU; then the maximum or an LSTM; then a score a word."""
        if kind not in KINDS:
            raise UserError(f"there is no next-word model {kind!r}; use {' or '.join(KINDS)}")
        random, dtype = np.random.default_rng(settings.seed), np.dtype(settings.dtype)
        layers: list[Layer] = [
            Embedding(len(words), settings.embedding, random, dtype),
            Conv1D(settings.embedding, settings.filters, settings.kernel, random, dtype),
            ReLU(),
        ]
        if kind == "cnn":
            layers += [GlobalMaxPool(), Dense(settings.filters, len(words), random, dtype)]
        else:
            layers.append(LSTM(settings.filters, settings.hidden, random, dtype))
            layers.append(Dense(settings.hidden, len(words), random, dtype))
        return cls(kind, words, settings, layers)

    def forward(self, ids: Ids) -> Array:
        """Logits (N, words) for word numbers (N, seq_len)."""
        values: Any = ids
        for layer in self.layers:
            values = layer.forward(values)
        logits: Array = values
        return logits

    def backward(self, gradient: Array) -> None:
        """Fill the gradients of all layers from that of the logits."""
        for layer in reversed(self.layers):
            gradient = layer.backward(gradient)


def build_vocab(texts: Sequence[str]) -> list[str]:
    """All words of the texts, the most frequent first, behind padding and unknown."""
    counts = Counter(word for text in texts for word in tokenize(text))
    return [*SPECIAL, *sorted(counts, key=lambda word: (-counts[word], word))]


def texts_to_sequences(texts: Sequence[str], words: Sequence[str]) -> list[list[int]]:
    """Word numbers of each text; 1 for a word that the vocabulary lacks."""
    numbers = {word: number for number, word in enumerate(words)}
    return [[numbers.get(word, UNK) for word in tokenize(text)] for text in texts]


def create_examples(seqs: Sequence[Sequence[int]], seq_len: int) -> tuple[Ids, Ids]:
    """Every word but a text's first with the `seq_len` words before it: (N, seq_len) and (N,).

    At the start of a text 0 stands in for words that are not there.
    """
    contexts: list[npt.NDArray[np.int64]] = []
    answers: list[npt.NDArray[np.int64]] = []
    for seq in seqs:
        if len(seq) > 1:
            padded = np.array([PAD] * (seq_len - 1) + list(seq), dtype=np.int64)
            contexts.append(np.lib.stride_tricks.sliding_window_view(padded[:-1], seq_len))
            answers.append(np.array(seq[1:], dtype=np.int64))
    if not contexts:
        raise UserError("no text has two words to learn from")
    return np.concatenate(contexts), np.concatenate(answers)


def train_cnn(
    texts: Sequence[str], settings: Settings | None = None, *, on_epoch: OnEpoch | None = None
) -> Model:
    """Train embedding, convolution, maximum over time; see `train`."""
    return train("cnn", texts, settings or Settings(), on_epoch=on_epoch)


def train_cnn_lstm(
    texts: Sequence[str], settings: Settings | None = None, *, on_epoch: OnEpoch | None = None
) -> Model:
    """Train embedding, convolution, LSTM; see `train`."""
    return train("cnn_lstm", texts, settings or Settings(), on_epoch=on_epoch)


OnEpoch = Callable[[History], None]


def train(
    kind: str, texts: Sequence[str], settings: Settings, *, on_epoch: OnEpoch | None = None
) -> Model:
    """Learn the texts' next words by stochastic gradient descent.

    The last `validation_split` of the texts, in a seeded order, is held out: whole texts, so
    that no word is seen from both sides. The vocabulary is that of the training texts. The
    model's history has training and validation loss and accuracy for each epoch.
    """
    train_texts, val_texts, random = _divided(texts, settings)
    model = Model.new(kind, build_vocab(train_texts), settings)
    x, y = create_examples(texts_to_sequences(train_texts, model.words), settings.seq_len)
    val = create_examples(texts_to_sequences(val_texts, model.words), settings.seq_len)
    optimizer, history = SGD(settings.learning_rate), model.history
    for _ in range(settings.epochs):
        losses, right = 0.0, 0
        rows = random.permutation(len(y))
        for start in range(0, len(rows), settings.batch_size):
            batch = rows[start : start + settings.batch_size]
            logits = model.forward(x[batch])
            loss, gradient = cross_entropy(logits, y[batch])
            model.backward(gradient)
            optimizer.step(model)
            losses += loss * len(batch)
            right += int((logits.argmax(1) == y[batch]).sum())
        history.loss.append(losses / len(y))
        history.accuracy.append(right / len(y))
        logits = model.forward(val[0])
        history.val_loss.append(cross_entropy(logits, val[1])[0])
        history.val_accuracy.append(float((logits.argmax(1) == val[1]).mean()))
        if on_epoch:
            on_epoch(history)
    return model


def _divided(
    texts: Sequence[str], settings: Settings
) -> tuple[list[str], list[str], np.random.Generator]:
    """Texts to train on, texts that are held out, and the generator that chose them."""
    random = np.random.default_rng(settings.seed)
    order = random.permutation(len(texts))
    held_out = max(1, round(settings.validation_split * len(texts)))
    parts = order[:-held_out], order[-held_out:]
    train_texts, val_texts = ([texts[i] for i in part] for part in parts)
    return train_texts, val_texts, random


def references(texts: Sequence[str], settings: Settings) -> dict[str, float]:
    """What accuracies are to be read against, on the same texts as `train`.

    `bigram_val`: on held-out texts, of the word that most often followed the last one in the
    training texts. `possible`: on training texts, of whoever knows for each `seq_len` words
    which one most often followed: the same words go on differently in different texts.
    """
    train_texts, val_texts, _ = _divided(texts, settings)
    words = build_vocab(train_texts)
    train_seqs, val_seqs = (texts_to_sequences(part, words) for part in (train_texts, val_texts))
    x, y = create_examples(train_seqs, settings.seq_len)
    best = {key: count.most_common(1)[0] for key, count in _followers(x, y).items()}
    last, following = create_examples(train_seqs, 1)
    bigram = {key: count.most_common(1)[0][0] for key, count in _followers(last, following).items()}
    commonest = Counter(following.tolist()).most_common(1)[0][0]
    val_last, answers = create_examples(val_seqs, 1)
    guesses = [bigram.get(tuple(row), commonest) for row in val_last.tolist()]
    return {
        "bigram_val": float((np.array(guesses) == answers).mean()),
        "possible": sum(count for _, count in best.values()) / len(y),
    }


def _followers(contexts: Ids, answers: Ids) -> dict[tuple[int, ...], Counter[int]]:
    """How often each word follows each context."""
    found: dict[tuple[int, ...], Counter[int]] = {}
    for context, answer in zip(contexts.tolist(), answers.tolist(), strict=True):
        found.setdefault(tuple(context), Counter())[answer] += 1
    return found


def predict_next(
    model: Model, prefix_words: Sequence[str], top_k: int = 5
) -> list[tuple[str, float]]:
    """The likeliest next words after the last `seq_len` words of a prefix, with probabilities.

    Padding and unknown are never proposed; the probabilities are those among all words.
    """
    length = model.settings.seq_len
    numbers = texts_to_sequences([" ".join(prefix_words)], model.words)[0][-length:]
    ids = np.array([[PAD] * (length - len(numbers)) + numbers], dtype=np.int64)
    probabilities = softmax(model.forward(ids))[0]
    probabilities[: len(SPECIAL)] = 0
    best = np.argsort(-probabilities, kind="stable")[: min(top_k, len(model.words) - len(SPECIAL))]
    return [(model.words[i], float(probabilities[i])) for i in best]


def save_model(folder: Path, model: Model) -> None:
    """Write weights as safetensors and all else as JSON."""
    tensors = {
        f"{number}.{name}": np.ascontiguousarray(value)
        for number, layer in enumerate(model.layers)
        for name, value in layer.weights.items()
    }
    write_bytes(folder / "weights.safetensors", save(tensors))
    config = {"kind": model.kind, "words": model.words, "settings": vars(model.settings)}
    write_json(folder / "model.json", config)


def load_model(folder: Path) -> Model:
    """Read what `save_model` wrote; UserError if it is not there or damaged."""
    for name in ("model.json", "weights.safetensors"):
        require(folder / name)
    try:
        config = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        model = Model.new(config["kind"], config["words"], Settings(**config["settings"]))
        stored = load_file(folder / "weights.safetensors")
        for number, layer in enumerate(model.layers):
            for name, value in layer.weights.items():
                found = stored.pop(f"{number}.{name}")
                if found.shape != value.shape:
                    raise ValueError(f"{number}.{name} has the shape {found.shape}")
                layer.weights[name] = found
        if stored:
            raise ValueError(f"no layer has {', '.join(stored)}")
    except (SafetensorError, ValueError, TypeError, LookupError) as error:
        raise UserError(f"{folder}: not a sound model: {error}") from None
    return model
