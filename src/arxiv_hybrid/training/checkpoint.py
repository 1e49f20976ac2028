"""A trained classifier as a folder: safetensors weights, JSON facts, the vocabulary.

Nothing here is pickled, so loading a model never runs code from it.
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

from arxiv_hybrid.errors import UserError
from arxiv_hybrid.io import read_lines, require, write_bytes, write_json, write_lines
from arxiv_hybrid.models import registry
from arxiv_hybrid.models.base import PaperClassifier
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training import calibration
from arxiv_hybrid.training.batches import EncodedPapers, encode_papers
from arxiv_hybrid.training.devices import Machine, choose_machine
from arxiv_hybrid.training.loop import predict

WEIGHTS, FACTS, WORDS = "model.safetensors", "model.json", "vocab.txt"


@dataclass(frozen=True)
class Facts:
    """What is needed beside the weights: model name and arguments, classes, text lengths.

    temperature: what logits are divided by, see `calibration`.
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
    facts: Facts
    machine: Machine

    def encode(self, papers: pd.DataFrame) -> EncodedPapers:
        """Encode the columns title and abstract (and label, if there is one)."""
        return encode_papers(
            papers,
            self.vocabulary,
            title_length=self.facts.title_length,
            abstract_length=self.facts.abstract_length,
            device=self.machine.device,
        )

    def probabilities(self, papers: pd.DataFrame) -> Tensor:
        """Calibrated class probabilities (N, C) in float64 on the CPU; rows sum to 1."""
        logits = predict(self.model, self.encode(papers), self.machine)
        return calibration.probabilities(logits, self.facts.temperature)

    def classify(self, papers: pd.DataFrame) -> pd.DataFrame:
        """The most probable class of each paper, in `category`, and every class's probability.

        Raises UserError where a title or abstract is missing.
        """
        for column in ("title", "abstract"):
            if column not in papers or papers[column].isna().any():
                raise UserError(f"papers need a {column} each, which may be empty but not missing")
        if papers.empty:
            return pd.DataFrame(columns=["category", *self.facts.classes])
        probabilities = self.probabilities(papers)
        table = pd.DataFrame(probabilities.numpy(), columns=self.facts.classes)
        best = probabilities.argmax(1).tolist()
        table.insert(0, "category", [self.facts.classes[i] for i in best])
        return table


def save(folder: Path, model: PaperClassifier, vocabulary: Vocabulary, facts: Facts) -> None:
    """Write a classifier into `folder`, each file whole or not at all."""
    weights = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    write_bytes(folder / WEIGHTS, serialize(weights))
    write_json(folder / FACTS, asdict(facts))
    write_lines(folder / WORDS, list(vocabulary.words))


def load(folder: str | Path, *, device: str = "auto", precision: str = "auto") -> Classifier:
    """Read a classifier that `save` wrote; UserError if a file is missing or damaged."""
    folder = Path(folder)
    machine = choose_machine(device, precision)
    for name in (WEIGHTS, FACTS, WORDS):
        require(folder / name)
    try:
        facts = Facts(**json.loads((folder / FACTS).read_text(encoding="utf-8")))
        weights = load_file(folder / WEIGHTS, device=str(machine.device))
        model = registry.build(facts.model, **facts.arguments)
        model.load_state_dict(weights)
        vocabulary = Vocabulary(tuple(read_lines(folder / WORDS)))
        vectors = model.embedding.num_embeddings
        if len(vocabulary) != vectors:
            raise ValueError(f"{len(vocabulary)} words for {vectors} vectors")
    except (SafetensorError, ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{folder}: not a sound model: {error}") from None
    return Classifier(model.to(machine.device).eval(), vocabulary, facts, machine)


def digest(folder: Path) -> str:
    """The first 16 hex digits of the weights' SHA-256: names a model across MLflow runs."""
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()[:16]
