"""The command line beside the pipeline: `python -m arxiv_hybrid data inspect FILE`."""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser
from pathlib import Path

from arxiv_hybrid.data.csv_source import read_csv
from arxiv_hybrid.data.inspection import inspect, render
from arxiv_hybrid.data.schema import check_papers
from arxiv_hybrid.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 on success, 2 and one line on a user's mistake."""
    parser = ArgumentParser(prog="python -m arxiv_hybrid")
    areas = parser.add_subparsers(required=True, metavar="data")
    data = areas.add_parser("data", help="look at papers").add_subparsers(required=True)
    command = data.add_parser("inspect", help="counts, lengths, dates, cross-listing, duplicates")
    command.add_argument("file", type=Path, help="a CSV of papers, plain or .gz")
    chosen = parser.parse_args(arguments)
    try:
        papers = check_papers(read_csv(chosen.file, key="FILE"), str(chosen.file))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(render(inspect(papers)))
    return 0


if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a word
    sys.exit(main())
