"""The command line beside the pipeline: `python -m arxiv_hybrid --help`."""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from arxiv_hybrid.errors import UserError

NEXT_WORD = Path("examples/next_word/models/cnn_lstm")
BAR = 40  # characters of a probability of 1


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 on success, 2 and one line on a user's mistake."""
    parser = ArgumentParser(prog="python -m arxiv_hybrid")
    areas = parser.add_subparsers(required=True, metavar="data | next-word")
    data = areas.add_parser("data", help="look at papers").add_subparsers(required=True)
    command = data.add_parser("inspect", help="counts, lengths, dates, cross-listing, duplicates")
    command.add_argument("file", type=Path, help="a CSV of papers, plain or .gz")
    command.set_defaults(run=_inspect)
    command = areas.add_parser("next-word", help="guess the next word (examples/next_word)")
    command.add_argument("prefix", help="the words so far, in quotes")
    command.add_argument("--model", type=Path, default=NEXT_WORD, help=f"a folder ({NEXT_WORD})")
    command.add_argument("--top", type=int, default=5, help="how many guesses (5)")
    command.set_defaults(run=_next_word)
    chosen = parser.parse_args(arguments)
    try:
        chosen.run(chosen)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


# a command loads the libraries that it needs, not those of the others


def _inspect(chosen: Namespace) -> None:
    from arxiv_hybrid.data.csv_source import read_csv
    from arxiv_hybrid.data.inspection import inspect, render
    from arxiv_hybrid.data.schema import check_papers

    papers = check_papers(read_csv(chosen.file, key="FILE"), str(chosen.file))
    print(render(inspect(papers)))


def _next_word(chosen: Namespace) -> None:
    from arxiv_hybrid.scratch.next_word import load_model, predict_next

    if not chosen.model.is_dir():
        raise UserError(
            f"{chosen.model}: no model; make it with `dvc repro examples/next_word/dvc.yaml`"
        )
    guesses = predict_next(load_model(chosen.model), chosen.prefix.split(), max(1, chosen.top))
    width = max(len(word) for word, _ in guesses)
    for word, probability in guesses:
        print(f"{word:<{width}} {probability:6.1%} {'#' * round(BAR * probability)}".rstrip())


if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a word
    sys.exit(main())
