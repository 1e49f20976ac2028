"""EDA: easy data augmentation of abstracts (Wei and Zou 2019).

One of synonym replacement, random swap and random deletion, chosen at random for each text;
each touches max(1, alpha * words) words. Synonyms come from a thesaurus of academic English,
words that belong to no field, and, where word vectors are given, from their nearest neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt
import pandas as pd

Words = list[str]
Synonyms = dict[str, Words]

NEIGHBOURS = 5
CLOSE = 0.5  # cosine; below that, neighbours in vectors of this size are of a topic, not a meaning
FREQUENT = 10_000  # words whose neighbours are looked up; vectors come most frequent first


def augment(
    text: str, alpha: float, random: np.random.Generator, synonyms: Synonyms | None = None
) -> str:
    """One EDA variant of a text; a text of a single word stays as it is.

    synonyms: replacements of each lower-case word; None takes the thesaurus.
    """
    words = text.split()
    if len(words) < 2:
        return text
    count = max(1, int(alpha * len(words)))
    operation = _OPERATIONS[random.integers(len(_OPERATIONS))]
    return " ".join(operation(words, count, random, synonyms or thesaurus()))


def neighbours(words: Words, vectors: npt.NDArray[np.float32]) -> Synonyms:
    """The nearest words by cosine, at most five and none further than `CLOSE`.

    words: most frequent first, with vectors (words, D); only the first 10,000 are looked at.
    """
    words = words[:FREQUENT]
    unit = vectors[: len(words)]
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-9)
    found: Synonyms = {}
    for start in range(0, len(words), 1000):
        close = unit[start : start + 1000] @ unit.T
        rows = np.arange(len(close))
        close[rows, start + rows] = -1.0
        best = np.argsort(-close, axis=1)[:, :NEIGHBOURS]
        for row, places in enumerate(best):
            near = [words[place] for place in places if close[row, place] >= CLOSE]
            if near:
                found[words[start + row]] = near
    return found


def add_variants(
    train: pd.DataFrame,
    *,
    fraction: float,
    alpha: float,
    seed: int,
    near: Synonyms | None = None,
) -> pd.DataFrame:
    """Training papers followed by EDA variants of a random `fraction` of their abstracts.

    Gains the column `augmented`; a variant keeps the title, label and id of its paper. near:
    more synonyms than the thesaurus has, see `neighbours`.
    """
    synonyms = {**(near or {}), **thesaurus()}
    random = np.random.default_rng(seed)
    chosen = np.sort(random.permutation(len(train))[: round(fraction * len(train))])
    variants = train.iloc[chosen].copy()
    variants["abstract"] = [augment(text, alpha, random, synonyms) for text in variants["abstract"]]
    return pd.concat(
        [train.assign(augmented=False), variants.assign(augmented=True)], ignore_index=True
    )


def _replace_synonyms(
    words: Words, count: int, random: np.random.Generator, synonyms: Synonyms
) -> Words:
    known = [place for place, word in enumerate(words) if word.lower() in synonyms]
    if not known:
        return _swap(words, count, random, synonyms)
    replaced = words.copy()
    for place in random.permutation(known)[:count]:
        others = synonyms[words[place].lower()]
        replaced[place] = others[random.integers(len(others))]
    return replaced


def _swap(words: Words, count: int, random: np.random.Generator, _unused: Synonyms) -> Words:
    swapped = words.copy()
    for _ in range(count):
        first, second = random.choice(len(words), 2, replace=False)
        swapped[first], swapped[second] = swapped[second], swapped[first]
    return swapped


def _delete(words: Words, count: int, random: np.random.Generator, _unused: Synonyms) -> Words:
    gone = set(random.permutation(len(words))[: min(count, len(words) - 1)].tolist())
    return [word for place, word in enumerate(words) if place not in gone]


_OPERATIONS: tuple[Callable[[Words, int, np.random.Generator, Synonyms], Words], ...] = (
    _replace_synonyms,
    _swap,
    _delete,
)


@cache
def thesaurus() -> Synonyms:
    """Each word's replacements, from thesaurus.txt; a word's first group counts."""
    text = resources.files("arxiv_hybrid.text").joinpath("thesaurus.txt").read_text("utf-8")
    groups = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    lookup: Synonyms = {}
    for group in groups:
        for word in group:
            lookup.setdefault(word, [other for other in group if other != word])
    return lookup
