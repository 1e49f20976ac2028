"""Predictions for files of papers, of any size."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from arxiv_hybrid.data.csv_source import read_chunks
from arxiv_hybrid.errors import UserError
from arxiv_hybrid.io import atomic
from arxiv_hybrid.training.checkpoint import Classifier

CHUNK = 4096  # papers in memory at a time


def predict_file(classifier: Classifier, source: Path, target: Path) -> int:
    """Classify a CSV of papers into another; returns how many there were.

    source: plain or .gz, with the columns title and abstract. target: a row for each, in the
    same order: id (if source has it), the most probable `category`, each class's probability.
    It is written whole or not at all. Raises UserError if source is not such a file.
    """
    with atomic(target) as temporary:
        chunks = read_chunks(source, CHUNK, key="--input")
        count = write(predicted(classifier, chunks), temporary)
        if not count:
            raise UserError(f"{source}: has a header but no papers")
    return count


def predicted(classifier: Classifier, chunks: Iterable[pd.DataFrame]) -> Iterable[pd.DataFrame]:
    """The rows of `predict_file` for each chunk of papers."""
    for papers in chunks:
        table = classifier.classify(papers)
        if "id" in papers:
            table.insert(0, "id", papers["id"].tolist())
        yield table


def write(tables: Iterable[pd.DataFrame], path: Path) -> int:
    """Write tables behind each other into one CSV, with a progress bar; returns the rows."""
    count = 0
    with (
        path.open("w", encoding="utf-8", newline="") as file,
        tqdm(desc="papers", unit="paper", unit_scale=True, disable=None) as bar,
    ):
        for number, table in enumerate(tables):
            table.to_csv(file, index=False, header=number == 0, float_format="%.6f")
            count += len(table)
            bar.update(len(table))
    return count
