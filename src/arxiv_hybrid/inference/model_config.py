"""The configuration of a saved model, and the files of its folder; read without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

WEIGHTS, CONFIG, WORDS = "model.safetensors", "model.json", "vocab.txt"
FAMILIARITY = "familiarity.safetensors"  # optional: without it no paper is called unsure
PAPERS = "papers.bin"  # optional: ids of the papers that a pre-trained model learned from
ORIGIN = "origin"  # key of CONFIG; models of older versions have none
CATEGORY, CATEGORIES, UNSURE = "category", "categories", "unsure"  # columns of `classify`
LINEAR = "linear"  # the model that is TF-IDF with linear weights
LINKS = ("softmax", "sigmoid")
LONGEST_TEXT = 1 << 16  # tokens
WIDEST = 1 << 20  # the largest argument of a model


@dataclass(frozen=True)
class ModelConfig:
    """What is needed besides the weights: model name and arguments, classes, text lengths.

    temperature: logits are divided by it, see `calibration`. multi_label: a paper may have several
    classes; each then has a bias, see `calibration`, and a threshold, see `thresholds`. titles: the
    full names of classes, where arXiv has one. A model that was pre-trained without categories has
    no classes: others start from it, but it cannot classify.
    """

    model: str
    arguments: dict[str, Any]
    classes: list[str]
    title_length: int
    abstract_length: int
    temperature: float = 1.0
    multi_label: bool = False
    biases: list[float] = field(default_factory=list)
    thresholds: list[float] = field(default_factory=list)
    titles: dict[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raise ValueError, or TypeError, unless the values fit together and are in range."""
        if not isinstance(self.arguments, dict):
            raise ValueError("arguments must be an object")
        check_classes(self.classes, self.titles)
        for name in ("title_length", "abstract_length"):
            if not _is_integer(getattr(self, name), LONGEST_TEXT):
                raise ValueError(f"{name} must be an integer from 1 to {LONGEST_TEXT}")
        if not (_is_number(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature {self.temperature} is not positive")
        if not isinstance(self.multi_label, bool):
            raise ValueError("multi_label must be true or false")
        outputs = self.arguments.get("num_classes")
        if outputs != (len(self.classes) or 1):  # a head needs an output to be built
            raise ValueError(f"{len(self.classes)} classes for {outputs} outputs")
        for name, value in self.arguments.items():
            _check_argument(name, value)
        expected = len(self.classes) if self.multi_label else 0
        check_numbers("biases", self.biases, expected, -math.inf, math.inf)
        check_numbers("thresholds", self.thresholds, expected, 0.0, 1.0)


@dataclass(frozen=True)
class LinearConfig:
    """What a linear model needs besides words and weights; see `linear`.

    link: how sums of weights become probabilities: `softmax`, or `sigmoid` of each class, which are
    scaled to sum to 1 unless `multi_label`. tokens: the regular expression of a word. The other
    fields are those of `ModelConfig`.
    """

    classes: list[str]
    link: str
    tokens: str
    multi_label: bool = False
    thresholds: list[float] = field(default_factory=list)
    titles: dict[str, str] = field(default_factory=dict)
    model: str = LINEAR

    def check(self, tokens: str) -> None:
        """Raise ValueError, or TypeError, unless the values fit together and are in range.

        tokens: the only regular expression that there is.
        """
        check_classes(self.classes, self.titles)
        if not self.classes:
            raise ValueError("there are no classes")
        if not isinstance(self.multi_label, bool):
            raise ValueError("multi_label must be true or false")
        if self.link not in LINKS or (self.multi_label and self.link == "softmax"):
            raise ValueError(f"link cannot be {self.link!r}")
        if self.tokens != tokens:
            raise ValueError(f"tokens must be {tokens}")
        expected = len(self.classes) if self.multi_label else 0
        check_numbers("thresholds", self.thresholds, expected, 0.0, 1.0)


def check_classes(classes: list[str], titles: dict[str, str]) -> None:
    """Raise ValueError, or TypeError, unless these can be names of classes and their titles."""
    if not isinstance(classes, list):
        raise ValueError("classes must be a list")
    if not all(isinstance(name, str) and name.strip() for name in classes):
        raise ValueError("a class has no name")
    if len(set(classes)) < len(classes) or len(classes) == 1:
        raise ValueError("classes must be at least two different names")
    if taken := {CATEGORY, CATEGORIES, UNSURE} & set(classes):
        raise ValueError(f"a class cannot be called {taken.pop()}")
    if unknown := titles.keys() - set(classes):
        raise ValueError(f"titles of unknown classes: {', '.join(sorted(unknown))}")
    if not all(isinstance(title, str) for title in titles.values()):
        raise ValueError("titles must be text")


def check_numbers(name: str, values: list[float], expected: int, low: float, high: float) -> None:
    """Raise ValueError, or TypeError, unless there are so many numbers between low and high."""
    if len(values) != expected:
        raise ValueError(f"{len(values)} {name}, expected {expected}")
    if not all(_is_number(value) and low < value < high for value in values):
        raise ValueError(f"{name} must be numbers from {low:g} to {high:g}")


def _is_integer(value: Any, most: int) -> bool:
    """Whether a value is an integer, no boolean, from 1 to `most`."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number, no boolean."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check_argument(name: str, value: Any) -> None:
    """Raise ValueError if no model can have such an argument; the model checks its name."""
    if name == "dropout":
        sound = _is_number(value) and 0 <= value < 1
    elif isinstance(value, list):
        sound = bool(value) and all(_is_integer(item, WIDEST) for item in value)
    elif isinstance(value, float):
        sound = _is_number(value) and value >= 0
    else:
        sound = isinstance(value, (bool, str)) or _is_integer(value, WIDEST)
    if not sound:
        raise ValueError(f"arguments: {name} cannot be {value!r}")
