"""The command line beside the pipeline: `python -m arxiv_hybrid --help`."""

from __future__ import annotations

import signal
import sys
from argparse import (
    ArgumentParser,
    ArgumentTypeError,
    RawDescriptionHelpFormatter,
    _SubParsersAction,
)
from pathlib import Path

import shtab

from arxiv_hybrid import __version__, commands
from arxiv_hybrid.system.errors import UserError

MODEL, PAPERS = Path("models/main"), Path("data/raw/papers.csv")
EXPLAINED = Path("reports/explained")
NEXT_WORD = Path("examples/next_word/models/cnn_lstm")
SURE = 0.5

EXAMPLES = """\
examples:
  python -m arxiv_hybrid predict --title "Speech recognition" --abstract "We present a corpus ..."
  python -m arxiv_hybrid predict --input papers.csv --output predictions.csv
  python -m arxiv_hybrid explain --id 2511.00001
  python -m arxiv_hybrid data inspect papers.csv
"""
PREDICT = """\
examples:
  one paper:       predict --title "Speech recognition" --abstract "We present a corpus ..."
  a file:          predict --input papers.csv --output predictions.csv
  JSON lines:      predict --input papers.jsonl --output - | jq .category
  from a pipe:     cat papers.jsonl | python -m arxiv_hybrid predict --input - --output -
  damaged rows:    predict --input papers.csv --output predictions.csv --bad-rows skip

A CSV needs the columns title and abstract, an object of JSON lines the keys; an id is kept. `.gz`
is read as it is. The output is written whole or not at all.
"""
EXPLAIN = """\
examples:
  explain --id 2511.00001
  explain --title "Speech recognition" --abstract "We present a corpus ..."
"""


def parser() -> ArgumentParser:
    """All commands and options."""
    name = "arxiv-hybrid" if Path(sys.argv[0]).name == "arxiv-hybrid" else "python -m arxiv_hybrid"
    root = _Parser(prog=name, description="Classify arXiv papers.",
                   epilog=EXAMPLES)  # fmt: skip
    root.add_argument("--version", action="version", version=__version__)
    shtab.add_argument_to(root, "--print-completion", help="completion for a shell, to be sourced")
    areas = root.add_subparsers(required=True, metavar="data | predict | explain | next-word",
                                parser_class=_Parser)  # fmt: skip
    data = areas.add_parser("data", help="look at papers").add_subparsers(required=True)
    command = data.add_parser("inspect", help="counts, lengths, dates, cross-listing, duplicates")
    _path(command, "file", "a CSV of papers, plain or .gz")
    command.set_defaults(run=commands.inspect)
    _add_predict(areas)
    _add_explain(areas)
    command = areas.add_parser("next-word", help="guess the next word (examples/next_word)")
    command.add_argument("prefix", help="the words so far, in quotes")
    _path(command, "--model", f"a folder ({NEXT_WORD})", NEXT_WORD)
    command.add_argument("--top", type=_count, default=5, help="how many guesses (5)")
    command.add_argument("--json", action="store_true", help="print them as JSON")
    command.set_defaults(run=commands.next_word)
    return root


def _add_predict(areas: _SubParsersAction[_Parser]) -> None:
    command = areas.add_parser(
        "predict", help="classify one paper, or a file of any size", epilog=PREDICT
    )
    command.add_argument("--title", default="", help="a paper's title")
    command.add_argument("--abstract", default="", help="and its abstract")
    command.add_argument("--json", action="store_true", help="print the paper's result as JSON")
    command.add_argument(
        "--sure", type=_share, default=SURE, help=f"less than this is 'unsure' ({SURE})"
    )
    _path(command, "--input", "or papers: .csv, .jsonl, either as .gz; - reads JSON lines")
    _path(command, "--output", "and the .csv or .jsonl that is written; - prints JSON lines")
    command.add_argument(
        "--bad-rows",
        choices=("stop", "skip"),
        default="stop",
        help="a row that cannot be read ends it (stop), or is told and left out (skip)",
    )
    _path(command, "--model", f"a folder ({MODEL})", MODEL)
    command.set_defaults(run=commands.predict)


def _add_explain(areas: _SubParsersAction[_Parser]) -> None:
    command = areas.add_parser(
        "explain", help="where the model looks, for some papers: a page", epilog=EXPLAIN
    )
    command.add_argument("--id", nargs="+", default=[], help="papers of the data set")
    command.add_argument("--title", default="", help="or a text of your own")
    command.add_argument("--abstract", default="")
    command.add_argument("--json", action="store_true", help="print each result as JSON")
    _path(command, "--model", f"a folder ({MODEL})", MODEL)
    _path(command, "--papers", f"the data set ({PAPERS})", PAPERS)
    _path(command, "--output", f"a folder ({EXPLAINED})", EXPLAINED)
    command.set_defaults(run=commands.explain)


class _Parser(ArgumentParser):
    """A parser that leaves the lines of its examples as they are."""

    def __init__(self, **arguments: object) -> None:
        super().__init__(formatter_class=RawDescriptionHelpFormatter, **arguments)  # type: ignore[arg-type]


def _path(command: ArgumentParser, name: str, text: str, default: Path | None = None) -> None:
    added = command.add_argument(name, type=Path, help=text, default=default)
    added.complete = shtab.FILE  # type: ignore[attr-defined]


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 on success, 2 and one line on a user's mistake."""
    chosen = parser().parse_args(arguments)
    try:
        chosen.run(chosen)
    except UserError as error:
        return _refused(str(error))
    except OSError as error:
        return _refused(f"{error.filename or 'a file'}: {error.strerror or error}")
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return share


def _refused(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def command() -> int:
    """What the installed program `arxiv-hybrid` runs."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a word
    return main()


if __name__ == "__main__":
    sys.exit(command())
