"""A paper's prediction for the page: likely classes, doubts, and the words that count."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pandas as pd

from arxiv_hybrid.evaluation.occlusion import Occlusion, occlusion
from arxiv_hybrid.inference.classifier import TextClassifier
from arxiv_hybrid.serving.batcher import Paper
from arxiv_hybrid.serving.papers import TEXTS
from arxiv_hybrid.text.tokenize import token_spans
from arxiv_hybrid.tracking.scoring import MalformedError

SURE = 0.5  # the likeliest class's probability from which a prediction is sure
CLASSES_SHOWN = 8

Piece = tuple[str, float | None]


def one_paper(body: bytes) -> Paper:
    """The title and abstract in a JSON body; MalformedError unless there is a word to read."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"the body is not valid JSON: {error}") from None
    if not isinstance(content, dict) or not all(type(content.get(name)) is str for name in TEXTS):
        raise MalformedError('expected {"title": "...", "abstract": "..."}')
    if not any(token_spans(content[name]) for name in TEXTS):
        raise MalformedError(
            "Title and abstract need at least one word in Latin letters or digits."
        )
    return content["title"], content["abstract"]


def explanation(classifier: TextClassifier, title: str, abstract: str) -> dict[str, Any]:
    """What the page shows of a paper, ready for JSON.

    category and categories: the likeliest class, and those assigned. classes: name, title and
    probability of the likeliest; others: how many more there are, and the largest probability of
    these. doubts: why the prediction is unsure. title and abstract: the text in pieces, each with
    its weight: how much less probable the category is without this word, from 1 for the word that
    counts most; below 0 for words against the category, None for what the model does not read.
    """
    paper = pd.DataFrame({"title": [title], "abstract": [abstract]})
    result = occlusion(classifier, title, abstract)
    likeliest = dict(sorted(result.probabilities.items(), key=lambda pair: -pair[1]))
    shown = list(likeliest)[:CLASSES_SHOWN]
    others = list(likeliest.values())[CLASSES_SHOWN:]
    known, read = classifier.known_words(paper)
    largest = max((abs(drop) for _, drop in result.drops), default=0.0)
    weights = {word: drop / max(largest, 1e-9) for word, drop in result.drops}
    config = classifier.config
    return {
        "category": result.predicted,
        "categories": list(result.assigned),
        "classes": [
            {"name": name, "title": config.titles.get(name, ""), "probability": likeliest[name]}
            for name in shown
        ],
        "others": {"count": len(others), "most": max(others, default=0.0)},
        "doubts": _doubts(classifier, paper, result),
        "known_words": known,
        "read_words": read,
        "largest_drop": largest,
        **{
            name: _pieces(name, text, weights, config)
            for name, text in (("title", title), ("abstract", abstract))
        },
    }


def _doubts(classifier: TextClassifier, paper: pd.DataFrame, result: Occlusion) -> list[str]:
    doubts = []
    if classifier.unfamiliar(classifier.encode(paper))[0]:
        doubts.append("unlike the papers it was trained on")
    if result.confidence < SURE:
        doubts.append(f"the likeliest category is below {SURE:.0%}")
    return doubts


def _pieces(name: str, text: str, weights: dict[str, float], config: Any) -> list[Piece]:
    """A title or abstract as words and what is between them; words that are read have a weight.

    A network reads the first `title_length` or `abstract_length` tokens. A linear model reads all
    words, which `tokens` describes.
    """
    lower = text.lower()
    # words are found in the lower-case text, and lower-casing makes a few letters longer
    text = text if len(text) == len(lower) else lower
    pattern = getattr(config, "tokens", None)
    found = (
        [match.span() for match in re.finditer(pattern, lower)] if pattern else token_spans(text)
    )
    pieces: list[Piece] = []
    end = 0
    for start, stop in found[: getattr(config, f"{name}_length", None)]:
        pieces.append((text[end:start], None))
        pieces.append((text[start:stop], weights.get(lower[start:stop])))
        end = stop
    pieces.append((text[end:], None))
    return [piece for piece in pieces if piece[0]]
