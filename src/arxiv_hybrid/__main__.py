"""The command line beside the pipeline: `python -m arxiv_hybrid --help`."""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from arxiv_hybrid.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

MODEL, PAPERS = Path("models/main"), Path("data/raw/papers.csv")
EXPLAINED = Path("reports/explained")
NEXT_WORD = Path("examples/next_word/models/cnn_lstm")
BAR = 40  # characters of a probability of 1
SURE = 0.5
MATTERED = 8  # words that are shown


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 on success, 2 and one line on a user's mistake."""
    parser = ArgumentParser(prog="python -m arxiv_hybrid")
    areas = parser.add_subparsers(required=True, metavar="data | predict | explain | next-word")
    data = areas.add_parser("data", help="look at papers").add_subparsers(required=True)
    command = data.add_parser("inspect", help="counts, lengths, dates, cross-listing, duplicates")
    command.add_argument("file", type=Path, help="a CSV of papers, plain or .gz")
    command.set_defaults(run=_inspect)
    command = areas.add_parser("predict", help="classify one paper, or a file of any size")
    command.add_argument("--title", default="", help="a paper's title")
    command.add_argument("--abstract", default="", help="and its abstract")
    command.add_argument("--json", action="store_true", help="print the paper's result as JSON")
    command.add_argument(
        "--sure", type=_share, default=SURE, help=f"less than this is 'unsure' ({SURE})"
    )
    command.add_argument("--input", type=Path, help="or a CSV of papers, plain or .gz")
    command.add_argument("--output", type=Path, help="and the CSV that is written")
    command.add_argument("--model", type=Path, default=MODEL, help=f"a folder ({MODEL})")
    command.set_defaults(run=_predict)
    command = areas.add_parser("explain", help="where the model looks, for some papers: a page")
    command.add_argument("--id", nargs="+", default=[], help="papers of the data set")
    command.add_argument("--title", default="", help="or a text of your own")
    command.add_argument("--abstract", default="")
    command.add_argument("--model", type=Path, default=MODEL, help=f"a folder ({MODEL})")
    command.add_argument("--papers", type=Path, default=PAPERS, help=f"the data set ({PAPERS})")
    command.add_argument("--output", type=Path, default=EXPLAINED, help=f"a folder ({EXPLAINED})")
    command.set_defaults(run=_explain)
    command = areas.add_parser("next-word", help="guess the next word (examples/next_word)")
    command.add_argument("prefix", help="the words so far, in quotes")
    command.add_argument("--model", type=Path, default=NEXT_WORD, help=f"a folder ({NEXT_WORD})")
    command.add_argument("--top", type=_count, default=5, help="how many guesses (5)")
    command.set_defaults(run=_next_word)
    chosen = parser.parse_args(arguments)
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


# a command loads the libraries that it needs, not those of the others


def _inspect(chosen: Namespace) -> None:
    from arxiv_hybrid.data.csv_source import read_csv
    from arxiv_hybrid.data.inspection import inspect, render
    from arxiv_hybrid.data.schema import check_papers

    papers = check_papers(read_csv(chosen.file, key="FILE"), str(chosen.file))
    print(render(inspect(papers)))


def _predict(chosen: Namespace) -> None:
    if chosen.title or chosen.abstract:
        if chosen.input or chosen.output:
            raise UserError("predict needs either --title and --abstract or --input and --output")
        _predict_one(chosen)
        return
    if chosen.json:
        raise UserError("--json is for one paper, with --title and --abstract")
    if not (chosen.input and chosen.output):
        raise UserError("predict needs --title and --abstract, or --input and --output")
    from arxiv_hybrid.predictions import predict_file
    from arxiv_hybrid.training import checkpoint

    count = predict_file(checkpoint.load(chosen.model), chosen.input, chosen.output)
    print(f"{count:,} papers -> {chosen.output}")


def _predict_one(chosen: Namespace) -> None:
    import json

    from arxiv_hybrid.evaluation.influence import influence
    from arxiv_hybrid.training import checkpoint

    paper = _own_text(chosen).iloc[0]
    found = influence(checkpoint.load(chosen.model), paper["title"], paper["abstract"])
    words = [(word, fall) for word, fall in found.words if fall > 0][:MATTERED]
    sure = found.confidence >= chosen.sure
    if chosen.json:
        content = {
            "category": found.predicted,
            "sure": sure,
            "probabilities": found.probabilities,
            "words": dict(words),
        }
        print(json.dumps(content))
        return
    width = max(map(len, found.probabilities))
    for name, p in sorted(found.probabilities.items(), key=lambda pair: -pair[1]):
        print(f"{name:<{width}} {p:6.1%} {'#' * round(BAR * p)}".rstrip())
    if not sure:
        print(f"unsure: below {chosen.sure:.0%}")
    if words:
        print("without the word:", ", ".join(f"{word} {-fall:+.1%}" for word, fall in words))


def _explain(chosen: Namespace) -> None:
    from arxiv_hybrid.evaluation import plots
    from arxiv_hybrid.evaluation.explain import explain
    from arxiv_hybrid.io import write_bytes, write_text
    from arxiv_hybrid.reporting.attention_page import attention_page
    from arxiv_hybrid.training import checkpoint

    if bool(chosen.id) == bool(chosen.title or chosen.abstract):
        raise UserError("explain needs either --id or --title and --abstract")
    papers = _known_papers(chosen.papers, chosen.id) if chosen.id else _own_text(chosen)
    classifier = checkpoint.load(chosen.model)
    for paper in explain(classifier, papers):
        name = paper.id.replace("/", "-")
        page, picture = attention_page([paper], classifier.facts.model), plots.attention(paper)
        write_text(chosen.output / f"{name}.html", page)
        write_bytes(chosen.output / f"{name}.png", plots.png(picture))
        print(f"{paper.id}: {paper.predicted} ({paper.confidence:.0%})")
        for part in (paper.title, paper.abstract):
            strongest = sorted(zip(part.mean, part.tokens, strict=True), reverse=True)[:8]
            looked = ", ".join(f"{token} {weight:.0%}" for weight, token in strongest)
            looked = looked or "no words"
            print(f"  {part.name}, fusion weight {part.fusion:.2f}: {looked}")
        print(f"  -> {chosen.output / name}.html, .png")


def _known_papers(path: Path, ids: list[str]) -> pd.DataFrame:
    from arxiv_hybrid.data.csv_source import read_csv
    from arxiv_hybrid.data.identifiers import canonical
    from arxiv_hybrid.io import require

    require(path)
    known = read_csv(path, key="--papers").drop_duplicates("id").set_index("id")
    wanted = [canonical(name) for name in ids]
    if missing := [name for name in wanted if name not in known.index]:
        raise UserError(f"{path}: no paper {missing[0]}; the first is {known.index[0]}")
    return known.loc[wanted].reset_index()


def _own_text(chosen: Namespace) -> pd.DataFrame:
    import pandas as pd

    from arxiv_hybrid.text.tokenize import tokenize

    title, abstract = (
        text.encode("utf-8", "replace").decode() for text in (chosen.title, chosen.abstract)
    )
    if not (tokens := tokenize(f"{title} {abstract}")):
        raise UserError("--title and --abstract have no word of latin letters or digits")
    return pd.DataFrame({"id": ["-".join(tokens[:6])[:60]], "title": title, "abstract": abstract})


def _next_word(chosen: Namespace) -> None:
    from arxiv_hybrid.scratch.next_word import load_model, predict_next

    if not (chosen.model / "model.json").is_file():
        raise UserError(
            f"{chosen.model}: no model; make it with `dvc repro examples/next_word/dvc.yaml`"
        )
    guesses = predict_next(load_model(chosen.model), chosen.prefix.split(), chosen.top)
    width = max(len(word) for word, _ in guesses)
    for word, probability in guesses:
        print(f"{word:<{width}} {probability:6.1%} {'#' * round(BAR * probability)}".rstrip())


if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a word
    sys.exit(main())
