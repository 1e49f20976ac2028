"""`data inspect`: counts, lengths, dates, cross-listing and duplicates of a file of papers."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from arxiv_hybrid.audit.inspection import inspect, render
from arxiv_hybrid.commands.terminal import note
from arxiv_hybrid.data.schema import check_papers
from arxiv_hybrid.params.schema import Columns
from arxiv_hybrid.sources.csv_source import load_csv
from arxiv_hybrid.sources.snapshot_scan import Window
from arxiv_hybrid.sources.snapshot_source import read_snapshot
from arxiv_hybrid.system.csv_rows import is_csv
from arxiv_hybrid.system.errors import UserError


def run(options: Namespace) -> None:
    """Print summary tables of a file of papers."""
    papers = read_papers(options.file, options.columns, options.label)
    print(render(inspect(papers, separator=options.separator)))


def read_papers(path: Path, columns: list[str], label: str | None) -> pd.DataFrame:
    """The rows of a CSV or a dump, checked.

    columns: names of columns, such as `title=Titel`. label: the column of labels. UserError for a
    dump with either of them.
    """
    if is_csv(path):
        return _read_csv(path, _columns(columns), label)
    if label or columns:
        raise UserError(f"{path}: a metadata dump has no columns; --label and --columns need a CSV")
    return _read_dump(path)


def _read_csv(path: Path, columns: Columns, label: str | None) -> pd.DataFrame:
    file = load_csv(path, option="FILE", columns=columns, label=label)
    check_papers(file.distinct(), str(path), without=file.without)
    if file.lost_zeros:
        note(str(file.lost_zeros))
    return file.papers


def _read_dump(path: Path) -> pd.DataFrame:
    selection = read_snapshot(
        path, categories=None, per_category=None, sample="newest", seed=0, window=Window(),
        option="FILE",
    )  # fmt: skip
    reasons = {
        "papers without text": selection.unreadable,
        "papers without a category": selection.uncategorized,
        "repeated lines": selection.repeated,
    }
    for reason, count in reasons.items():
        if count:
            note(f"{reason}, left out: {count:,}")
    if selection.lost_zeros:
        note(
            f"ids without the last zero: {selection.lost_zeros:,}, the first {selection.first_lost}"
        )
    if selection.unknown:
        first = selection.first_unknown
        note(f"unknown categories ignored: {selection.unknown:,}, the first {first}")
    return check_papers(selection.table(per_query=False), str(path))


def _columns(pairs: list[str]) -> Columns:
    names = dict(pair.partition("=")[::2] for pair in pairs)
    try:
        return Columns.model_validate(names)
    except ValidationError:
        roles = ", ".join(Columns.model_fields)
        raise UserError(
            f"--columns: expected pairs such as title=Titel; there are {roles}"
        ) from None
