"""`experiments`: one line for each experiment, to compare them."""

from __future__ import annotations

import csv
import sys
import textwrap
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from arxiv_hybrid.commands import runs
from arxiv_hybrid.commands.runs import WORKSPACE, Listed
from arxiv_hybrid.commands.terminal import note
from arxiv_hybrid.evaluation.measures import shown_measures
from arxiv_hybrid.evaluation.metrics import compare_correct
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.git import git

WIDTH = 120  # of the table, in characters
SAMPLING: dict[str, Any] = {"samples": 2000, "confidence": 0.95, "seed": 42}  # of differences
COLUMNS = ("name", "state", "changed", "measure", "score", "low", "high", "macro_f1", "ensemble",
           "linear", "difference", "difference_low", "difference_high", "p", "note")  # fmt: skip
_NAME_WIDTH = 24


@dataclass
class Row:
    """A line of the table: scores are shares, None if there are none.

    interval: of the score. validation: the score on validation papers, if there is none on test
    papers, as for the trials of a search. difference: the result of `compare_correct` with the
    chosen run. note: why the run has no scores, or no difference.
    """

    name: str
    state: str
    changes: list[str]
    measure: str = ""
    score: float | None = None
    interval: tuple[float | None, float | None] = (None, None)
    macro_f1: float | None = None
    ensemble: float | None = None
    linear: float | None = None
    validation: float | None = None
    difference: dict[str, Any] = field(default_factory=dict)
    note: str = ""


def run(options: Namespace) -> None:
    """Print the table; UserError if DVC cannot list experiments, or the chosen run is unknown."""
    from dvc.repo import Repo

    listed = _without_repetition(runs.list_runs(every_commit=options.all))
    chosen = _choose(listed, options.against)
    rows = [_row(each) for each in listed]
    with Repo() as repo:
        predictions = [
            runs.cached(repo.cache.local.oid_to_path, each.run) if row.score is not None else ""
            for each, row in zip(listed, rows, strict=True)
        ]
    for row, theirs in zip(rows, predictions, strict=True):
        _compare(row, theirs, predictions[chosen])
    against = rows[chosen].name
    order = sorted(rows, key=lambda row: -1.0 if row.score is None else row.score, reverse=True)
    {"table": print_table, "markdown": print_markdown, "csv": print_csv}[options.format](
        order, against
    )


def _without_repetition(listed: list[Listed]) -> list[Listed]:
    """Without the workspace if it holds the same run as another line."""
    workspace = next((each for each in listed if each.name == WORKSPACE), None)
    if workspace is None:
        return listed
    others = [each for each in listed if each is not workspace]
    if any(not runs.changes(each.run, workspace.run) for each in others if each.run.finished):
        return others
    return listed


def _choose(listed: list[Listed], name: str) -> int:
    """The number of the run with a name; HEAD is the commit that is checked out."""
    names = [each.name for each in listed]
    if name == "HEAD":
        head = git(Path.cwd(), "rev-parse", "HEAD")
        return next(n for n, each in enumerate(listed) if each.run.revision == head)
    if name not in names:
        raise UserError(f"--against: no {name!r}; choose from HEAD, {', '.join(names)}")
    return names.index(name)


def _row(listed: Listed) -> Row:
    changed = runs.changes(listed.baseline, listed.run) if listed.baseline else []
    row = Row(listed.name, listed.state, changed)
    if listed.state == "failed":
        row.note = runs.failure(listed.log)
    if listed.state != "finished":
        return row
    report, linear, votes = map(listed.run.metrics, ("evaluate", "baseline", "ensemble"))
    if not report:
        row.note = "stage evaluate did not run with these parameters and data"
        train = listed.run.metrics("train")
        row.validation = train.get("val_accuracy", train.get("val_precision_at_1"))
        return row
    main, heading = next(iter(shown_measures(report).items()))
    row.measure, row.score = heading, report[main]
    low, high = report.get(f"{main}_interval", (None, None))
    row.interval = low, high
    row.macro_f1, row.linear, row.ensemble = (
        report.get("macro_f1"), linear.get(main), votes.get(main)
    )  # fmt: skip
    return row


def _compare(row: Row, ours: pd.DataFrame | str, chosen: pd.DataFrame | str) -> None:
    """Set the paired difference of a row to the chosen run, or note why there is none."""
    if row.score is None:
        return
    if isinstance(chosen, str):
        row.note = f"no p: of the chosen run, {chosen or 'which has no scores'}"
    elif isinstance(ours, str):
        row.note = f"no p: {ours}"
    elif not ours[["id", "actual"]].equals(chosen[["id", "actual"]]):
        row.note = f"no p: other test papers or labels ({len(ours):,} papers, {len(chosen):,})"
    else:
        row.difference = compare_correct(
            ours["correct"].to_numpy(dtype=bool), chosen["correct"].to_numpy(dtype=bool), **SAMPLING
        )


def print_table(rows: list[Row], against: str) -> None:
    """Print lines of at most `WIDTH` characters; changes continue below."""
    measures = sorted({row.measure for row in rows if row.measure}) or ["accuracy"]
    headings = ["experiment", "changed", " / ".join(measures), "macro-F1", "ensemble", "linear",
                "diff.", "p"]  # fmt: skip
    cells = [_cells(row, against) for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    widths[0] = min(widths[0], _NAME_WIDTH)
    widths[1] = WIDTH - sum(widths) + widths[1] - 2 * (len(widths) - 1)
    for line in [headings, *cells]:
        parts = [textwrap.wrap(line[i], widths[i]) or [""] for i in (0, 1)]
        for number in range(max(map(len, parts))):
            left = [part[number] if number < len(part) else "" for part in parts]
            rest = line[2:] if number == 0 else []
            texts = [f"{text:<{width}}" for text, width in zip(left, widths, strict=False)]
            texts += [f"{text:>{width}}" for text, width in zip(rest, widths[2:], strict=False)]
            print("  ".join(texts).rstrip())
        if line is headings:
            print("-" * WIDTH)
    print(f"\ndiff. and p: against {against}, on the same test papers (exact McNemar test)")
    for text, names in _notes(rows).items():
        print(textwrap.fill(f"{', '.join(names)}: {text}", WIDTH, subsequent_indent="  "))


def _notes(rows: list[Row]) -> dict[str, list[str]]:
    """The names of the runs by their note."""
    notes: dict[str, list[str]] = {}
    for row in rows:
        if row.note:
            notes.setdefault(row.note, []).append(row.name)
    return notes


def _cells(row: Row, against: str) -> list[str]:
    """Changes, scores with intervals, and the difference, as a person reads them."""
    low, high = row.interval
    score = _percent(row.score)
    if low is not None and high is not None:
        score += f" ({_percent(low)} to {_percent(high)})"
    gain, p = row.difference.get("gain"), row.difference.get("p_value")
    compared = ["", ""] if gain is None else [f"{100 * gain:+.1f}", _p(p)]
    if row.name == against:
        compared = ["", ""]
    state = row.state if row.state != "finished" else "no scores"
    if row.validation is not None:
        state = f"validation {_percent(row.validation)}"
    others = map(_percent, (row.macro_f1, row.ensemble, row.linear))
    return [row.name, ", ".join(row.changes) or "-", score or state, *others, *compared]


def print_markdown(rows: list[Row], against: str) -> None:
    """Print a table in Markdown, with the changes in one cell."""
    measures = sorted({row.measure for row in rows if row.measure}) or ["accuracy"]
    print(f"| experiment | changed | {' / '.join(measures)} | macro-F1 | ensemble | linear "
          f"| against {against} | p |")  # fmt: skip
    print("|---|---|" + "---:|" * 6)
    for row in rows:
        print("| " + " | ".join(cell.replace("|", "\\|") for cell in _cells(row, against)) + " |")
    for text, names in _notes(rows).items():
        note(f"{', '.join(names)}: {text}")


def print_csv(rows: list[Row], against: str) -> None:
    """Print one line per run with `COLUMNS`; shares have all digits."""
    del against
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        interval = row.difference.get("gain_interval", (None, None))
        writer.writerow(
            [row.name, row.state, ", ".join(row.changes), row.measure, row.score, *row.interval,
             row.macro_f1, row.ensemble, row.linear, row.difference.get("gain"), *interval,
             row.difference.get("p_value"), row.note]
        )  # fmt: skip


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return "<0.0001" if value < 0.0001 else f"{value:.2g}"
