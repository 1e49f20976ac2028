"""Predictions, and the attention weights behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from arxiv_hybrid.inference.checkpoint import Classifier, TextClassifier
from arxiv_hybrid.system.cells import plot_safe
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.text.tokenize import tokenize

PARTS = ("title", "abstract")
TOKENS_SHOWN = (20, 50)  # of a title and of an abstract, in tables and figures


@dataclass(frozen=True)
class Part:
    """A paper's title or abstract with its attention weights.

    tokens: the T tokens that the model read. heads: (H, T), the weights of each attention head;
    each row sums to 1. fusion: the weight of this part when title and abstract are fused.
    """

    name: str
    text: str
    tokens: list[str]
    heads: npt.NDArray[np.float64]
    fusion: float

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Weights averaged over the heads, (T,)."""
        weights: npt.NDArray[np.float64] = self.heads.mean(0)
        return weights


@dataclass(frozen=True)
class Prediction:
    """The probability of each class, by name, and the assigned classes, the likeliest first.

    Without several classes per paper, the likeliest is the only one assigned.
    """

    probabilities: dict[str, float]
    assigned: tuple[str, ...]

    @classmethod
    def of(cls, classifier: TextClassifier, probabilities: npt.NDArray[np.float64]) -> Prediction:
        """What a classifier makes of the probabilities of one paper, (C,)."""
        order = np.argsort(-probabilities, kind="stable")
        chosen = classifier.assigned(probabilities[None])[0]
        names = classifier.config.classes
        return Prediction(
            dict(zip(names, probabilities.tolist(), strict=True)),
            tuple(names[number] for number in order if chosen[number]),
        )

    def likeliest(self, number: int) -> dict[str, float]:
        """The most probable classes, the likeliest first; all, in their own order, if so few."""
        if len(self.probabilities) <= number:
            return self.probabilities
        ordered = sorted(self.probabilities.items(), key=lambda pair: -pair[1])
        return dict(ordered[:number])

    @property
    def predicted(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    @property
    def confidence(self) -> float:
        """The predicted class's probability."""
        return self.probabilities[self.predicted]


@dataclass(frozen=True)
class Explanation(Prediction):
    """A prediction with the attention behind it.

    actual: the paper's class, or classes if it may have several; empty for an unlabelled paper.
    """

    id: str
    title: Part
    abstract: Part
    actual: tuple[str, ...]


@torch.inference_mode()
def explain(classifier: TextClassifier, papers: pd.DataFrame) -> list[Explanation]:
    """Classify `papers` and return each one's attention, head by head.

    papers: columns id, title and abstract; label, and labels if papers may have several, are
    optional. Raises UserError if the classifier has no attention.
    """
    if not isinstance(classifier, Classifier):
        raise UserError(
            f"a {classifier.kind} has no attention to explain; `predict` names the words that count"
        )
    if papers.empty:
        return []
    classifier.model.eval()
    encoded, classes = classifier.encode(papers), classifier.config.classes
    batch = encoded.batch(np.arange(len(papers)))
    with classifier.device_config.autocast():
        logits, maps = batch.feed(classifier.model)
    probabilities = classifier.calibrated(logits).numpy()
    fusion = maps["fusion_weights"].tolist()

    def part(name: str, row: int, text: str, length: int) -> Part:
        tokens = tokenize(text)[:length]  # none for an empty text, encoded as <UNK>
        heads = maps[f"{name}_heads"][row, :, : len(tokens)].double().cpu().numpy()
        return Part(name, text, tokens, heads, fusion[row][PARTS.index(name)])

    column = "labels" if classifier.config.multi_label else "label"
    labels = papers.get(column, pd.Series([()] * len(papers)))
    return [
        Explanation(
            **vars(Prediction.of(classifier, probabilities[row])),
            id=str(paper["id"]),
            title=part("title", row, paper["title"], int(encoded.title_lengths[row])),
            abstract=part("abstract", row, paper["abstract"], int(encoded.abstract_lengths[row])),
            actual=tuple(classes[number] for number in np.atleast_1d(numbers)),
        )
        for row, ((_, paper), numbers) in enumerate(zip(papers.iterrows(), labels, strict=True))
    ]


def attention_table(explanations: list[Explanation]) -> pd.DataFrame:
    """The mean weights of the first 20 title and 50 abstract tokens of each paper.

    One row per token: id, part (`title` or `abstract`), position from 1, token, weight, and the
    paper's actual and predicted class or classes. The weights of a part sum to 1 over all its
    tokens, so those of the first 50 tokens of a longer abstract sum to less.
    """
    rows = [
        {
            "id": paper.id,
            "part": part.name,
            "position": position + 1,
            "token": token,
            "weight": weight,
            "actual": "; ".join(paper.actual) or None,
            "predicted": "; ".join(paper.assigned),
        }
        for paper in explanations
        for part, limit in zip((paper.title, paper.abstract), TOKENS_SHOWN, strict=True)
        for position, (token, weight) in enumerate(
            zip(part.tokens[:limit], part.mean.tolist(), strict=False)
        )
    ]
    return plot_safe(pd.DataFrame(rows))
