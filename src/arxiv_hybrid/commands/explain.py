"""`explain`: pages and pictures of a model's attention to papers."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from arxiv_hybrid.commands.papers import papers_by_id, typed_paper
from arxiv_hybrid.commands.terminal import coloured, print_json
from arxiv_hybrid.evaluation.attention import Explanation, Part, explain
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.reporting import figures
from arxiv_hybrid.reporting.attention_page import attention_page
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import write_bytes, write_text

TOKENS_SHOWN = 8


def run(options: Namespace) -> None:
    """Write a page and a picture for each paper, and print the tokens with the most attention."""
    if bool(options.id) == bool(options.title or options.abstract):
        raise UserError("explain needs either --id or --title and --abstract")
    if options.id:
        papers = papers_by_id(options.papers, options.id)
    else:
        papers = typed_paper(options.title, options.abstract)
    classifier = checkpoint.load(options.model)
    for paper in explain(classifier, papers):
        name = paper.id.replace("/", "-")
        page = options.output / f"{name}.html"
        write_text(page, attention_page([paper], classifier.config.model))
        write_bytes(options.output / f"{name}.png", figures.png(figures.attention(paper)))
        if options.json:
            _print_json(paper, page, multi_label=classifier.config.multi_label)
        else:
            _print_text(paper)
            print(f"  -> {page}, .png")


def _strongest(part: Part) -> list[tuple[str, float]]:
    """The tokens with the largest mean weight, the largest first."""
    pairs = sorted(zip(part.mean.tolist(), part.tokens, strict=True), reverse=True)
    return [(token, weight) for weight, token in pairs[:TOKENS_SHOWN]]


def _print_json(paper: Explanation, page: Path, *, multi_label: bool) -> None:
    parts = (paper.title, paper.abstract)
    print_json(
        id=paper.id,
        category=paper.predicted,
        probability=paper.confidence,
        **({"categories": list(paper.assigned)} if multi_label else {}),
        fusion={part.name: part.fusion for part in parts},
        words={part.name: dict(_strongest(part)) for part in parts},
        page=str(page),
    )


def _print_text(paper: Explanation) -> None:
    predicted = (
        f"{coloured(name, '1')} ({paper.probabilities[name]:.0%})" for name in paper.assigned
    )
    print(f"{paper.id}: {', '.join(predicted)}")
    for part in (paper.title, paper.abstract):
        tokens = ", ".join(f"{token} {weight:.0%}" for token, weight in _strongest(part))
        print(f"  {part.name}, fusion weight {part.fusion:.2f}: {tokens or 'no words'}")
