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
        self._check_classes()
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
        for name, low, high in (("biases", -math.inf, math.inf), ("thresholds", 0.0, 1.0)):
            values = getattr(self, name)
            if len(values) != expected:
                raise ValueError(f"{len(values)} {name}, expected {expected}")
            if not all(_is_number(value) and low < value < high for value in values):
                raise ValueError(f"{name} must be numbers from {low:g} to {high:g}")

    def _check_classes(self) -> None:
        if not (isinstance(self.classes, list) and isinstance(self.arguments, dict)):
            raise ValueError("classes must be a list, and arguments an object")
        if not all(isinstance(name, str) and name.strip() for name in self.classes):
            raise ValueError("a class has no name")
        if len(set(self.classes)) < len(self.classes) or len(self.classes) == 1:
            raise ValueError("classes must be at least two different names")
        if taken := {CATEGORY, CATEGORIES, UNSURE} & set(self.classes):
            raise ValueError(f"a class cannot be called {taken.pop()}")
        if unknown := self.titles.keys() - set(self.classes):
            raise ValueError(f"titles of unknown classes: {', '.join(sorted(unknown))}")
        if not all(isinstance(title, str) for title in self.titles.values()):
            raise ValueError("titles must be text")


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
