"""Next-word prediction: examples, training, prediction, saving and loading."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from safetensors.numpy import load_file, save

from arxiv_hybrid.scratch.layers import cross_entropy
from arxiv_hybrid.scratch.next_word import (
    Model,
    Settings,
    build_vocab,
    load_model,
    predict_next,
    save_model,
    texts_to_sequences,
)
from arxiv_hybrid.scratch.training import create_examples, references, train_cnn, train_cnn_lstm
from arxiv_hybrid.system.errors import UserError

TEXTS = ["the cat sat on the mat", "the dog sat on the rug", "a cat and a dog"] * 4
SMALL = Settings(embedding=8, filters=12, hidden=12, epochs=60, batch_size=8, learning_rate=0.3)
TRAINERS = [train_cnn, train_cnn_lstm]


def test_vocabulary_and_sequences() -> None:
    vocabulary = build_vocab(["b a b", "c a b"])
    assert vocabulary == ["<PAD>", "<UNK>", "b", "a", "c"]
    assert texts_to_sequences(["A c x"], vocabulary) == [[3, 4, 1]]


def test_examples_pair_every_word_with_its_context() -> None:
    contexts, targets = create_examples([[5, 6, 7, 8], [9], [4, 3]], 3)
    assert contexts.tolist() == [[0, 0, 5], [0, 5, 6], [5, 6, 7], [0, 0, 4]]
    assert targets.tolist() == [6, 7, 8, 3]
    with pytest.raises(UserError, match="no text has two words"):
        create_examples([[5], []], 3)


@pytest.mark.parametrize("train", TRAINERS)
def test_training_learns_and_records_its_history(train: Callable[..., Model]) -> None:
    epochs: list[int] = []
    model = train(TEXTS, SMALL, on_epoch=lambda history: epochs.append(len(history.loss)))
    history = model.history
    assert epochs == list(range(1, 61))
    for curve in (history.loss, history.accuracy, history.val_loss, history.val_accuracy):
        assert len(curve) == 60
    assert history.loss[-1] < 0.5 * history.loss[0]
    assert history.accuracy[-1] > 0.7
    predictions = predict_next(model, ["sat", "on"], top_k=3)
    assert predictions[0][0] == "the"
    assert len(predictions) == 3
    assert all(a[1] >= b[1] for a, b in pairwise(predictions))
    assert 0 < sum(p for _, p in predictions) <= 1


@pytest.mark.parametrize("train", TRAINERS)
def test_seed_determines_the_model(train: Callable[..., Model]) -> None:
    first, second = train(TEXTS, SMALL), train(TEXTS, SMALL)
    assert first.history == second.history
    other = train(TEXTS, Settings(**{**vars(SMALL), "seed": 1}))
    assert other.history != first.history


@pytest.mark.parametrize("train", TRAINERS)
def test_model_survives_a_round_trip(train: Callable[..., Model], tmp_path: Path) -> None:
    model = train(TEXTS, Settings(**{**vars(SMALL), "epochs": 2}))
    save_model(tmp_path, model)
    assert predict_next(load_model(tmp_path), ["the"]) == predict_next(model, ["the"])
    (tmp_path / "weights.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match="not a sound model"):
        load_model(tmp_path)
    with pytest.raises(UserError, match="not found"):
        load_model(tmp_path / "none")

    save_model(tmp_path, model)
    weights = load_file(tmp_path / "weights.safetensors")
    (tmp_path / "weights.safetensors").write_bytes(save(dict(list(weights.items())[:-1])))
    with pytest.raises(UserError, match="not a sound model"):
        load_model(tmp_path)


@pytest.mark.parametrize("train", TRAINERS)
def test_held_out_texts_are_evaluated_but_not_trained_on(train: Callable[..., Model]) -> None:
    texts = [f"word{i} the cat sat on word{i}" for i in range(16)]
    settings = Settings(**{**vars(SMALL), "epochs": 3, "validation_split": 0.25})
    model = train(texts, settings)
    held_out = [text for text in texts if text.split()[0] not in model.vocabulary]
    assert len(held_out) == 4, "a quarter; their unique words are unknown"
    x, y = create_examples(texts_to_sequences(held_out, model.vocabulary), settings.seq_len)
    loss, _ = cross_entropy(model.forward(x), y)
    assert model.history.val_loss[-1] == pytest.approx(loss)
    accuracy = float((model.forward(x).argmax(1) == y).mean())
    assert model.history.val_accuracy[-1] == pytest.approx(accuracy)
    assert 0 < accuracy < 1

    changed = ["quite another text" if text in held_out else text for text in texts]
    again = train(changed, settings)
    assert again.history.loss == model.history.loss
    assert again.history.val_loss != model.history.val_loss


def test_top_k_above_the_vocabulary_gives_all_words() -> None:
    model = train_cnn(TEXTS, Settings(**{**vars(SMALL), "epochs": 1}))
    words = [word for word, _ in predict_next(model, ["the"], top_k=1000)]
    assert sorted(words) == sorted(model.vocabulary[2:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs: 0 is not allowed: expected a positive integer"),
        ({"kernel": 5}, "kernel: 5 is more than seq_len, 3"),
        ({"batch_size": 2.5}, "batch_size: 2.5"),
        ({"learning_rate": "3e-1"}, "learning_rate: '3e-1' is not allowed"),
        ({"learning_rate": float("nan")}, "learning_rate: nan"),
        ({"validation_split": -0.5}, "validation_split: -0.5"),
        ({"validation_split": 1.0}, "validation_split: 1.0 leaves nothing"),
        ({"seed": -1}, "seed: -1"),
    ],
)
def test_invalid_settings_are_reported(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        Settings(**change)


def test_unknown_words_and_short_prefixes_are_accepted() -> None:
    model = train_cnn(TEXTS, Settings(**{**vars(SMALL), "epochs": 2}))
    for prefix in ([], ["zebra"], ["zebra"] * 9):
        words = [word for word, _ in predict_next(model, prefix)]
        assert len(words) == 5
        assert not {"<PAD>", "<UNK>"} & set(words)


def test_padding_stays_zero() -> None:
    model = train_cnn_lstm(TEXTS, Settings(**{**vars(SMALL), "epochs": 3}))
    assert not model.layers[0].weights["table"][0].any()


def test_corpus_has_plain_unique_sentences() -> None:
    lines = (ROOT / "examples/next_word/corpus.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) >= 200
    assert len(set(lines)) == len(lines)
    assert all(4 <= len(line.split()) <= 25 for line in lines)
    assert np.mean([len(line.split()) for line in lines]) > 7


def test_reference_accuracies() -> None:
    # wanted: one "a b c d" held out; for training, two of them and "x b e"
    texts = ["a b c d", "a b c d", "a b c d", "x b e"]
    for seed in range(20):
        settings = Settings(seq_len=2, seed=seed, validation_split=0.25, epochs=1)
        accuracies = references(texts, settings)
        if accuracies["bigram_val"] == 1:  # "a b c d" is held out: after b, c is most frequent
            assert accuracies["possible"] == 1, "two words determine the next"
            shorter = references(texts, replace(settings, seq_len=1, kernel=1))
            assert shorter["possible"] == pytest.approx(7 / 8), "after b: c twice, e once"
            return
    pytest.fail("no seed held out one of the three")
