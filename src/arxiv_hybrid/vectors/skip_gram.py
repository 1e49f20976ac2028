"""Skip-gram with negative sampling (Mikolov et al. 2013); numba compiles the inner loops."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from numba import njit

from arxiv_hybrid.text.token_ids import TokenIds

FloatMatrix = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]
Positions = npt.NDArray[np.int64]

FIRST_RATE, LAST_RATE = 0.025, 0.0001  # the learning rate falls linearly
SUBSAMPLING = 1e-4  # share of all tokens from which on a word is skipped now and then
NOISE_EXPONENT = 0.75  # negative samples are drawn in proportion to count ** 0.75
_NOISE_TABLE = 1 << 22  # entries
_BLOCK = 1 << 16  # tokens between two signs of progress; bounds the memory


def skip_gram(
    tokens: TokenIds,
    words: Sequence[str],
    *,
    dim: int,
    window: int,
    negative: int,
    epochs: int,
    seed: int,
    advance: Callable[[int], object],
) -> FloatMatrix:
    """Vectors (words, dim) of some words of `tokens`; all other tokens are left out.

    window: largest distance between neighbours. negative: negative samples of each word.
    advance: called with the number of texts read since the last call. One thread trains: on one
    machine, the same input gives the same bytes.

    Unlike in the authors' program, all neighbours of a word share its negative samples (Ji et al.
    2016), whose vectors then stay in the CPU's cache.
    """
    number = {word: n for n, word in enumerate(words)}
    numbers = np.array([number.get(word, -1) for word in tokens.words], np.int32)
    counts = np.zeros(len(words), np.int64)
    counts[numbers[numbers >= 0]] = tokens.totals()[numbers >= 0]
    keep, noise = keep_probabilities(counts), noise_table(counts)

    random = np.random.default_rng(seed)
    vectors = random.random((len(words), dim), np.float32)
    vectors -= 0.5
    vectors *= 2 / dim  # uniform from -1 / dim to 1 / dim
    contexts = np.zeros_like(vectors)
    read, slope = 0, (LAST_RATE - FIRST_RATE) / (epochs * len(tokens.ids))
    for _ in range(epochs):
        for token_ids, starts in _blocks(tokens):
            ids = numbers[token_ids]
            rates = (FIRST_RATE + slope * np.arange(read, read + len(ids))).astype(np.float32)
            read += len(ids)
            kept = (ids >= 0) & (random.random(len(ids), np.float32) < keep[ids])
            ids, rates = ids[kept], rates[kept]
            starts = np.concatenate([[0], np.cumsum(kept)])[starts]
            windows = random.integers(1, window + 1, len(ids), np.int32)
            negatives = noise[random.integers(len(noise), size=(len(ids), negative))]
            update(vectors, contexts, ids, starts, windows, negatives, rates)
            advance(len(starts) - 1)
    return vectors


# Sums may be reordered, always in the same way. Compiled in a second, so not cached.
@njit(nogil=True, fastmath={"reassoc", "contract", "nsz"})
def update(
    vectors: FloatMatrix,
    contexts: FloatMatrix,
    ids: Integers,
    starts: Positions,
    windows: Integers,
    negatives: Integers,
    rates: Floats,
) -> None:
    """One step of gradient ascent for each pair of a word and a neighbour, in place.

    vectors, contexts (V, D): what is trained. ids (T,): words of N texts, one after the other.
    starts (N + 1,): text n is ids[starts[n]:starts[n + 1]]. windows (T,): distance of the
    farthest neighbours of each word. negatives (T, K): its negative samples. rates (T,): its
    learning rate.
    """
    dim, samples = vectors.shape[1], negatives.shape[1]
    gradient = np.empty(dim, np.float32)
    for text in range(len(starts) - 1):
        start, end = starts[text], starts[text + 1]
        for i in range(start, end):
            for j in range(max(start, i - windows[i]), min(end, i + windows[i] + 1)):
                if j == i:
                    continue
                neighbour = ids[j]
                gradient[:] = 0
                for k in range(samples + 1):  # the word itself, then its negative samples
                    target = ids[i] if k == 0 else negatives[i, k - 1]
                    if k > 0 and target == ids[i]:
                        continue
                    score = np.float32(0)
                    for d in range(dim):
                        score += vectors[neighbour, d] * contexts[target, d]
                    label = 1 if k == 0 else 0
                    step = np.float32(rates[i] * (label - 1 / (1 + math.exp(-score))))
                    for d in range(dim):
                        gradient[d] += step * contexts[target, d]
                        contexts[target, d] += step * vectors[neighbour, d]
                for d in range(dim):
                    vectors[neighbour, d] += gradient[d]


def keep_probabilities(counts: Positions) -> Floats:
    """The probability of reading an occurrence of each word, (V,), from the words' counts.

    As in the authors' program, which adds the second term to the paper's formula.
    """
    ratio = SUBSAMPLING * counts.sum() / counts
    keep: Floats = np.minimum(1, np.sqrt(ratio) + ratio).astype(np.float32)
    return keep


def noise_table(counts: Positions) -> Integers:
    """Words from which negative samples are drawn: each as often as its share of the noise."""
    ends = np.cumsum(counts**NOISE_EXPONENT)
    ends = np.rint(ends / ends[-1] * _NOISE_TABLE).astype(np.int64)
    return np.repeat(np.arange(len(counts), dtype=np.int32), np.diff(ends, prepend=0))


def _blocks(tokens: TokenIds) -> Iterator[tuple[Integers, Positions]]:
    """Ids (T,) of some texts at a time, and where each text starts, then T, (N + 1,)."""
    first = 0
    while first < len(tokens):
        end = np.searchsorted(tokens.starts, tokens.starts[first] + _BLOCK, "right") - 1
        end = max(int(end), first + 1)
        starts = tokens.starts[first : end + 1]
        yield tokens.ids[starts[0] : starts[-1]], starts - starts[0]
        first = end
