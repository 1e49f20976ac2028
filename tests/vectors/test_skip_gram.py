"""Skip-gram, held to a plain implementation of the paper's equations."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arxiv_hybrid.text.token_ids import TokenIds
from arxiv_hybrid.vectors import skip_gram as module
from arxiv_hybrid.vectors.skip_gram import (
    FloatMatrix,
    Floats,
    Integers,
    Positions,
    keep_probabilities,
    noise_table,
    skip_gram,
    update,
)
from arxiv_hybrid.vectors.train import word2vec


def plain_update(
    vectors: FloatMatrix, contexts: FloatMatrix, ids: Integers, starts: Positions,
    windows: Integers, negatives: Integers, rates: Floats,
) -> None:  # fmt: skip
    """The twin of `update`: one row of the matrices at a time."""
    for start, end in pairwise(starts.tolist()):
        for i in range(start, end):
            near = range(max(start, i - windows[i]), min(end, i + windows[i] + 1))
            for neighbour in (ids[j] for j in near if j != i):
                gradient = np.zeros(vectors.shape[1], np.float32)
                samples = [(word, 0) for word in negatives[i] if word != ids[i]]
                for target, label in [(ids[i], 1), *samples]:
                    score = vectors[neighbour] @ contexts[target]
                    step = rates[i] * (label - 1 / (1 + np.exp(-score)))
                    gradient += step * contexts[target]
                    contexts[target] += step * vectors[neighbour]
                vectors[neighbour] += gradient


def corpus() -> list[list[str]]:
    random = np.random.default_rng(5)
    return [
        [f"w{word}" for word in random.zipf(1.3, length) if word < 60]
        for length in random.integers(0, 30, 40)
    ]


SETTINGS = {"dim": 7, "window": 3, "min_freq": 2, "epochs": 2, "seed": 3, "negative": 4}


def test_compiled_training_is_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 50)  # several blocks in each pass
    monkeypatch.setattr(module, "SUBSAMPLING", 0.03)  # else hardly a token is read
    monkeypatch.setattr(module, "FIRST_RATE", 0.5)
    words, compiled = word2vec(corpus(), **SETTINGS)
    monkeypatch.setattr(module, "update", plain_update)
    again, plain = word2vec(corpus(), **SETTINGS)
    assert again == words
    np.testing.assert_allclose(compiled, plain, rtol=1e-3, atol=1e-5)
    assert np.abs(compiled).max() > 2 / SETTINGS["dim"]  # the first vectors are within 1 / dim


def test_updates_follow_the_gradient() -> None:
    """Against the finite difference of log sigmoid(v.u) + log sigmoid(-v.n)."""
    random = np.random.default_rng(0)
    vectors, contexts = random.normal(size=(2, 3, 5)).astype(np.float32)
    before, targets = vectors.astype(float), contexts.astype(float)
    texts = np.array([0, 1], np.int32), np.array([0, 2])
    # word 1 has no neighbour within 0 positions, so only word 0 and its neighbour 1 are trained
    update(
        vectors, contexts, *texts, np.array([1, 0], np.int32),
        np.array([[2], [2]], np.int32), np.array([1e-3, 1e-3], np.float32),
    )  # fmt: skip

    def objective(v: np.ndarray) -> float:
        return float(-np.log1p(np.exp(-v @ targets[0])) - np.log1p(np.exp(v @ targets[2])))

    steps = np.eye(5) * 1e-5
    gradient = [(objective(before[1] + d) - objective(before[1] - d)) / 2e-5 for d in steps]
    np.testing.assert_allclose((vectors[1] - before[1]) / 1e-3, gradient, atol=2e-3)
    np.testing.assert_array_equal(vectors[[0, 2]], before[[0, 2]].astype(np.float32))
    np.testing.assert_array_equal(contexts[1], targets[1].astype(np.float32))


def test_frequent_words_are_skipped_and_rare_words_are_not() -> None:
    counts = np.array([99_000, 990, 10])
    share = counts / counts.sum() / module.SUBSAMPLING
    np.testing.assert_allclose(
        keep_probabilities(counts), np.minimum((np.sqrt(share) + 1) / share, 1), rtol=1e-6
    )


def test_negative_samples_have_the_shares_of_the_paper() -> None:
    counts = np.array([1000, 100, 100, 1])
    drawn = np.bincount(noise_table(counts), minlength=4)
    np.testing.assert_allclose(drawn / drawn.sum(), counts**0.75 / (counts**0.75).sum(), atol=1e-6)


def test_texts_may_come_from_an_iterable_and_unknown_words_have_no_place_in_a_window() -> None:
    class Texts:
        def __iter__(self) -> Iterator[list[str]]:
            return iter(corpus())

    words, vectors = word2vec(Texts(), **SETTINGS)
    known = set(words)
    with_rare = word2vec(TokenIds.of_tokens(corpus()), **SETTINGS)
    assert with_rare[0] == words
    np.testing.assert_array_equal(with_rare[1], vectors)
    assert any(word not in known for text in corpus() for word in text)


def test_every_text_is_counted_in_every_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 20)
    counted: list[int] = []
    tokens = TokenIds.of_tokens([[], ["a", "b"] * 30, [], ["b", "a"], []])
    skip_gram(
        tokens, ["a", "b"], dim=2, window=2, negative=1, epochs=3, seed=0, advance=counted.append
    )  # fmt: skip
    assert sum(counted) == 3 * len(tokens)
    assert len(counted) > 3


CODE = """
import os, sys
import numpy as np
from arxiv_hybrid.text.token_ids import TokenIds
from arxiv_hybrid.vectors.skip_gram import skip_gram
def train():
    tokens = TokenIds.of_tokens([f"a{i % 9} b{i % 7} c{i % 5}".split() for i in range(500)])
    return skip_gram(tokens, tokens.words, dim=20, window=2, negative=5, epochs=2, seed=1,
                     advance=lambda texts: None)
"""
ALONE = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); train().tofile(sys.argv[1])"


def test_another_process_on_one_core_gives_the_same_bytes(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(CODE, names)
    environment = os.environ | {"PYTHONHASHSEED": "7", "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", CODE + ALONE, str(tmp_path / "vectors")]
    subprocess.run(command, env=environment, check=True)
    assert (tmp_path / "vectors").read_bytes() == names["train"]().tobytes()
    assert [path.name for path in tmp_path.iterdir()] == ["vectors"]  # no compiled code is kept
