"""A trained classifier as a folder: safetensors, a JSON configuration, the vocabulary.

Nothing is pickled, so loading a model never runs code from it. The configuration holds the SHA-256
of every file, its own included: a damaged or exchanged file is refused, not used.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialize
from safetensors.torch import save as serialize
from torch import Tensor

from arxiv_hybrid.inference import calibration, familiarity
from arxiv_hybrid.inference.devices import DeviceConfig, choose_device
from arxiv_hybrid.inference.encoding import EncodedPapers, encode_papers
from arxiv_hybrid.inference.familiarity import Familiarity
from arxiv_hybrid.inference.predict import predict
from arxiv_hybrid.inference.thresholds import assigned
from arxiv_hybrid.models import registry
from arxiv_hybrid.models.base import PaperClassifier
from arxiv_hybrid.system import digests
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import (
    lines_of,
    read_bound,
    require,
    write_bytes,
    write_json,
    write_lines,
)
from arxiv_hybrid.text.vocabulary import Vocabulary

WEIGHTS, CONFIG, WORDS = "model.safetensors", "model.json", "vocab.txt"
FAMILIARITY = "familiarity.safetensors"  # optional: without it no paper is called unsure
CATEGORY, CATEGORIES, UNSURE = "category", "categories", "unsure"  # columns of `classify`
TEXTS = ("title", "abstract")
LONGEST_TEXT = 1 << 16  # tokens
WIDEST = 1 << 20  # the largest argument of a model


@dataclass(frozen=True)
class ModelConfig:
    """What is needed besides the weights: model name and arguments, classes, text lengths.

    temperature: logits are divided by it, see `calibration`. multi_label: a paper may have several
    classes; each then has a bias, see `calibration`, and a threshold, see `thresholds`. titles: the
    full names of classes, where arXiv has one.
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
        if (outputs := self.arguments.get("num_classes")) != len(self.classes):
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
        if not isinstance(self.classes, list):
            raise ValueError("classes must be a list")
        if not all(isinstance(name, str) and name.strip() for name in self.classes):
            raise ValueError("a class has no name")
        if len(set(self.classes)) < len(self.classes) or len(self.classes) < 2:
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


@dataclass(frozen=True)
class Classifier:
    """A model with its vocabulary: from titles and abstracts to class probabilities.

    familiarity: what finds papers unlike the training papers; None if it was not fitted.
    """

    model: PaperClassifier
    vocabulary: Vocabulary
    config: ModelConfig
    device_config: DeviceConfig
    familiarity: Familiarity | None = None

    def encode(self, papers: pd.DataFrame) -> EncodedPapers:
        """Encode the columns title and abstract (and label, if there is one).

        Raises UserError unless all texts are strings; see `encode_papers`.
        """
        return encode_papers(
            papers,
            self.vocabulary,
            title_length=self.config.title_length,
            abstract_length=self.config.abstract_length,
            device=self.device_config.device,
        )

    def probabilities(self, papers: pd.DataFrame) -> Tensor:
        """Calibrated class probabilities (N, C) in float64 on the CPU.

        Rows are in the order of the papers. They sum to 1, unless a paper may have several classes:
        then each class has a probability by itself. Raises UserError as `classify` does.
        """
        return self._probabilities(self._encode_texts(papers))

    def _encode_texts(self, papers: pd.DataFrame) -> EncodedPapers:
        """Encode title and abstract only: a column label may hold anything."""
        if isinstance(papers, pd.DataFrame):  # anything else is refused below
            papers = papers.loc[:, [name in TEXTS for name in papers.columns]]
        return self.encode(papers)

    def _probabilities(self, papers: EncodedPapers) -> Tensor:
        if not len(papers):
            return torch.zeros(0, len(self.config.classes), dtype=torch.float64)
        return self.calibrated(predict(self.model, papers, self.device_config))

    def calibrated(self, logits: Tensor) -> Tensor:
        """Logits of the model (N, C) as probabilities; see `probabilities`.

        Raises UserError if a logit is not finite.
        """
        if not logits.isfinite().all():
            raise UserError(
                "the model computes values that are not finite: its weights are damaged, or its "
                "training diverged; train it again"
            )
        if self.config.multi_label:
            return calibration.sigmoid_probabilities(
                logits, self.config.temperature, self.config.biases
            )
        return calibration.probabilities(logits, self.config.temperature)

    def assigned(self, probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """The classes (N, C) that papers are assigned; without `multi_label` the likeliest one."""
        thresholds = self.config.thresholds or [math.inf] * len(self.config.classes)
        return assigned(probabilities, np.array(thresholds))

    def unfamiliar(self, papers: EncodedPapers) -> npt.NDArray[np.bool_]:
        """Whether each paper (N,) is unlike the training papers; see `familiarity`."""
        if self.familiarity is None or not len(papers):
            return np.zeros(len(papers), dtype=bool)
        return self.familiarity.unfamiliar(papers)

    def classify(self, papers: pd.DataFrame) -> pd.DataFrame:
        """The likeliest class of each paper, and the probability of each class.

        The rows have the index of `papers`. Columns: `category`, the likeliest class; `categories`,
        only if a paper may have several: those assigned, the likeliest first, joined by `;`;
        `unsure`: whether the paper is unlike the training papers, so that its probabilities mean
        little; then one column per class.
        Raises UserError if a title or abstract is missing or not a string; it may be empty.
        """
        names = self.config.classes
        encoded = self._encode_texts(papers)
        probabilities = self._probabilities(encoded).numpy()
        table = pd.DataFrame(probabilities, columns=names, index=papers.index)
        table.insert(0, UNSURE, self.unfamiliar(encoded).tolist())
        if self.config.multi_label:
            table.insert(0, CATEGORIES, self._joined(probabilities))
        table.insert(0, CATEGORY, [names[number] for number in probabilities.argmax(1).tolist()])
        return table

    def save(self, folder: Path) -> None:
        """Write the classifier into `folder`; see `save`."""
        save(folder, self.model, self.vocabulary, self.config, self.familiarity)

    @property
    def columns(self) -> list[str]:
        """The columns of `classify`."""
        several = [CATEGORIES] if self.config.multi_label else []
        return [CATEGORY, *several, UNSURE, *self.config.classes]

    def _joined(self, probabilities: npt.NDArray[np.float64]) -> list[str]:
        """The assigned classes of each paper, the likeliest first, joined by `;`."""
        if not len(probabilities):
            return []
        rows, numbers = np.nonzero(self.assigned(probabilities))
        order = np.lexsort((-probabilities[rows, numbers], rows))
        names = np.array(self.config.classes, dtype=object)[numbers[order]]
        ends = np.searchsorted(rows, np.arange(1, len(probabilities)))
        return [";".join(part) for part in np.split(names, ends)]


def save(
    folder: Path,
    model: PaperClassifier,
    vocabulary: Vocabulary,
    config: ModelConfig,
    fitted: Familiarity | None = None,
) -> None:
    """Write a classifier into `folder`; each file is replaced atomically, the digests last."""
    weights = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    write_bytes(folder / WEIGHTS, serialize(weights))
    write_lines(folder / WORDS, list(vocabulary.words))
    names = [WEIGHTS, WORDS]
    if fitted is None:
        (folder / FAMILIARITY).unlink(missing_ok=True)  # of another model
    else:
        familiarity.save(folder / FAMILIARITY, fitted)
        names.append(FAMILIARITY)
    write_json(folder / CONFIG, asdict(config), bind=[folder / name for name in names])


def load(folder: str | Path, *, device: str = "auto", precision: str = "auto") -> Classifier:
    """Read a classifier that `save` wrote.

    Raises UserError if a file is missing, damaged or from another model, or a value out of range.
    Models saved before there were digests are loaded with the other checks, and a line on stderr.
    """
    folder = Path(folder)
    device_config = choose_device(device, precision)
    for name in (WEIGHTS, CONFIG, WORDS):
        require(folder / name)
    try:
        content, files = read_bound(folder / CONFIG, (WEIGHTS, WORDS), (FAMILIARITY,))
        config = ModelConfig(**content)
        config.check()
        vocabulary = Vocabulary(tuple(lines_of(files[WORDS])))
        model = _build(config, len(vocabulary), deserialize(files[WEIGHTS]), device_config)
        fitted = None
        if FAMILIARITY in files:
            sizes = {"words": len(vocabulary), "classes": len(config.classes)}
            fitted = familiarity.parse(files[FAMILIARITY], **sizes)
    except _DAMAGE as error:
        raise UserError(f"{folder}: not a sound model: {str(error)[:300]}") from None
    return Classifier(model, vocabulary, config, device_config, fitted)


_DAMAGE = (  # what libraries raise for content that no program wrote
    SafetensorError, UserError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError,
    RuntimeError, OSError,
)  # fmt: skip


def _build(
    config: ModelConfig, words: int, weights: dict[str, Tensor], device_config: DeviceConfig
) -> PaperClassifier:
    """The model with its weights, ready to predict; ValueError unless they fit and are finite."""
    vectors = config.arguments.get("vocab_size")
    if words != vectors:
        raise ValueError(f"{words} words for {vectors} vectors")
    for name, value in weights.items():
        # one pass without a copy: a NaN is both the smallest and the largest value
        if value.numel() and not torch.stack(value.aminmax()).isfinite().all():
            raise ValueError(f"{name} has values that are not finite")
    # sizes are compared before they cost memory; a model of your own may not allow that
    with suppress(RuntimeError), torch.device("meta"):
        _check_shapes(registry.build(config.model, **config.arguments), weights)
    model = registry.build(config.model, **config.arguments)
    _check_shapes(model, weights)
    model.load_state_dict(weights)
    return model.to(device_config.device).eval()


def _check_shapes(model: PaperClassifier, weights: dict[str, Tensor]) -> None:
    """Raise ValueError unless a model has these weights, by name, shape and type."""
    expected = model.state_dict()
    if different := expected.keys() ^ weights.keys():
        raise ValueError(f"the weights {min(different)} are missing or of another model")
    for name, value in weights.items():
        if (value.shape, value.dtype) != (expected[name].shape, expected[name].dtype):
            raise ValueError(f"{name} has the shape {tuple(value.shape)} of {value.dtype}")


def digest(folder: Path) -> str:
    """The first 16 hex digits of the weights' SHA-256, which identify a model in MLflow."""
    require(folder / WEIGHTS)
    return digests.of_file(folder / WEIGHTS)[:16]
