"""The command line: `python -m arxiv_hybrid --help`."""

from __future__ import annotations

import gc
import signal
import sys
from argparse import (
    Action,
    ArgumentParser,
    ArgumentTypeError,
    RawDescriptionHelpFormatter,
    _SubParsersAction,
)
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arxiv_hybrid import __version__
from arxiv_hybrid.paths import DAILY, EXPLAINED, MODEL, NEXT_WORD_MODEL, PAPERS, REVIEW
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.process import prepare_process
from arxiv_hybrid.system.redaction import redact

if TYPE_CHECKING:
    Commands = _SubParsersAction["_Parser"]

SURE_THRESHOLD = 0.5
ANSWERS = f"a model folder, such as {MODEL} (the shipped model, or {MODEL} if there is none)"
PAPERS_FILE = "a file of papers: .csv or .jsonl, also .gz; - reads JSON lines"
PAPERS_TABLE = "a .csv or .tsv of papers, also .gz, or a metadata dump"
HOST, PORT, UI_PORT = "127.0.0.1", 5001, 5000
_PIPELINE = "'arxiv-hybrid[pipeline]'"
# what to install for a command, if it is not that
INSTALLED_BY = {
    **dict.fromkeys(("predict", "similar", "embed", "next_word"), "arxiv-hybrid"),
    "inspect_data": "'arxiv-hybrid[train]'",
    "serve": "'arxiv-hybrid[serve]'",
}

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
  the last run:    predict --input papers.csv --output predictions.csv --model models/main

A CSV needs the columns title and abstract, a JSON object the keys title and abstract. An id is
optional and copied to the output. Files may be compressed as .gz. The output file is replaced
only when all papers are classified; a pipe or a device is written into.

A paper is unsure if it is unlike the papers that the model was trained on. One paper is also unsure
below --sure.
"""
SIMILAR = """\
examples:
  similar --input library.csv --title "Speech recognition" --abstract "We present a corpus ..."
  similar --input library.csv --vectors vectors.npy --title "Speech recognition" --top 20

Similarities are cosines: 1 for the same text. Give the vectors of a library that is asked often.
"""
EMBED = """\
examples:
  embed --input papers.csv --output vectors.npy

Row i of the array is the vector of paper i, of length 1; skipped rows have none. The file beside it
(vectors.npy.json) says of which papers and of which model the vectors are.
"""
EXPLAIN = """\
examples:
  explain --id 2511.00001
  explain --title "Speech recognition" --abstract "We present a corpus ..."
"""
DATA_LABELS = """\
examples:
  data labels
  data labels papers.csv --label subject --output review.csv

Without FILE, the papers of the last run. The table has all papers, the most doubtful label first,
and a probability for each class, by models that have not learned from that paper or a copy of it.
"""
EXPERIMENTS = """\
examples:
  experiments
  experiments --against gentle
  experiments --all --format csv

Lists the workspace, the last commit and its experiments, the best first. `changed` has the values
in force that differ from the commit that an experiment started from.
"""
PLOTS = """\
examples:
  plots
  plots gentle
  plots HEAD gentle heavier

Without arguments, the workspace beside the last commit; one revision is shown beside the workspace.
"""
SEARCH = """\
examples:
  search --trials 50 --space space.yaml
  search --trials 50 --space space.yaml -S fetch.source=csv -S fetch.path=papers.csv
  search --trials 50 --space space.yaml --storage postgresql+psycopg://team@db-host/sweeps

The space file has a range or a list of values for each parameter to try:

  dropout: {low: 0.2, high: 0.7}
  learning_rate: {low: 0.0003, high: 0.003, log: true}
  batch_size: [32, 64, 128]

Each trial is an experiment of DVC up to stage train; the best validation score counts. --trials is
the total of all workers: the same command continues, and more of them share the work. With
--storage they run on any number of machines; the password comes from PGPASSWORD.
"""
UPDATE = """\
examples:
  update
  update --since 2026-11-01
  update --retrain

Fetches the papers of fetch.categories (or of labels.classes) that were submitted since a week
before the last run, and adds them to papers.jsonl, each once. New papers are classified; then the
last 7 and 28 days are compared with the model's own test. A run that was stopped continues.

Without --model, the registered champion classifies, else models/main, else the shipped model.
--retrain also trains on all papers so far, as an experiment; the new model becomes the champion if
it beats it on the same papers.

Exit codes: 0 done, 1 done with an alarm, 2 a mistake or a failure; nothing is lost.
"""
SERVE = """\
examples:
  serve
  serve --model models/main --workers 2
  serve --host 0.0.0.0 --port 8080

Without --model, it serves the registered champion (tracking.register_as), else models/main, the
model of this workspace's last run, else the shipped model. The first lines say which model that is,
where it comes from, how accurate it is, and the address of the page for people.

Programs use POST /invocations, MLflow's protocol. GET /health tells model and load.
"""


def parser() -> ArgumentParser:
    """All commands and options; `options.command` names a module of `commands`."""
    name = "arxiv-hybrid" if Path(sys.argv[0]).name == "arxiv-hybrid" else "python -m arxiv_hybrid"
    root = _Parser(prog=name, description="Classify arXiv papers.", epilog=EXAMPLES)
    root.add_argument("--version", action="version", version=__version__)
    root.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        metavar="SHELL",
        help="print a completion script for this shell, such as bash",
    )
    commands = root.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    _add_predict(commands)
    _add_similar(commands)
    _add_explain(commands)
    _add_data(commands)
    _add_run_commands(commands)
    _add_next_word(commands)
    return root


class _PrintCompletion(Action):
    """Prints a completion script and ends; shtab makes it, if it is installed."""

    def __call__(self, parser: ArgumentParser, _: object, shell: Any, *__: object) -> None:
        try:
            import shtab
        except ModuleNotFoundError:
            parser.error(
                "--print-completion needs shtab, which is not installed; run `pip install "
                "'arxiv-hybrid[completion]'`"
            )
        if shell not in shtab.SUPPORTED_SHELLS:
            parser.error(f"--print-completion: choose from {', '.join(shtab.SUPPORTED_SHELLS)}")
        _complete_paths(parser, shtab.FILE)
        print(shtab.complete(parser, shell))
        parser.exit()


def _complete_paths(parser: ArgumentParser, files: object) -> None:
    """Mark the options of a parser, and of its commands, that are completed with files."""
    for action in parser._actions:
        if action.type is Path:
            action.complete = files  # type: ignore[attr-defined]
        if isinstance(action, _SubParsersAction):
            for command in action.choices.values():
                _complete_paths(command, files)


def _add_predict(commands: Commands) -> None:
    command = commands.add_parser(
        "predict", help="classify one paper, or a file of any size", epilog=PREDICT
    )
    command.add_argument("--title", default="", help="the title of one paper")
    command.add_argument("--abstract", default="", help="its abstract")
    command.add_argument("--json", action="store_true", help="print that paper's result as JSON")
    command.add_argument(
        "--sure",
        type=_probability,
        default=SURE_THRESHOLD,
        help=f"call a prediction unsure below this probability ({SURE_THRESHOLD})",
    )
    _add_path(command, "--input", PAPERS_FILE)
    _add_path(command, "--output", "the .csv or .jsonl to write, also .gz; - prints JSON lines")
    _add_reading(command)
    command.set_defaults(command="predict")


def _add_similar(commands: Commands) -> None:
    command = commands.add_parser(
        "similar", help="find the papers of a file that are most like one", epilog=SIMILAR
    )
    _add_path(command, "--input", f"the library, {PAPERS_FILE}", required=True)
    command.add_argument("--title", default="", help="the title of the paper to compare with")
    command.add_argument("--abstract", default="", help="its abstract")
    command.add_argument("--top", type=_positive, default=10, help="the number of papers (10)")
    command.add_argument("--json", action="store_true", help="print the papers as JSON")
    _add_path(command, "--vectors", "the library's vectors, which embed wrote; else computed")
    _add_reading(command)
    command.set_defaults(command="similar")
    command = commands.add_parser(
        "embed", help="write a vector for each paper of a file", epilog=EMBED
    )
    _add_path(command, "--input", PAPERS_FILE, required=True)
    _add_path(command, "--output", "the .npy to write", required=True)
    _add_reading(command)
    command.set_defaults(command="embed")


def _add_reading(command: ArgumentParser) -> None:
    """Options of commands that read a file of papers with a model."""
    command.add_argument(
        "--bad-rows",
        choices=("stop", "skip"),
        default="stop",
        help="on an unreadable row: stop with an error (the default), or report and skip it",
    )
    _add_path(command, "--model", ANSWERS)


def _add_explain(commands: Commands) -> None:
    command = commands.add_parser(
        "explain", help="write pages that show the attention to each word", epilog=EXPLAIN
    )
    command.add_argument("--id", nargs="+", default=[], help="ids of papers in the data set")
    command.add_argument("--title", default="", help="or the title of another paper")
    command.add_argument("--abstract", default="", help="and its abstract")
    command.add_argument("--json", action="store_true", help="print each result as JSON")
    _add_path(command, "--model", f"a model folder ({MODEL})", MODEL)
    _add_path(command, "--papers", f"the data set ({PAPERS})", PAPERS)
    _add_path(command, "--output", f"the folder for the pages ({EXPLAINED})", EXPLAINED)
    command.set_defaults(command="explain")


def _add_data(commands: Commands) -> None:
    data = commands.add_parser("data", help="look at papers and their labels")
    commands = data.add_subparsers(required=True)
    command = commands.add_parser(
        "inspect", help="print counts, lengths, dates, cross-listing and duplicates"
    )
    _add_path(command, "file", PAPERS_TABLE)
    _add_columns(command)
    command.set_defaults(command="inspect_data")
    command = commands.add_parser(
        "labels", help="write a table of labels to look at again", epilog=DATA_LABELS
    )
    command.add_argument("file", type=Path, nargs="?", help=PAPERS_TABLE)
    _add_columns(command)
    _add_path(command, "--output", f"the .csv to write ({REVIEW})", REVIEW)
    command.set_defaults(command="labels")


def _add_columns(command: ArgumentParser) -> None:
    """Options of commands that read labels from a table."""
    command.add_argument("--label", metavar="COLUMN", help="a column of labels of your own")
    command.add_argument("--separator", help="what separates several labels in a cell")
    command.add_argument(
        "--columns", nargs="+", default=[], metavar="WHAT=NAME",
        help="names of other columns: title=Titel abstract=Text",
    )  # fmt: skip


def _add_run_commands(commands: Commands) -> None:
    """Commands about the last run of the pipeline; they must start in the repository."""
    command = commands.add_parser("summary", help="print the scores of the last run")
    command.set_defaults(command="summary")
    command = commands.add_parser("report", help="write the last run to reports/index.html")
    command.set_defaults(command="report")
    command = commands.add_parser(
        "experiments", help="compare experiments in one table", epilog=EXPERIMENTS
    )
    command.add_argument(
        "--against", metavar="NAME", default="HEAD", help="the run to compare with (HEAD)"
    )
    command.add_argument("--all", action="store_true", help="experiments of every commit")
    command.add_argument(
        "--format",
        choices=("table", "markdown", "csv"),
        default="table",
        help="how to print (table)",
    )
    command.set_defaults(command="experiments")
    _add_search(commands)
    command = commands.add_parser(
        "plots", help="write the plots of experiments to reports/plots.html", epilog=PLOTS
    )
    command.add_argument("revisions", nargs="*", metavar="REVISION", help="experiments or commits")
    command.set_defaults(command="plots")
    command = commands.add_parser(
        "serve", help="serve a model over HTTP, with a page for people", epilog=SERVE
    )
    command.add_argument("--host", default=HOST, help=f"the address to listen on ({HOST})")
    command.add_argument("--port", type=int, default=PORT, help=f"the port ({PORT})")
    _add_path(command, "--model", "a model folder, champion or shipped (see below)")
    command.add_argument(
        "--workers", type=_positive, default=1, help="processes that share the cores (1)"
    )
    command.set_defaults(command="serve")
    _add_update(commands)
    command = commands.add_parser("ui", help="show the runs in MLflow")
    command.add_argument("--host", default=HOST, help=f"the address to listen on ({HOST})")
    command.add_argument("--port", type=int, default=UI_PORT, help=f"the port ({UI_PORT})")
    command.set_defaults(command="ui")


def _add_update(commands: Commands) -> None:
    command = commands.add_parser(
        "update", help="fetch and classify arXiv's new papers, and check the model", epilog=UPDATE
    )
    _add_path(command, "--store", f"the folder of the papers ({DAILY})", DAILY)
    _add_path(command, "--model", "a model folder, champion or shipped (see below)")
    command.add_argument(
        "--since", type=_day, metavar="DATE",
        help="fetch from this day on, as 2026-11-01 (a week before the last run)",
    )  # fmt: skip
    command.add_argument(
        "--retrain", action="store_true", help="train on all papers, and challenge the champion"
    )
    command.set_defaults(command="update")


def _add_search(commands: Commands) -> None:
    command = commands.add_parser(
        "search", help="search for good parameters with Optuna", epilog=SEARCH
    )
    _add_path(command, "--space", "the YAML file of what to try (see below)", required=True)
    command.add_argument(
        "--trials", type=_positive, required=True, help="how many, over all workers and starts"
    )
    command.add_argument(
        "-S", "--set-param", action="append", default=[], metavar="NAME=VALUE",
        help="a parameter of all trials",
    )  # fmt: skip
    command.add_argument("--study", metavar="NAME", help="its name (that of the space file)")
    command.add_argument(
        "--storage", metavar="URL",
        help="a PostgreSQL database or a journal file (OPTUNA_STORAGE, else optuna.journal)",
    )  # fmt: skip
    command.add_argument("--seed", type=_natural, default=0, help="of the values drawn (0)")
    command.set_defaults(command="search")


def _add_next_word(commands: Commands) -> None:
    command = commands.add_parser("next-word", help="guess the next word (examples/next_word)")
    command.add_argument("prefix", help="the words so far, in quotes")
    _add_path(command, "--model", f"a model folder ({NEXT_WORD_MODEL})", NEXT_WORD_MODEL)
    command.add_argument("--top", type=_positive, default=5, help="the number of guesses (5)")
    command.add_argument("--json", action="store_true", help="print the guesses as JSON")
    command.set_defaults(command="next_word")


class _Parser(ArgumentParser):
    """A parser that keeps the line breaks of its examples."""

    def __init__(self, **arguments: object) -> None:
        super().__init__(formatter_class=RawDescriptionHelpFormatter, **arguments)  # type: ignore[arg-type]


def _add_path(
    command: ArgumentParser,
    name: str,
    text: str,
    default: Path | None = None,
    *,
    required: bool = False,
) -> None:
    argument = command.add_argument(name, type=Path, help=text, default=default)
    argument.required |= required


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} must be a positive integer")
    return int(text)


def _natural(text: str) -> int:
    if not text.isdigit():
        raise ArgumentTypeError(f"{text!r} must be a non-negative integer")
    return int(text)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} must be a day, such as 2026-11-01") from None


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"{text!r} must be a number from 0 to 1")
    return value


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 on success, 2 and one line on a user's mistake, 130 on Ctrl-C."""
    options = parser().parse_args(arguments)
    try:
        import_module(f"arxiv_hybrid.commands.{options.command}").run(options)
    except UserError as error:
        return _print_error(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("", "arxiv_hybrid"):
            raise
        typed = options.command.replace("inspect_data", "data inspect").replace("_", "-")
        return _print_error(
            f"{typed} needs {error.name}, which is not installed; run "
            f"`pip install {INSTALLED_BY.get(options.command, _PIPELINE)}`"
        )
    except OSError as error:
        return _print_error(f"{error.filename or 'a file'}: {error.strerror or error}")
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def _print_error(message: str) -> int:
    print(f"error: {redact(message)}", file=sys.stderr)
    return 2


def command() -> int:
    """The entry point of the installed program `arxiv-hybrid`."""
    prepare_process()
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly when `| head` closes the pipe
    status = main()
    gc.freeze()  # no garbage collection at exit
    return status


if __name__ == "__main__":
    sys.exit(command())
