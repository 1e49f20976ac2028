"""`embed`: vectors of the papers of a file."""

from __future__ import annotations

from argparse import Namespace

from arxiv_hybrid.commands.library import chunks_of, counted
from arxiv_hybrid.commands.papers import answering
from arxiv_hybrid.commands.terminal import note
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.similar import LibraryDigest, bind, paper_vectors, writing
from arxiv_hybrid.paths import default_model


def run(options: Namespace) -> None:
    """Write a unit vector for each paper, in their order, and beside it what they are of."""
    folder = options.model or default_model()
    classifier = checkpoint.load(folder)
    digest, empty = LibraryDigest(), 0
    skipped: list[str] = []
    with writing(options.output) as file:
        for papers in chunks_of(options, skipped):
            vectors = paper_vectors(classifier, papers)
            file.add(vectors)
            digest.add(papers)
            empty += int((vectors == 0).all(1).sum())
    bind(options.output, library=digest.hexdigest(), model=checkpoint.digest(folder))
    note(answering(folder, classifier))
    if empty:
        note(f"{counted(empty, 'paper')} without a known word: vectors of zeros")
    counts = counted(file.rows, "paper")
    if skipped:
        counts += f", {counted(len(skipped), 'row')} skipped"
    print(f"{counts} -> {options.output}, {file.width} numbers each")
