"""Training next-word models by stochastic gradient descent, and reference accuracies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from arxiv_hybrid.scratch.layers import SGD, Ids, cross_entropy
from arxiv_hybrid.scratch.next_word import (
    PAD,
    History,
    Model,
    Settings,
    build_vocab,
    texts_to_sequences,
)
from arxiv_hybrid.system.errors import UserError

OnEpoch = Callable[[History], None]


def create_examples(sequences: Sequence[Sequence[int]], seq_len: int) -> tuple[Ids, Ids]:
    """Contexts (N, seq_len) and next words (N,): every word of a text except the first.

    Contexts at the start of a text are padded with 0 on the left.
    """
    contexts: list[npt.NDArray[np.int64]] = []
    targets: list[npt.NDArray[np.int64]] = []
    for sequence in sequences:
        if len(sequence) > 1:
            padded = np.array([PAD] * (seq_len - 1) + list(sequence), dtype=np.int64)
            contexts.append(np.lib.stride_tricks.sliding_window_view(padded[:-1], seq_len))
            targets.append(np.array(sequence[1:], dtype=np.int64))
    if not contexts:
        raise UserError("no text has two words to learn from")
    return np.concatenate(contexts), np.concatenate(targets)


def train_cnn(
    texts: Sequence[str], settings: Settings | None = None, *, on_epoch: OnEpoch | None = None
) -> Model:
    """Train the model with max-pooling; see `train`."""
    return train("cnn", texts, settings or Settings(), on_epoch=on_epoch)


def train_cnn_lstm(
    texts: Sequence[str], settings: Settings | None = None, *, on_epoch: OnEpoch | None = None
) -> Model:
    """Train the model with an LSTM; see `train`."""
    return train("cnn_lstm", texts, settings or Settings(), on_epoch=on_epoch)


def train(
    kind: str, texts: Sequence[str], settings: Settings, *, on_epoch: OnEpoch | None = None
) -> Model:
    """Train a model of one of `KINDS` on the texts.

    A random `validation_split` of the texts is held out: whole texts, so that no context is on
    both sides. The vocabulary comes from the training texts. The model's history has loss and
    accuracy of both parts for every epoch.
    """
    train_texts, val_texts, random = _split(texts, settings)
    model = Model.new(kind, build_vocab(train_texts), settings)
    x, y = create_examples(texts_to_sequences(train_texts, model.vocabulary), settings.seq_len)
    val = create_examples(texts_to_sequences(val_texts, model.vocabulary), settings.seq_len)
    optimizer, history = SGD(settings.learning_rate), model.history
    for _ in range(settings.epochs):
        total_loss, correct = 0.0, 0
        order = random.permutation(len(y))
        for start in range(0, len(order), settings.batch_size):
            batch = order[start : start + settings.batch_size]
            logits = model.forward(x[batch])
            loss, gradient = cross_entropy(logits, y[batch])
            model.backward(gradient)
            optimizer.step(model)
            total_loss += loss * len(batch)
            correct += int((logits.argmax(1) == y[batch]).sum())
        history.loss.append(total_loss / len(y))
        history.accuracy.append(correct / len(y))
        logits = model.forward(val[0])
        history.val_loss.append(cross_entropy(logits, val[1])[0])
        history.val_accuracy.append(float((logits.argmax(1) == val[1]).mean()))
        if on_epoch:
            on_epoch(history)
    return model


def _split(
    texts: Sequence[str], settings: Settings
) -> tuple[list[str], list[str], np.random.Generator]:
    """Training texts, held-out texts, and the random generator after the split."""
    random = np.random.default_rng(settings.seed)
    order = random.permutation(len(texts))
    held_out = max(1, round(settings.validation_split * len(texts)))
    train_texts = [texts[i] for i in order[:-held_out]]
    val_texts = [texts[i] for i in order[-held_out:]]
    return train_texts, val_texts, random


def references(texts: Sequence[str], settings: Settings) -> dict[str, float]:
    """Accuracies to compare a model with, on the same split as `train`.

    `bigram_val`: on held-out texts, of the word that most often followed the last word in the
    training texts. `possible`: on training texts, of always predicting the most frequent
    continuation of each context; less than 1, because equal contexts continue differently.
    """
    train_texts, val_texts, _ = _split(texts, settings)
    vocabulary = build_vocab(train_texts)
    train_ids = texts_to_sequences(train_texts, vocabulary)
    val_ids = texts_to_sequences(val_texts, vocabulary)
    x, y = create_examples(train_ids, settings.seq_len)
    most_frequent = [counts.most_common(1)[0][1] for counts in _count_next(x, y).values()]
    last, following = create_examples(train_ids, 1)
    bigram = {
        context: counts.most_common(1)[0][0]
        for context, counts in _count_next(last, following).items()
    }
    fallback = Counter(following.tolist()).most_common(1)[0][0]
    val_last, targets = create_examples(val_ids, 1)
    predicted = [bigram.get(tuple(row), fallback) for row in val_last.tolist()]
    return {
        "bigram_val": float((np.array(predicted) == targets).mean()),
        "possible": sum(most_frequent) / len(y),
    }


def _count_next(contexts: Ids, targets: Ids) -> dict[tuple[int, ...], Counter[int]]:
    """How often each word follows each context."""
    counts: dict[tuple[int, ...], Counter[int]] = {}
    for context, target in zip(contexts.tolist(), targets.tolist(), strict=True):
        counts.setdefault(tuple(context), Counter())[target] += 1
    return counts
