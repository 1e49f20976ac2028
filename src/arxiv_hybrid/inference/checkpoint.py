"""A trained classifier as a folder: safetensors weights, a JSON configuration, the vocabulary.

Nothing is pickled, so loading a model never runs code from it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor

from arxiv_hybrid.inference import calibration
from arxiv_hybrid.inference.devices import DeviceConfig, choose_device
from arxiv_hybrid.inference.encoding import EncodedPapers, encode_papers
from arxiv_hybrid.inference.predict import predict
from arxiv_hybrid.models import registry
from arxiv_hybrid.models.base import PaperClassifier
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import read_lines, require, write_bytes, write_json, write_lines
from arxiv_hybrid.text.vocabulary import Vocabulary

WEIGHTS, CONFIG, WORDS = "model.safetensors", "model.json", "vocab.txt"


@dataclass(frozen=True)
class ModelConfig:
    """What is needed besides the weights: model name and arguments, classes, text lengths.

    temperature: logits are divided by it, see `calibration`.
    """

    model: str
    arguments: dict[str, Any]
    classes: list[str]
    title_length: int
    abstract_length: int
    temperature: float = 1.0


@dataclass(frozen=True)
class Classifier:
    """A model with its vocabulary: from titles and abstracts to class probabilities."""

    model: PaperClassifier
    vocabulary: Vocabulary
    config: ModelConfig
    device_config: DeviceConfig

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
        """Calibrated class probabilities (N, C) in float64 on the CPU; rows sum to 1."""
        logits = predict(self.model, self.encode(papers), self.device_config)
        return calibration.probabilities(logits, self.config.temperature)

    def classify(self, papers: pd.DataFrame) -> pd.DataFrame:
        """The most probable class of each paper as `category`, and the probability of each class.

        Raises UserError if a title or abstract is missing; empty ones are allowed.
        """
        for column in ("title", "abstract"):
            if column not in papers or papers[column].isna().any():
                raise UserError(f"every paper needs a {column}, which may be empty but not missing")
        if papers.empty:
            return pd.DataFrame(columns=["category", *self.config.classes])
        probabilities = self.probabilities(papers)
        table = pd.DataFrame(probabilities.numpy(), columns=self.config.classes)
        best = probabilities.argmax(1).tolist()
        table.insert(0, "category", [self.config.classes[i] for i in best])
        return table


def save(folder: Path, model: PaperClassifier, vocabulary: Vocabulary, config: ModelConfig) -> None:
    """Write a classifier into `folder`; each file is replaced atomically."""
    weights = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    write_bytes(folder / WEIGHTS, serialize(weights))
    write_json(folder / CONFIG, asdict(config))
    write_lines(folder / WORDS, list(vocabulary.words))


def load(folder: str | Path, *, device: str = "auto", precision: str = "auto") -> Classifier:
    """Read a classifier that `save` wrote. Raises UserError if a file is missing or damaged."""
    folder = Path(folder)
    device_config = choose_device(device, precision)
    for name in (WEIGHTS, CONFIG, WORDS):
        require(folder / name)
    try:
        config = ModelConfig(**json.loads((folder / CONFIG).read_text(encoding="utf-8")))
        weights = load_file(folder / WEIGHTS, device=str(device_config.device))
        model = registry.build(config.model, **config.arguments)
        model.load_state_dict(weights)
        vocabulary = Vocabulary(tuple(read_lines(folder / WORDS)))
        vectors = model.embedding.num_embeddings
        if len(vocabulary) != vectors:
            raise ValueError(f"{len(vocabulary)} words for {vectors} vectors")
    except (SafetensorError, ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{folder}: not a sound model: {error}") from None
    return Classifier(model.to(device_config.device).eval(), vocabulary, config, device_config)


def digest(folder: Path) -> str:
    """The first 16 hex digits of the weights' SHA-256, which identify a model in MLflow."""
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()[:16]
