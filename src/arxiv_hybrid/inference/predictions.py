"""Predictions for files of papers, of any size."""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pandas as pd

from arxiv_hybrid.inference.checkpoint import Classifier
from arxiv_hybrid.inference.records import STANDARD, is_json_lines, read_records
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import atomic
from arxiv_hybrid.system.nested import DECIMALS

CHUNK = 4096  # papers in memory at a time


@dataclass
class Outcome:
    """How many papers were classified, and what was wrong with each row that was left out."""

    papers: int = 0
    left_out: list[str] = field(default_factory=list)


def predict_file(
    classifier: Classifier,
    source: Path,
    target: Path,
    *,
    skip: bool = False,
    warn: Callable[[str], None] | None = None,
) -> Outcome:
    """Classify the papers of a file into another.

    source: see `read_records`; target: of the kind that its name says, in the same order, with id
    (where source has it), the most probable category and each class's probability. `-` is
    standard output. A file is written whole or not at all. skip: leave out rows that
    cannot be read, telling `warn` of each; else the first of them raises UserError.
    """
    outcome = Outcome()

    def on_bad_row(problem: str) -> None:
        if not skip:
            raise UserError(f"{problem}; --bad-rows skip leaves such rows out")
        outcome.left_out.append(problem)
        if warn:
            warn(problem)

    with _written(target) as file:
        chunks = read_records(source, CHUNK, key="--input", on_bad_row=on_bad_row)
        write = _write_json_lines if is_json_lines(target) else _write_csv
        for number, table in enumerate(predicted(classifier, chunks)):
            write(file, table, first=number == 0)
            outcome.papers += len(table)
        if not outcome.papers:
            wrong = f"; the first problem: {outcome.left_out[0]}" if outcome.left_out else ""
            raise UserError(f"{source}: no papers in it{wrong}")
    return outcome


def predicted(classifier: Classifier, chunks: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """For each chunk of papers id (where there is one), category, and probabilities."""
    for papers in chunks:
        table = classifier.classify(papers)
        if "id" in papers:
            table.insert(0, "id", papers["id"].tolist())
        yield table


@contextmanager
def _written(target: Path) -> Iterator[IO[str]]:
    if target == STANDARD:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # as JSON is, whatever the terminal's is
        yield sys.stdout
        return
    opened = gzip.open if target.suffix == ".gz" else open
    with (
        atomic(target) as temporary,
        opened(temporary, "wt", encoding="utf-8", newline="") as file,
    ):
        yield file


def _write_csv(file: IO[str], table: pd.DataFrame, *, first: bool) -> None:
    table.to_csv(file, index=False, header=first, float_format=f"%.{DECIMALS}f")


def _write_json_lines(file: IO[str], table: pd.DataFrame, *, first: bool) -> None:
    del first
    names = [name for name in table if name not in ("id", "category")]
    for row in table.to_dict("records"):
        content: dict[str, Any] = {"id": row["id"]} if row.get("id") else {}
        content["category"] = row["category"]
        content["probabilities"] = {str(name): round(row[name], DECIMALS) for name in names}
        file.write(json.dumps(content, ensure_ascii=False) + "\n")
    file.flush()
