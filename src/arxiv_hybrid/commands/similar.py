"""`similar`: the papers of a library that are most like one."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from arxiv_hybrid.commands.library import chunks_of, counted
from arxiv_hybrid.commands.papers import answering, typed_paper
from arxiv_hybrid.commands.terminal import coloured, note, print_json
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.checkpoint import TextClassifier
from arxiv_hybrid.inference.similar import (
    Floats,
    LibraryDigest,
    Nearest,
    StoredVectors,
    paper_vectors,
)
from arxiv_hybrid.paths import default_model
from arxiv_hybrid.system.errors import UserError


def run(options: Namespace) -> None:
    """Print the nearest papers; UserError if there is no text to compare with."""
    if not (options.title or options.abstract):
        raise UserError("similar needs --title and --abstract of a paper, and --input, a library")
    paper = typed_paper(options.title, options.abstract)
    folder = options.model or default_model()
    classifier = checkpoint.load(folder)
    query = paper_vectors(classifier, paper)[0]
    known, read = classifier.known_words(paper)
    if not query.any():
        raise UserError(f"the model knows none of the {counted(read, 'word')} of the paper")
    best, skipped = Nearest(query, options.top), list[str]()
    for papers, vectors in _library(options, classifier, folder, skipped):
        best.add(papers, vectors)
    model = answering(folder, classifier)
    if options.json:
        print_json(
            similar=[match._asdict() for match in best.matches],
            papers=best.papers,
            skipped=len(skipped),
            known_words=known,
            read_words=read,
            model=model,
        )
        return
    for match in best.matches:
        name = match.id or f"row {match.row + 1:,}"
        print(f"{match.similarity:6.3f}  {coloured(name, '1')}  {' '.join(match.title.split())}")
    note(f"of {counted(best.papers, 'paper')}; knows {known:,} of {read:,} words; {model}")


def _library(
    options: Namespace, classifier: TextClassifier, folder: Path, skipped: list[str]
) -> Iterator[tuple[pd.DataFrame, Floats]]:
    """Papers and their vectors, which are computed, or read from `options.vectors`.

    Raises UserError at its end if these are vectors of another library.
    """
    if options.vectors is None:
        for papers in chunks_of(options, skipped):
            yield papers, paper_vectors(classifier, papers)
        return
    stored, digest, start = StoredVectors.read(options.vectors), LibraryDigest(), 0
    if stored.model != checkpoint.digest(folder):
        raise UserError(f"{options.vectors}: made by another model than {folder} (--vectors)")
    for papers in chunks_of(options, skipped):
        vectors = stored.vectors[start : start + len(papers)]
        start += len(papers)
        digest.add(papers)
        if len(vectors) < len(papers):
            break
        yield papers, vectors
    if start != len(stored.vectors) or digest.hexdigest() != stored.library:
        raise UserError(f"{options.vectors}: of another library than {options.input} (--vectors)")
