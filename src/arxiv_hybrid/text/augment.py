"""EDA: easy data augmentation of abstracts (Wei and Zou 2019).

Each text gets synonym replacement, random swap or random deletion, chosen at random; each
changes max(1, alpha * words) words. Synonyms come from a thesaurus of general academic English
and, if word vectors are given, from their nearest neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt
import pandas as pd

from arxiv_hybrid.data.table import PaperTable, batches

Synonyms = dict[str, list[str]]  # replacements by lower-case word
Operation = Callable[[list[str], int, np.random.Generator, Synonyms], list[str]]

MAX_NEIGHBOURS = 5
MIN_COSINE = 0.5  # neighbours below it share a topic rather than a meaning
MAX_WORDS = 10_000  # only the most frequent words get neighbours
_BLOCK = 1000  # rows of the similarity matrix at a time


def augment(
    text: str, alpha: float, random: np.random.Generator, synonyms: Synonyms | None = None
) -> str:
    """Return one EDA variant of a text; a text of a single word is unchanged.

    synonyms: None uses the thesaurus.
    """
    words = text.split()
    if len(words) < 2:
        return text
    count = max(1, int(alpha * len(words)))
    operation = _OPERATIONS[random.integers(len(_OPERATIONS))]
    return " ".join(operation(words, count, random, synonyms or thesaurus()))


def neighbours(words: list[str], vectors: npt.NDArray[np.float32]) -> Synonyms:
    """Find each word's nearest words: at most `MAX_NEIGHBOURS`, by cosine of `MIN_COSINE` or more.

    words: most frequent first, with vectors (words, D); only the first `MAX_WORDS` are used.
    """
    words = words[:MAX_WORDS]
    unit = vectors[: len(words)]
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-9)
    synonyms: Synonyms = {}
    for start in range(0, len(words), _BLOCK):
        cosine = unit[start : start + _BLOCK] @ unit.T
        rows = np.arange(len(cosine))
        cosine[rows, start + rows] = -1.0  # a word is not its own neighbour
        nearest = np.argsort(-cosine, axis=1)[:, :MAX_NEIGHBOURS]
        for row, columns in enumerate(nearest):
            near = [words[column] for column in columns if cosine[row, column] >= MIN_COSINE]
            if near:
                synonyms[words[start + row]] = near
    return synonyms


def add_variants(
    train: PaperTable,
    *,
    fraction: float,
    alpha: float,
    seed: int,
    extra_synonyms: Synonyms | None = None,
) -> Iterator[pd.DataFrame]:
    """The training papers, then EDA variants of a random `fraction` of them, in several tables.

    They have one more column `augmented`; a variant keeps the title, label and id of its paper, but
    not the abstract. extra_synonyms: for words that the thesaurus lacks, see `neighbours`.
    """
    for part in batches(train):
        yield part.assign(augmented=False)
    synonyms = {**(extra_synonyms or {}), **thesaurus()}
    random = np.random.default_rng(seed)
    chosen = np.sort(random.permutation(len(train))[: round(fraction * len(train))])
    first = 0
    for part in batches(train) if len(chosen) else ():
        here = chosen[(chosen >= first) & (chosen < first + len(part))] - first
        first += len(part)
        variants = part.iloc[here]
        texts = [augment(text, alpha, random, synonyms) for text in variants["abstract"]]
        yield variants.assign(abstract=texts, augmented=True)


def _replace_synonyms(
    words: list[str], count: int, random: np.random.Generator, synonyms: Synonyms
) -> list[str]:
    """Replace words that have synonyms; swap words if none has."""
    replaceable = [i for i, word in enumerate(words) if word.lower() in synonyms]
    if not replaceable:
        return _swap(words, count, random, synonyms)
    replaced = words.copy()
    for i in random.permutation(replaceable)[:count]:
        options = synonyms[words[i].lower()]
        replaced[i] = options[random.integers(len(options))]
    return replaced


def _swap(
    words: list[str], count: int, random: np.random.Generator, _synonyms: Synonyms
) -> list[str]:
    swapped = words.copy()
    for _ in range(count):
        first, second = random.choice(len(words), 2, replace=False)
        swapped[first], swapped[second] = swapped[second], swapped[first]
    return swapped


def _delete(
    words: list[str], count: int, random: np.random.Generator, _synonyms: Synonyms
) -> list[str]:
    deleted = set(random.permutation(len(words))[: min(count, len(words) - 1)].tolist())
    return [word for i, word in enumerate(words) if i not in deleted]


_OPERATIONS: tuple[Operation, ...] = (_replace_synonyms, _swap, _delete)


@cache
def thesaurus() -> Synonyms:
    """Synonyms from thesaurus.txt; if a word is in several groups, the first counts."""
    text = resources.files("arxiv_hybrid.text").joinpath("thesaurus.txt").read_text("utf-8")
    groups = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    synonyms: Synonyms = {}
    for group in groups:
        for word in group:
            synonyms.setdefault(word, [other for other in group if other != word])
    return synonyms
