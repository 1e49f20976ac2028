"""Which words a classifier looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from arxiv_hybrid.inference import calibration
from arxiv_hybrid.inference.checkpoint import Classifier
from arxiv_hybrid.text.tokenize import tokenize

PARTS = ("title", "abstract")
SHOWN = (20, 50)  # words of title and abstract in tables and figures


@dataclass(frozen=True)
class Part:
    """A paper's title or abstract: its text, the T tokens that the model read, their weights.

    heads (H, T): each attention head's weights, summing to 1 a row. fusion: the weight of
    this part when the two are joined.
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
    """What a classifier says of a paper: each class's probability."""

    probabilities: dict[str, float]

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
    """Where a classifier looked for its verdict on a paper; `actual` where that is known."""

    id: str
    title: Part
    abstract: Part
    actual: str | None


@torch.inference_mode()
def explain(classifier: Classifier, papers: pd.DataFrame) -> list[Explanation]:
    """Attention, head by head, for each of `papers` (id, title, abstract, perhaps label)."""
    classifier.model.eval()
    encoded, classes = classifier.encode(papers), classifier.config.classes
    batch = encoded.batch(np.arange(len(papers)))
    with classifier.device_config.autocast():
        logits, maps = batch.classify(classifier.model)
    probabilities = calibration.probabilities(logits, classifier.config.temperature).tolist()
    fusion = maps["fusion_weights"].tolist()

    def part(name: str, row: int, text: str, length: int) -> Part:
        tokens = tokenize(text)[:length]  # none where the text has no word
        heads = maps[f"{name}_heads"][row, :, : len(tokens)].double().cpu().numpy()
        return Part(name, text, tokens, heads, fusion[row][PARTS.index(name)])

    return [
        Explanation(
            dict(zip(classes, probabilities[row], strict=True)),
            str(paper["id"]),
            part("title", row, paper["title"], int(encoded.title_lengths[row])),
            part("abstract", row, paper["abstract"], int(encoded.abstract_lengths[row])),
            classes[paper["label"]] if "label" in papers else None,
        )
        for row, (_, paper) in enumerate(papers.iterrows())
    ]


def words(explanations: list[Explanation]) -> pd.DataFrame:
    """The first 20 title and 50 abstract words of each paper with their averaged weights.

    One row a word: id, part (`title` or `abstract`), position from 1, token, weight, and the
    paper's actual and predicted class. Weights of a part sum to 1 over all its words, so
    those of a long abstract's first 50 sum to less.
    """
    rows = [
        {
            "id": paper.id,
            "part": part.name,
            "position": position + 1,
            "token": token,
            "weight": weight,
            "actual": paper.actual,
            "predicted": paper.predicted,
        }
        for paper in explanations
        for part, limit in zip((paper.title, paper.abstract), SHOWN, strict=True)
        for position, (token, weight) in enumerate(
            zip(part.tokens[:limit], part.mean.tolist(), strict=False)
        )
    ]
    return pd.DataFrame(rows)
