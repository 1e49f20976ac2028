"""Reading a library of papers for `embed` and `similar`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator

import pandas as pd

from arxiv_hybrid.commands.terminal import note
from arxiv_hybrid.inference.predict_file import CHUNK
from arxiv_hybrid.inference.records import read_records
from arxiv_hybrid.system.errors import UserError


def chunks_of(options: Namespace, skipped: list[str]) -> Iterator[pd.DataFrame]:
    """Tables of the papers of `options.input`; UserError if it has none.

    The problem of each unreadable row is added to `skipped`, and raised unless `options.bad_rows`
    is `skip`.
    """

    def on_bad_row(problem: str) -> None:
        if options.bad_rows != "skip":
            raise UserError(f"{problem}; use --bad-rows skip to skip such rows")
        skipped.append(problem)
        note(f"skipped: {problem}")

    read = 0
    for papers in read_records(options.input, CHUNK, key="--input", on_bad_row=on_bad_row):
        read += len(papers)
        yield papers
    if not read:
        problem = f"; the first problem: {skipped[0]}" if skipped else ""
        raise UserError(f"{options.input}: contains no papers{problem}")


def counted(number: int, noun: str) -> str:
    """`1 paper`, `2,000 papers`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
