"""A trained classifier as a folder: safetensors, a JSON configuration, the vocabulary.

Nothing is pickled, so loading a model never runs code from it.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load_file
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
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import read_lines, require, write_bytes, write_json, write_lines
from arxiv_hybrid.text.vocabulary import Vocabulary

WEIGHTS, CONFIG, WORDS = "model.safetensors", "model.json", "vocab.txt"
FAMILIARITY = "familiarity.safetensors"  # optional: without it no paper is called unsure
CATEGORY, CATEGORIES, UNSURE = "category", "categories", "unsure"  # columns of `classify`


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
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature {self.temperature} is not positive")
        expected = len(self.classes) if self.multi_label else 0
        for name, low, high in (("biases", -math.inf, math.inf), ("thresholds", 0.0, 1.0)):
            values = getattr(self, name)
            if len(values) != expected:
                raise ValueError(f"{len(values)} {name}, expected {expected}")
            if not all(low < value < high for value in values):
                raise ValueError(f"{name} must be numbers from {low:g} to {high:g}")
        if unknown := self.titles.keys() - set(self.classes):
            raise ValueError(f"titles of unknown classes: {', '.join(sorted(unknown))}")


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
        """Encode the columns title and abstract (and label, if there is one)."""
        return encode_papers(
            papers,
            self.vocabulary,
            title_length=self.config.title_length,
            abstract_length=self.config.abstract_length,
            device=self.device_config.device,
        )

    def probabilities(self, papers: pd.DataFrame) -> Tensor:
        """Calibrated class probabilities (N, C) in float64 on the CPU.

        Rows sum to 1, unless a paper may have several classes: then each class has a probability by
        itself.
        """
        return self._probabilities(self.encode(papers))

    def _probabilities(self, papers: EncodedPapers) -> Tensor:
        return self.calibrated(predict(self.model, papers, self.device_config))

    def calibrated(self, logits: Tensor) -> Tensor:
        """Logits of the model (N, C) as probabilities; see `probabilities`."""
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
        if self.familiarity is None:
            return np.zeros(len(papers), dtype=bool)
        return self.familiarity.unfamiliar(papers)

    def classify(self, papers: pd.DataFrame) -> pd.DataFrame:
        """The likeliest class of each paper, and the probability of each class.

        Columns: `category`, the likeliest class; `categories`, only if a paper may have several:
        those assigned, the likeliest first, joined by `;`; `unsure`: whether the paper is unlike
        the training papers, so that its probabilities mean little; then one column per class.
        Raises UserError if a title or abstract is missing; empty ones are allowed.
        """
        for column in ("title", "abstract"):
            if column not in papers or papers[column].isna().any():
                raise UserError(f"every paper needs a {column}, which may be empty but not missing")
        names = self.config.classes
        if papers.empty:
            return pd.DataFrame(columns=self.columns)
        encoded = self.encode(papers)
        probabilities = self._probabilities(encoded).numpy()
        table = pd.DataFrame(probabilities, columns=names)
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
    """Write a classifier into `folder`; each file is replaced atomically."""
    weights = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    write_bytes(folder / WEIGHTS, serialize(weights))
    write_json(folder / CONFIG, asdict(config))
    write_lines(folder / WORDS, list(vocabulary.words))
    if fitted is None:
        (folder / FAMILIARITY).unlink(missing_ok=True)  # of another model
    else:
        familiarity.save(folder / FAMILIARITY, fitted)


def load(folder: str | Path, *, device: str = "auto", precision: str = "auto") -> Classifier:
    """Read a classifier that `save` wrote. Raises UserError if a file is missing or damaged."""
    folder = Path(folder)
    device_config = choose_device(device, precision)
    for name in (WEIGHTS, CONFIG, WORDS):
        require(folder / name)
    try:
        config = ModelConfig(**json.loads((folder / CONFIG).read_text(encoding="utf-8")))
        config.check()
        weights = load_file(folder / WEIGHTS, device=str(device_config.device))
        model = registry.build(config.model, **config.arguments)
        model.load_state_dict(weights)
        vocabulary = Vocabulary(tuple(read_lines(folder / WORDS)))
        vectors = model.embedding.num_embeddings
        if len(vocabulary) != vectors:
            raise ValueError(f"{len(vocabulary)} words for {vectors} vectors")
        fitted = None
        if (folder / FAMILIARITY).exists():
            sizes = {"words": vectors, "classes": len(config.classes)}
            fitted = familiarity.load(folder / FAMILIARITY, **sizes)
    except (SafetensorError, ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{folder}: not a sound model: {error}") from None
    model.to(device_config.device).eval()
    return Classifier(model, vocabulary, config, device_config, fitted)


def digest(folder: Path) -> str:
    """The first 16 hex digits of the weights' SHA-256, which identify a model in MLflow."""
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()[:16]
