"""A seeded generator of arXiv-like papers whose best possible accuracy is known.

Each paper mixes one or two fields. Its primary category is drawn from that mixture, then
flipped with the probability `label_noise`. So no classifier can expect more than `ceiling`:
the mean over papers of the largest class probability given the mixture. The text reveals the
mixture only in part: many phrases come from other fields or are shared by all of them.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from arxiv_hybrid.data.schema import CATEGORY_COLUMNS, COLUMNS, LABEL
from arxiv_hybrid.params import Params
from arxiv_hybrid.params.recipes import AUTO
from arxiv_hybrid.system import fast_yaml
from arxiv_hybrid.taxonomy.categories import categories, old_archives
from arxiv_hybrid.taxonomy.label_sets import CATEGORIES, OTHER, PUBLISHED

CROSS_LISTED = 0.4  # share of papers with a second field; about 0.42 of real cs papers
FIELD_PHRASES = 0.5  # share of phrases from the paper's mixture of fields
SHARED_PHRASES = 0.34  # share of phrases from the shared list; the rest comes from any field
SHARED_PHRASES_IN_TITLE = 0.3
ABSTRACT_WORDS = (100, 250)  # least and most
ABSTRACT_WORDS_MEAN, ABSTRACT_WORDS_STD = 165, 38
FIRST_DAY, DAYS = np.datetime64("2025-01-01"), 320
FIELDS_OUTSIDE = 6  # of the class `other`
TOPICS, PHRASES = 6, 12  # sub-topics of an invented field, and phrases of each
_BLOCK = 10_000  # papers whose label probabilities are in memory

FloatArray = npt.NDArray[np.float64]
_SLOT = re.compile(r"\{(\w+)\}")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiou])")


@dataclass(frozen=True)
class Shape:
    """Which papers a corpus has.

    classes: the fields of each class; a field is a category, or a value of the user's column.
    outside: fields of no class, or of the class `other` if `keep_outside`. even: whether all
    classes are equally frequent; else all fields are. multi_label: a paper may have several
    classes, so there is no ceiling. row_per_query: a row for each listed category, else one per
    paper. labels: for a corpus with the column `label`, what it says for each field; separator:
    what separates several labels, None if a paper has only one.
    """

    classes: dict[str, tuple[str, ...]]
    outside: tuple[str, ...] = ()
    keep_outside: bool = False
    even: bool = True
    multi_label: bool = False
    row_per_query: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    separator: str | None = None

    @classmethod
    def of(cls, params: Params) -> Shape:
        """The shape that the parameters ask for; that of the published sets is always the same."""
        labels = params.labels
        published = params.wanted_categories == tuple(
            name for members in (labels.definitions or {}).values() for name in members
        )
        if labels.published and published:
            return PUBLISHED_SHAPE
        if labels.from_ == "column":
            return cls._of_column(params)
        wanted = params.wanted_categories if params.fetch.categories != AUTO else None
        classes, inside = {}, set()
        for name, members in (labels.definitions or {}).items():
            active = tuple(m for m in members if m not in old_archives())
            classes[name] = tuple(m for m in active if wanted is None or m in wanted)
            inside |= {*active}
        outside: Iterable[str] = ()
        if params.fetch.categories != AUTO:
            outside = [m for m in wanted or categories() if m not in inside | {*old_archives()}]
        elif labels.outside == OTHER:
            outside = _other_fields(inside)
        return cls(
            {name: members for name, members in classes.items() if members},
            tuple(outside),
            labels.outside == OTHER,
            multi_label=labels.multi_label,
            row_per_query=params.row_per_query,
        )

    @classmethod
    def _of_column(cls, params: Params) -> Shape:
        labels, classes = params.labels, PUBLISHED[3]
        cells = {member: name for name, members in classes.items() for member in members}
        if isinstance(labels.classes, list):
            classes = {name: (name,) for name in labels.classes}
        elif isinstance(labels.classes, dict):
            classes = {name: tuple(members) for name, members in labels.classes.items()}
        if not isinstance(labels.classes, str):
            cells = {member: member for members in classes.values() for member in members}
        outside = _other_fields(cells) if labels.outside == OTHER else ()
        return cls(
            classes,
            outside,
            labels.outside == OTHER,
            multi_label=labels.multi_label,
            labels=cells | {name: name for name in outside},
            separator=labels.separator,
        )

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """All fields; papers of the published sets have them in this order."""
        if not self.even:
            return CATEGORIES
        return (*(name for members in self.classes.values() for name in members), *self.outside)

    @property
    def frequencies(self) -> FloatArray | None:
        """The probability of each field as a paper's main one; None if they are equal."""
        if not self.even:
            return None
        groups = [group for group in (*self.classes.values(), self.outside) if group]
        return np.array([1 / len(group) / len(groups) for group in groups for _ in group])

    def members(self) -> dict[str, tuple[str, ...]]:
        """The fields of each class, `other` included if it is one."""
        return {**self.classes, **({OTHER: self.outside} if self.keep_outside else {})}


PUBLISHED_SHAPE = Shape(PUBLISHED[4], even=False, row_per_query=True)


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
    *, papers: int, label_noise: float, seed: int, shape: Shape = PUBLISHED_SHAPE
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Generate papers, with the columns of `schema.COLUMNS`, and `label` if the shape has labels.

    Returns the table and the label ceiling by number of classes: the accuracy on primary labels of
    a classifier that knows every paper's mixture and the noise rate. It is known for both
    published sets ("3", "4"); of other shapes only if a paper has one label.
    """
    lexicon = _load_lexicon(shape.fields)
    random = np.random.default_rng(seed)
    mixtures = _Mixtures.draw(random, papers, shape)
    uniform = random.random((papers, 1))
    days = np.sort(random.integers(0, DAYS, papers))
    ceilings = _Ceilings(shape)
    rows: list[dict[str, str]] = []
    number = 0
    for mixture in mixtures.blocks():
        probabilities = _label_probabilities(mixture, label_noise)
        ceilings.add(probabilities)
        draws = uniform[number : number + len(mixture)]
        primary = (probabilities.cumsum(1) < draws).sum(1).clip(max=mixture.shape[1] - 1)
        for shares, first in zip(mixture, primary, strict=True):
            day = days[number]
            writer = _Writer(lexicon, random, shares, day / DAYS)
            number += 1
            paper = {
                "id": f"synthetic.{number:06d}",
                "title": writer.title(),
                "abstract": writer.abstract(),
                "published": str(FIRST_DAY + day),
            }
            rows.extend(_rows(paper, int(first), shares, shape))
    columns = [*COLUMNS, LABEL] if shape.labels else list(COLUMNS)
    return pd.DataFrame(rows, columns=columns), ceilings.by_number_of_classes()


@dataclass(frozen=True)
class _Mixtures:
    """The main field, the second field and its weight for each paper."""

    main: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    weight: FloatArray
    fields: int

    @classmethod
    def draw(cls, random: np.random.Generator, papers: int, shape: Shape) -> _Mixtures:
        fields, frequencies = len(shape.fields), shape.frequencies
        if frequencies is None:
            main = random.integers(0, fields, papers)
        else:
            main = random.choice(fields, papers, p=frequencies)
        second = (main + random.integers(1, fields, papers)) % fields
        cross_listed = random.random(papers) < CROSS_LISTED
        weight = np.where(cross_listed, random.uniform(0.1, 0.4, papers), 0)
        return cls(main, second, weight, fields)

    def blocks(self) -> Iterator[FloatArray]:
        """Share of each field in each paper, shape (papers, fields); rows sum to 1."""
        for first in range(0, len(self.main), _BLOCK):
            block = slice(first, first + _BLOCK)
            rows = np.arange(len(self.main[block]))
            mixture = np.zeros((len(rows), self.fields))
            mixture[rows, self.main[block]] = 1 - self.weight[block]
            mixture[rows, self.second[block]] += self.weight[block]
            yield mixture


def _label_probabilities(mixtures: FloatArray, noise: float) -> FloatArray:
    """P(primary category | mixture) with noise: a flip goes to every other field equally."""
    others: FloatArray = (1 - mixtures) / (mixtures.shape[1] - 1)
    return (1 - noise) * mixtures + noise * others


class _Ceilings:
    """The label ceiling of each set of classes, summed up over blocks of papers.

    Only papers of the set count, each by the probability that it is one.
    """

    def __init__(self, shape: Shape) -> None:
        sets = [shape.members()] if shape.even else list(PUBLISHED.values())
        self._sets = [] if shape.multi_label else sets
        self._fields = shape.fields
        self._best: list[list[float]] = [[] for _ in self._sets]
        self._inside: list[list[float]] = [[] for _ in self._sets]

    def add(self, probabilities: FloatArray) -> None:
        for number, classes in enumerate(self._sets):
            merged = np.zeros((len(probabilities), len(classes)))
            for target, members in enumerate(classes.values()):
                for name in members:
                    merged[:, target] += probabilities[:, self._fields.index(name)]
            self._best[number].extend(merged.max(axis=1))
            self._inside[number].extend(merged.sum(axis=1))

    def by_number_of_classes(self) -> dict[str, float]:
        return {
            str(len(classes)): float(np.mean(best) / np.mean(inside))
            for classes, best, inside in zip(self._sets, self._best, self._inside, strict=True)
        }


def _rows(
    paper: dict[str, str], primary: int, mixture: FloatArray, shape: Shape
) -> list[dict[str, str]]:
    """The rows of a paper: one for each field that it is listed under, the primary one first."""
    listed = [primary, *(int(i) for i in np.argsort(-mixture) if mixture[i] > 0 and i != primary)]
    names = [shape.fields[i] for i in listed]
    if shape.labels:
        labels = list(dict.fromkeys(shape.labels[name] for name in names))
        label = shape.separator.join(labels) if shape.separator else labels[0]
        return [{**paper, **dict.fromkeys(CATEGORY_COLUMNS, ""), LABEL: label}]
    shared = {**paper, "primary_category": names[0], "all_categories": ",".join(names)}
    return [{**shared, "category": name} for name in (names if shape.row_per_query else names[:1])]


class _Writer:
    """Writes one paper; `age`, from 0 to 1 over the corpus, shifts the sub-topics.

    Of many fields, only those of the paper get a sub-topic: that is faster.
    """

    def __init__(
        self, lexicon: _Lexicon, random: np.random.Generator, mixture: FloatArray, age: float
    ) -> None:
        self._lexicon, self._random = lexicon, random
        few = len(mixture) <= len(CATEGORIES)
        self._fields = list(range(len(mixture))) if few else np.flatnonzero(mixture).tolist()
        self._shares = mixture[self._fields]
        self._name = "".join(self._pick(lexicon.syllables) for _ in range(3)).capitalize()
        topics = lexicon.topics
        self._subtopics = {i: self._subtopic(len(topics[i]), age) for i in self._fields}

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
            own = self._fields[int(self._random.choice(len(self._fields), p=self._shares))]
            return self._pick(self._lexicon.topics[own][self._subtopics[own]])
        topics = self._lexicon.topics[self._random.integers(len(self._lexicon.topics))]
        return self._pick(topics[self._random.integers(len(topics))])

    def _pick(self, options: list[str]) -> str:
        return options[self._random.integers(len(options))]


def _capitalized(sentence: str) -> str:
    """Capitalize the first letter, and turn `a` into `an` before a vowel."""
    return _ARTICLE.sub(r"\1n ", sentence[:1].upper() + sentence[1:])


def _load_lexicon(fields: Sequence[str]) -> _Lexicon:
    content = _lexicon_file()
    known = content.pop("fields")
    topics = [list(known[name].values()) if name in known else _invented(name) for name in fields]
    return _Lexicon(topics=topics, **content)


def _lexicon_file() -> dict[str, Any]:
    text = resources.files("arxiv_hybrid.sources").joinpath("lexicon.yaml").read_text("utf-8")
    content: dict[str, Any] = fast_yaml.parse(text)
    return content


def _other_fields(inside: Iterable[str]) -> tuple[str, ...]:
    """Some fields of the lexicon that no class has."""
    taken = {*inside}
    names = [name for name in _lexicon_file()["fields"] if name not in taken]
    return tuple(names[:FIELDS_OUTSIDE])


def _invented(name: str) -> list[list[str]]:
    """Phrases for a field that the lexicon does not have: always the same for a name."""
    random = np.random.default_rng(zlib.crc32(name.encode()))

    def word() -> str:
        syllables = random.integers(2, 4)
        starts = random.choice(list("bcdfgklmnprstvz"), syllables)
        vowels = random.choice(["a", "e", "i", "o", "u", "ia", "eo"], syllables)
        end = random.choice(["n", "r", "x", "st", "l", "m", "th", "nd"])
        return "".join(map("".join, zip(starts, vowels, strict=True))) + str(end)

    return [
        [" ".join(word() for _ in range(random.integers(1, 3))) for _ in range(PHRASES)]
        for _ in range(TOPICS)
    ]
