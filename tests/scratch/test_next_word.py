"""Guessing the next word: examples, training, prediction, and the folder a model lives in."""

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
    create_examples,
    load_model,
    predict_next,
    references,
    save_model,
    texts_to_sequences,
    train_cnn,
    train_cnn_lstm,
)
from arxiv_hybrid.system.errors import UserError

TEXTS = ["the cat sat on the mat", "the dog sat on the rug", "a cat and a dog"] * 4
QUICK = Settings(embedding=8, filters=12, hidden=12, epochs=60, batch_size=8, learning_rate=0.3)
TRAINERS = [train_cnn, train_cnn_lstm]


def test_vocabulary_and_sequences() -> None:
    words = build_vocab(["b a b", "c a b"])
    assert words == ["<PAD>", "<UNK>", "b", "a", "c"]
    assert texts_to_sequences(["A c x"], words) == [[3, 4, 1]]


def test_examples_are_every_next_word_with_those_before_it() -> None:
    contexts, answers = create_examples([[5, 6, 7, 8], [9], [4, 3]], 3)
    assert contexts.tolist() == [[0, 0, 5], [0, 5, 6], [5, 6, 7], [0, 0, 4]]
    assert answers.tolist() == [6, 7, 8, 3]
    with pytest.raises(UserError, match="no text has two words"):
        create_examples([[5], []], 3)


@pytest.mark.parametrize("train", TRAINERS)
def test_it_learns_and_says_how(train: Callable[..., Model]) -> None:
    seen: list[int] = []
    model = train(TEXTS, QUICK, on_epoch=lambda history: seen.append(len(history.loss)))
    history = model.history
    assert seen == list(range(1, 61))
    for curve in (history.loss, history.accuracy, history.val_loss, history.val_accuracy):
        assert len(curve) == 60
    assert history.loss[-1] < 0.5 * history.loss[0]
    assert history.accuracy[-1] > 0.7
    guesses = predict_next(model, ["sat", "on"], top_k=3)
    assert guesses[0][0] == "the"
    assert len(guesses) == 3
    assert all(a[1] >= b[1] for a, b in pairwise(guesses))
    assert 0 < sum(p for _, p in guesses) <= 1


@pytest.mark.parametrize("train", TRAINERS)
def test_the_same_seed_gives_the_same_model(train: Callable[..., Model]) -> None:
    first, second = train(TEXTS, QUICK), train(TEXTS, QUICK)
    assert first.history == second.history
    other = train(TEXTS, Settings(**{**vars(QUICK), "seed": 1}))
    assert other.history != first.history


@pytest.mark.parametrize("train", TRAINERS)
def test_a_model_comes_back_from_its_folder(train: Callable[..., Model], tmp_path: Path) -> None:
    model = train(TEXTS, Settings(**{**vars(QUICK), "epochs": 2}))
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
def test_held_out_texts_are_measured_and_not_learned_from(train: Callable[..., Model]) -> None:
    texts = [f"word{i} the cat sat on word{i}" for i in range(16)]
    settings = Settings(**{**vars(QUICK), "epochs": 3, "validation_split": 0.25})
    model = train(texts, settings)
    held = [text for text in texts if text.split()[0] not in model.words]
    assert len(held) == 4, "a quarter, and its own words are unknown"
    x, y = create_examples(texts_to_sequences(held, model.words), settings.seq_len)
    loss, _ = cross_entropy(model.forward(x), y)
    assert model.history.val_loss[-1] == pytest.approx(loss)
    right = float((model.forward(x).argmax(1) == y).mean())
    assert model.history.val_accuracy[-1] == pytest.approx(right)
    assert 0 < right < 1

    others = ["quite another text" if text in held else text for text in texts]
    again = train(others, settings)
    assert again.history.loss == model.history.loss
    assert again.history.val_loss != model.history.val_loss


def test_more_guesses_than_words_are_all_words() -> None:
    model = train_cnn(TEXTS, Settings(**{**vars(QUICK), "epochs": 1}))
    words = [word for word, _ in predict_next(model, ["the"], top_k=1000)]
    assert sorted(words) == sorted(model.words[2:])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 0}, "epochs: 0 is not allowed: expected a whole number from 1"),
        ({"kernel": 5}, "kernel: 5 is more than seq_len, 3"),
        ({"batch_size": 2.5}, "batch_size: 2.5"),
        ({"learning_rate": "3e-1"}, "learning_rate: '3e-1' is not allowed"),
        ({"learning_rate": float("nan")}, "learning_rate: nan"),
        ({"validation_split": -0.5}, "validation_split: -0.5"),
        ({"validation_split": 1.0}, "validation_split: 1.0 leaves nothing"),
        ({"seed": -1}, "seed: -1"),
    ],
)
def test_impossible_settings_are_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        Settings(**change)


def test_unknown_words_and_short_prefixes_are_no_error() -> None:
    model = train_cnn(TEXTS, Settings(**{**vars(QUICK), "epochs": 2}))
    for prefix in ([], ["zebra"], ["zebra"] * 9):
        words = [word for word, _ in predict_next(model, prefix)]
        assert len(words) == 5
        assert not {"<PAD>", "<UNK>"} & set(words)


def test_padding_stays_zero() -> None:
    model = train_cnn_lstm(TEXTS, Settings(**{**vars(QUICK), "epochs": 3}))
    assert not model.layers[0].weights["table"][0].any()


def test_the_corpus_is_our_own_plain_sentences() -> None:
    lines = (ROOT / "examples/next_word/corpus.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) >= 200
    assert len(set(lines)) == len(lines)
    assert all(4 <= len(line.split()) <= 25 for line in lines)
    assert np.mean([len(line.split()) for line in lines]) > 7


def test_what_accuracies_are_read_against() -> None:
    # held out: one of the three alike; training: a b c d twice and "x b e"
    texts = ["a b c d", "a b c d", "a b c d", "x b e"]
    for seed in range(20):
        settings = Settings(seq_len=2, seed=seed, validation_split=0.25, epochs=1)
        found = references(texts, settings)
        if found["bigram_val"] == 1:  # "a b c d" is held out: b is most often followed by c
            assert found["possible"] == 1, "two words tell all apart"
            one = references(texts, replace(settings, seq_len=1, kernel=1))
            assert one["possible"] == pytest.approx(7 / 8), "b is followed by c twice, by e once"
            return
    pytest.fail("no seed held one of the three out")
