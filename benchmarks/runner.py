"""Running and tabulating benchmarks: options, timing, Markdown tables, and resumable runs.

accuracy.py and experiments.py plan their runs and say how to execute one. `make_table` executes
the runs without a stored result, stores each result at once and prints the table, so the same
command continues after an interruption.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from filelock import FileLock

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import user_file, write_csv, write_text
from arxiv_hybrid.system.ticker import pulse

ROOT = Path(__file__).resolve().parents[1]
STOPPED = "stopped; run the same command again to continue"


def new_parser(docstring: str | None) -> argparse.ArgumentParser:
    """A parser described by the first line of a script's docstring."""
    return argparse.ArgumentParser(description=(docstring or "").splitlines()[0])


def existing_path(value: str, option: str) -> Path:
    """The path given to an option, relative to the repository's root; UserError if missing."""
    path = user_file(ROOT, value)
    if not path.exists():
        raise UserError(f"{path}: no such file (--{option})")
    return path


def select(value: str, allowed: Sequence[str], option: str) -> list[str]:
    """The names in a comma-separated list, each once; all of them if the list is empty."""
    names = list(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
    if unknown := [name for name in names if name not in allowed]:
        raise UserError(f"--{option}: no {unknown[0]!r}; choose from {', '.join(allowed)}")
    return names or list(allowed)


class Stopwatch:
    """Measures the `seconds` of a `with` block."""

    def __enter__(self) -> "Stopwatch":
        self.started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self.started


def shortest(action: Callable[[], object], repeats: int = 3) -> float:
    """The shortest duration of several calls in seconds."""
    durations = []
    for _ in range(repeats):
        with Stopwatch() as watch:
            action()
        durations.append(watch.seconds)
    return min(durations)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    lines.insert(1, "|---" * len(header) + "|")
    return "\n".join(lines)


class Speed(NamedTuple):
    """A line of a table of speeds; `aim` is the project's target."""

    what: str
    measured: str
    reference: str = ""
    ratio: float | None = None
    aim: str = ""


def print_speeds(speeds: Iterable[Speed], title: str = "") -> None:
    """Report each measurement on stderr at once, then print the table of all."""
    rows = []
    with pulse("measuring", first=10, quiet=sys.stderr.isatty()):
        for speed in speeds:
            print(f"  {speed.what}: {speed.measured}", file=sys.stderr, flush=True)
            ratio = "" if speed.ratio is None else f"{speed.ratio:.1f}"
            rows.append([speed.what, speed.measured, speed.reference, ratio, speed.aim])
    table = markdown(["what", "measured", "reference", "ratio", "aim"], rows)
    print(*filter(None, (title, table)), sep="\n\n")


def percent(values: pd.Series, *, count: bool = False) -> str:
    """Mean in percent, with the standard deviation of several values; "" if there are none.

    count: also show how many values there are.
    """
    values = values.dropna() * 100
    if len(values) < 2:
        return "".join(f"{value:.1f}" for value in values)
    number = f" ({len(values)})" if count else ""
    return f"{values.mean():.1f} ± {values.std():.1f}{number}"


def digest(content: object) -> str:
    """Eight hexadecimal digits of the SHA-256 of JSON content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Results:
    """A CSV with one row for each finished run; the column `key` has the run's name."""

    path: Path
    key: str

    def read(self) -> pd.DataFrame:
        """All results; the last row wins if a name occurs twice, as after a merge.

        Raises UserError if the file is not a CSV or has no column `key`.
        """
        if not self.path.is_file():
            return pd.DataFrame(columns=[self.key])
        try:
            table = pd.read_csv(self.path)
        except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
            raise UserError(f"{self.path}: not a valid CSV: {error}") from None
        if self.key not in table:
            raise UserError(f"{self.path}: no column {self.key}")
        return table.drop_duplicates(self.key, keep="last", ignore_index=True)

    def add(self, row: Mapping[str, Any]) -> None:
        """Store one result; other processes may add to the same file at the same time."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock")):
            stored = [self.read()] if self.path.is_file() else []
            write_csv(self.path, pd.concat([*stored, pd.DataFrame([row])], ignore_index=True))


def make_table(
    runs: Sequence[Any],
    results: Results,
    execute: Callable[[Any], Mapping[str, Any]],
    tabulate: Callable[[pd.DataFrame], str],
    *,
    save_as: Path | None,
    dry_run: bool,
) -> int:
    """Execute the runs without a result, then print the table of all that are finished.

    runs: experiments whose `name` changes with everything that their result depends on.
    save_as: also write the table there. dry_run: only print the names of the missing runs.
    Returns the exit status: 1 if the command of a run failed, else 0.
    """
    stored = set(results.read()[results.key])
    missing = [run for run in runs if run.name not in stored]
    print(f"{len(runs)} runs, {len(runs) - len(missing)} already finished", flush=True)
    if dry_run:
        print("\n".join(run.name for run in missing))
        return 0
    failed = []
    for number, run in enumerate(missing, 1):
        print(f"[{number}/{len(missing)}] {run.name}", flush=True)
        try:
            results.add(execute(run))
        except subprocess.CalledProcessError as error:
            print(f"{run.name}: {error}", file=sys.stderr, flush=True)
            failed.append(run.name)
    finished = results.read()
    finished = finished[finished[results.key].isin([run.name for run in runs])]
    if len(finished):
        table = tabulate(finished)
        print(table)
        if save_as:
            write_text(save_as, table + "\n")
    if failed:
        print(f"{len(failed)} failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0
