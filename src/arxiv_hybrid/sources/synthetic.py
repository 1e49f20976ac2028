"""A seeded generator of arXiv-like papers whose best possible accuracy is known.

Each paper mixes one or two fields. Its primary category is drawn from that mixture, then
flipped with the probability `label_noise`. So no classifier can expect more than `ceiling`:
the mean over papers of the largest class probability given the mixture. The text reveals the
mixture only in part: many phrases come from other fields or are shared by all of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml

from arxiv_hybrid.data.schema import COLUMNS
from arxiv_hybrid.taxonomy.label_sets import CATEGORIES, PUBLISHED

CROSS_LISTED = 0.4  # share of papers with a second field; about 0.42 of real cs papers
FIELD_PHRASES = 0.5  # share of phrases from the paper's mixture of fields
SHARED_PHRASES = 0.34  # share of phrases from the shared list; the rest comes from any field
SHARED_PHRASES_IN_TITLE = 0.3
ABSTRACT_WORDS = (100, 250)  # least and most
ABSTRACT_WORDS_MEAN, ABSTRACT_WORDS_STD = 165, 38
FIRST_DAY, DAYS = np.datetime64("2025-01-01"), 320

FloatArray = npt.NDArray[np.float64]
_SLOT = re.compile(r"\{(\w+)\}")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiou])")


@dataclass(frozen=True)
class _Lexicon:
    """The word lists of lexicon.yaml; `topics[field]` has one list of phrases per sub-topic."""

    topics: list[list[list[str]]]
    shared: list[str]
    general: dict[str, list[str]]
    titles: list[str]
    sentences: list[str]
    syllables: list[str]


def generate(
    *, papers: int, label_noise: float, seed: int
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Generate papers; one row per listed category, with the columns of `schema.COLUMNS`.

    Returns the table and the label ceiling by number of classes ("3", "4"): the accuracy on
    primary labels of a classifier that knows every paper's mixture and the noise rate.
    """
    lexicon = _load_lexicon()
    random = np.random.default_rng(seed)
    mixtures = _mixtures(random, papers)
    probabilities = _label_probabilities(mixtures, label_noise)
    uniform = random.random((papers, 1))
    primary = (probabilities.cumsum(1) < uniform).sum(1).clip(max=len(CATEGORIES) - 1)
    days = np.sort(random.integers(0, DAYS, papers))
    rows: list[dict[str, str]] = []
    for number in range(papers):
        writer = _Writer(lexicon, random, mixtures[number], days[number] / DAYS)
        published = FIRST_DAY + days[number]
        paper = {
            "id": f"synthetic.{number + 1:06d}",
            "title": writer.title(),
            "abstract": writer.abstract(),
            "published": str(published),
        }
        rows.extend(_listings(paper, int(primary[number]), mixtures[number]))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    ceiling = {str(classes): _ceiling(probabilities, classes) for classes in PUBLISHED}
    return table, ceiling


def _mixtures(random: np.random.Generator, papers: int) -> FloatArray:
    """Share of each field in each paper, shape (papers, fields); rows sum to 1."""
    fields = len(CATEGORIES)
    main = random.integers(0, fields, papers)
    second = (main + random.integers(1, fields, papers)) % fields
    weight = np.where(random.random(papers) < CROSS_LISTED, random.uniform(0.1, 0.4, papers), 0)
    mixtures = np.zeros((papers, fields))
    mixtures[np.arange(papers), main] = 1 - weight
    mixtures[np.arange(papers), second] += weight
    return mixtures


def _label_probabilities(mixtures: FloatArray, noise: float) -> FloatArray:
    """P(primary category | mixture) with noise: a flip goes to every other field equally."""
    others = (1 - mixtures) / (mixtures.shape[1] - 1)
    return (1 - noise) * mixtures + noise * others


def _ceiling(probabilities: FloatArray, classes: int) -> float:
    merged = np.zeros((len(probabilities), classes))
    for target, members in enumerate(PUBLISHED[classes].values()):
        for name in members:
            merged[:, target] += probabilities[:, CATEGORIES.index(name)]
    return float(merged.max(axis=1).mean())


def _listings(paper: dict[str, str], primary: int, mixture: FloatArray) -> list[dict[str, str]]:
    """One row per category that the paper is listed under, the primary one first."""
    listed = [primary, *(int(i) for i in np.argsort(-mixture) if mixture[i] > 0 and i != primary)]
    names = [CATEGORIES[i] for i in listed]
    shared = {**paper, "primary_category": names[0], "all_categories": ",".join(names)}
    return [{**shared, "category": name} for name in names]


class _Writer:
    """Writes one paper; `age`, from 0 to 1 over the corpus, shifts the sub-topics."""

    def __init__(
        self, lexicon: _Lexicon, random: np.random.Generator, mixture: FloatArray, age: float
    ) -> None:
        self._lexicon, self._random, self._mixture = lexicon, random, mixture
        self._name = "".join(self._pick(lexicon.syllables) for _ in range(3)).capitalize()
        self._subtopics = [self._subtopic(len(topics), age) for topics in lexicon.topics]

    def title(self) -> str:
        return _capitalized(self._fill(self._pick(self._lexicon.titles), SHARED_PHRASES_IN_TITLE))

    def abstract(self) -> str:
        least, most = ABSTRACT_WORDS
        target = self._random.normal(ABSTRACT_WORDS_MEAN, ABSTRACT_WORDS_STD)
        target = min(max(target, least), most - 25)  # the last sentence may exceed the target
        sentences: list[str] = []
        words = 0
        while words < target:
            sentence = self._fill(self._pick(self._lexicon.sentences), SHARED_PHRASES)
            sentences.append(_capitalized(sentence))
            words += len(sentence.split())
        return " ".join(sentences)

    def _subtopic(self, count: int, age: float) -> int:
        """Early sub-topics fade and late ones rise, as they do on arXiv."""
        weights = np.exp(1.2 * (2 * age - 1) * np.linspace(-1, 1, count))
        return int(self._random.choice(count, p=weights / weights.sum()))

    def _fill(self, template: str, shared: float) -> str:
        return _SLOT.sub(lambda slot: self._word(slot.group(1), shared), template)

    def _word(self, slot: str, shared: float) -> str:
        if slot.startswith("topic"):
            return self._phrase(shared)
        if slot == "name":
            return self._name
        if slot == "number":
            return str(self._random.integers(2, 60))
        return self._pick(self._lexicon.general[slot])

    def _phrase(self, shared: float) -> str:
        draw = self._random.random()
        if draw < shared:
            return self._pick(self._lexicon.shared)
        if draw < shared + FIELD_PHRASES:
            field = int(self._random.choice(len(self._mixture), p=self._mixture))
            return self._pick(self._lexicon.topics[field][self._subtopics[field]])
        topics = self._lexicon.topics[self._random.integers(len(self._lexicon.topics))]
        return self._pick(topics[self._random.integers(len(topics))])

    def _pick(self, options: list[str]) -> str:
        return options[self._random.integers(len(options))]


def _capitalized(sentence: str) -> str:
    """Capitalize the first letter, and turn `a` into `an` before a vowel."""
    return _ARTICLE.sub(r"\1n ", sentence[:1].upper() + sentence[1:])


def _load_lexicon() -> _Lexicon:
    text = resources.files("arxiv_hybrid.sources").joinpath("lexicon.yaml").read_text("utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    fields = content.pop("fields")
    topics = [list(fields[name].values()) for name in CATEGORIES]
    return _Lexicon(topics=topics, **content)
