"""A page that shades each word of a paper by its attention weight."""

from __future__ import annotations

from typing import Any

from arxiv_hybrid.evaluation.attention import Explanation, Part
from arxiv_hybrid.reporting.page import render
from arxiv_hybrid.text.tokenize import token_spans

CLASSES_SHOWN = 12  # the likeliest, if there are more


def attention_page(explanations: list[Explanation], model: str) -> str:
    """HTML with each paper's shaded text, head by head, its probabilities and fusion weights."""
    papers: list[dict[str, Any]] = [
        {
            "paper": paper,
            "parts": [(part, pieces(part)) for part in (paper.title, paper.abstract)],
            "heads": max(len(paper.title.heads), len(paper.abstract.heads)),
        }
        for paper in explanations
    ]
    heads = max(entry["heads"] for entry in papers)
    content = {"papers": papers, "heads": heads, "model": model, "classes_shown": CLASSES_SHOWN}
    return render("attention.html", content)


def pieces(part: Part) -> list[dict[str, Any]]:
    """Split a text into tokens and the characters between them, in order and complete.

    Every piece has `text`. A token that the model read also has `weight`, averaged over the
    heads, and `shades`: of the average and of each head, from 0 to 1 for the strongest token.
    """
    lower = part.text.lower()
    # tokens are found in the lower-cased text, and lower-casing makes a few letters longer
    text = part.text if len(part.text) == len(lower) else lower
    rows = [part.mean, *part.heads]
    shades = [row / max(float(row.max()), 1e-9) for row in rows] if part.tokens else []
    result: list[dict[str, Any]] = []
    end = 0
    for number, (start, stop) in enumerate(token_spans(text)[: len(part.tokens)]):
        result.append({"text": text[end:start]})
        result.append(
            {
                "text": text[start:stop],
                "weight": float(part.mean[number]),
                "shades": [row[number] for row in shades],
            }
        )
        end = stop
    result.append({"text": text[end:]})
    return [piece for piece in result if piece["text"]]
