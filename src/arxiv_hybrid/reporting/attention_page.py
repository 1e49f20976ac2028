"""Papers with the words shaded by the attention that a classifier gave them."""

from __future__ import annotations

from typing import Any

from arxiv_hybrid.evaluation.attention import Explanation, Part
from arxiv_hybrid.reporting.page import render
from arxiv_hybrid.text.tokenize import token_spans


def attention_page(explanations: list[Explanation], model: str) -> str:
    """HTML: each paper's text with shaded words, head by head, its classes and fusion weights."""
    papers: list[dict[str, Any]] = [
        {
            "paper": paper,
            "parts": [(part, pieces(part)) for part in (paper.title, paper.abstract)],
            "heads": max(len(paper.title.heads), len(paper.abstract.heads)),
        }
        for paper in explanations
    ]
    heads = max(entry["heads"] for entry in papers)
    return render("attention.html", {"papers": papers, "heads": heads, "model": model})


def pieces(part: Part) -> list[dict[str, Any]]:
    """A text in pieces, in order and complete, what is not a word among them.

    text; for a word that the model read: weight (averaged) and shades, of the average and of
    each head, from 0 to 1, relative to the strongest word.
    """
    lower = part.text.lower()
    text = part.text if len(part.text) == len(lower) else lower  # a few letters grow
    rows = [part.mean, *part.heads]
    shades = [row / max(float(row.max()), 1e-9) for row in rows] if part.tokens else []
    result: list[dict[str, Any]] = []
    end = 0
    for number, (start, stop) in enumerate(token_spans(text)[: len(part.tokens)]):
        result.append({"text": text[end:start]})
        word = {"weight": float(part.mean[number]), "shades": [row[number] for row in shades]}
        result.append({"text": text[start:stop], **word})
        end = stop
    result.append({"text": text[end:]})
    return [piece for piece in result if piece["text"]]
