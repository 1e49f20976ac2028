"""EDA: easy data augmentation of abstracts (Wei and Zou 2019).

One of synonym replacement, random swap and random deletion, chosen at random for each text;
each touches max(1, alpha * words) words. Synonyms come from a small thesaurus of academic
words that belong to no field, so that an abstract never gains another field's terms.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import resources

import numpy as np
import pandas as pd

Words = list[str]


def augment(text: str, alpha: float, random: np.random.Generator) -> str:
    """One EDA variant of a text; a text of a single word stays as it is."""
    words = text.split()
    if len(words) < 2:
        return text
    count = max(1, int(alpha * len(words)))
    operation = _OPERATIONS[random.integers(len(_OPERATIONS))]
    return " ".join(operation(words, count, random))


def add_variants(train: pd.DataFrame, *, fraction: float, alpha: float, seed: int) -> pd.DataFrame:
    """Training papers followed by EDA variants of a random `fraction` of their abstracts.

    Gains the column `augmented`; a variant keeps the title, label and id of its paper.
    """
    random = np.random.default_rng(seed)
    chosen = np.sort(random.permutation(len(train))[: round(fraction * len(train))])
    variants = train.iloc[chosen].copy()
    variants["abstract"] = [augment(text, alpha, random) for text in variants["abstract"]]
    return pd.concat(
        [train.assign(augmented=False), variants.assign(augmented=True)], ignore_index=True
    )


def _replace_synonyms(words: Words, count: int, random: np.random.Generator) -> Words:
    thesaurus = _thesaurus()
    known = [place for place, word in enumerate(words) if word.lower() in thesaurus]
    if not known:
        return _swap(words, count, random)
    replaced = words.copy()
    for place in random.permutation(known)[:count]:
        others = thesaurus[words[place].lower()]
        replaced[place] = others[random.integers(len(others))]
    return replaced


def _swap(words: Words, count: int, random: np.random.Generator) -> Words:
    swapped = words.copy()
    for _ in range(count):
        first, second = random.choice(len(words), 2, replace=False)
        swapped[first], swapped[second] = swapped[second], swapped[first]
    return swapped


def _delete(words: Words, count: int, random: np.random.Generator) -> Words:
    gone = set(random.permutation(len(words))[: min(count, len(words) - 1)].tolist())
    return [word for place, word in enumerate(words) if place not in gone]


_OPERATIONS: tuple[Callable[[Words, int, np.random.Generator], Words], ...] = (
    _replace_synonyms,
    _swap,
    _delete,
)


@cache
def _thesaurus() -> dict[str, Words]:
    """Each word's replacements, from thesaurus.txt; a word's first group counts."""
    text = resources.files("arxiv_hybrid.text").joinpath("thesaurus.txt").read_text("utf-8")
    groups = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    lookup: dict[str, Words] = {}
    for group in groups:
        for word in group:
            lookup.setdefault(word, [other for other in group if other != word])
    return lookup
