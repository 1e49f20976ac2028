"""Predictions for files of papers, of any size."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pandas as pd

from arxiv_hybrid.inference.checkpoint import CATEGORIES, CATEGORY, UNSURE, TextClassifier
from arxiv_hybrid.inference.records import STANDARD, is_json_lines, read_records
from arxiv_hybrid.system.cells import spreadsheet_safe
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import atomic
from arxiv_hybrid.system.identity import remove_leftovers_of
from arxiv_hybrid.system.nested import DECIMALS

CHUNK = 4096  # papers in memory at a time
_DESCRIPTOR = re.compile(  # such as the /dev/fd/63 of `--output >(gzip > out.csv.gz)`
    r"/dev/(?P<name>stdout|stderr)|/(?:dev|proc/self)/fd/(?P<number>\d{1,9})"
)


@dataclass
class Outcome:
    """The number of classified papers, and the problem of each skipped row."""

    papers: int = 0
    skipped: list[str] = field(default_factory=list)


def predict_file(
    classifier: TextClassifier,
    source: Path,
    target: Path,
    *,
    skip: bool = False,
    warn: Callable[[str], None] | None = None,
) -> Outcome:
    """Classify the papers of a file, in order, and write the results to another file.

    source: see `read_records`. target: a CSV or JSON lines, depending on its name; `-` is
    standard output. Each row has the id (if source has ids) and what `TextClassifier.classify` says
    of the paper; as JSON, categories are a list. A target file is replaced only when all papers are
    classified; a pipe or a device is written into, chunk by chunk.

    skip: skip unreadable rows and pass the problem of each to `warn`. Otherwise the first one
    raises UserError, as does a file without papers.
    """
    outcome = Outcome()

    def on_bad_row(problem: str) -> None:
        if not skip:
            raise UserError(f"{problem}; use --bad-rows skip to skip such rows")
        outcome.skipped.append(problem)
        if warn:
            warn(problem)

    with _open_target(target) as file:
        chunks = read_records(source, CHUNK, key="--input", on_bad_row=on_bad_row)
        write = _write_json_lines if is_json_lines(target) else _write_csv
        for number, table in enumerate(classify_chunks(classifier, chunks)):
            write(file, table, first=number == 0)
            outcome.papers += len(table)
        if not outcome.papers:
            problem = f"; the first problem: {outcome.skipped[0]}" if outcome.skipped else ""
            raise UserError(f"{source}: contains no papers{problem}")
    return outcome


def classify_chunks(
    classifier: TextClassifier, chunks: Iterable[pd.DataFrame]
) -> Iterator[pd.DataFrame]:
    """For each chunk of papers, id (if there is one) and what `TextClassifier.classify` says."""
    for papers in chunks:
        table = classifier.classify(papers)
        if "id" in papers:
            table.insert(0, "id", papers["id"].tolist())
        yield table


@contextmanager
def _open_target(target: Path) -> Iterator[IO[str]]:
    if target == STANDARD:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # JSON is UTF-8, whatever the terminal uses
        yield sys.stdout
        return
    options: dict[str, Any] = {"mode": "wt", "encoding": "utf-8", "newline": ""}
    if match := _DESCRIPTOR.fullmatch(str(target)):
        with open(_duplicate(target, match), **options) as file:
            yield file
        return
    opener = gzip.open if target.suffix == ".gz" else open
    remove_leftovers_of(target)
    with atomic(target) as temporary, opener(temporary, **options) as file:
        yield file


def writes_to_standard_output(target: Path) -> bool:
    """Whether a target is standard output under any of its names."""
    match = _DESCRIPTOR.fullmatch(str(target))
    return target == STANDARD or bool(match and _number(match) == 1)


def _number(match: re.Match[str]) -> int:
    return int(match["number"] or {"stdout": 1, "stderr": 2}[match["name"]])


def _duplicate(target: Path, match: re.Match[str]) -> int:
    """A copy of an open descriptor: writing goes on where it is, as `>>` needs."""
    try:
        return os.dup(_number(match))
    except OSError as error:
        error.filename = str(target)
        raise


def _write_csv(file: IO[str], table: pd.DataFrame, *, first: bool) -> None:
    spreadsheet_safe(table).to_csv(file, index=False, header=first, float_format=f"%.{DECIMALS}f")


def _write_json_lines(file: IO[str], table: pd.DataFrame, *, first: bool) -> None:
    del first
    others = [name for name in ("id", CATEGORY, CATEGORIES, UNSURE) if name in table]
    probabilities = table.drop(columns=others).round(DECIMALS).to_dict("records")
    for row, shares in zip(table[others].to_dict("records"), probabilities, strict=True):
        content: dict[str, Any] = {"id": row["id"]} if row.get("id") else {}
        content[CATEGORY] = row[CATEGORY]
        if CATEGORIES in row:
            content[CATEGORIES] = row[CATEGORIES].split(";")
        content[UNSURE] = row[UNSURE]
        content["probabilities"] = shares
        file.write(json.dumps(content, ensure_ascii=False) + "\n")
    file.flush()
