"""`predict`: classify one paper, or a file of papers."""

from __future__ import annotations

from argparse import Namespace

from arxiv_hybrid.commands.papers import typed_paper
from arxiv_hybrid.commands.terminal import bar, coloured, note, print_json
from arxiv_hybrid.evaluation.occlusion import Occlusion, occlusion
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.predict_file import predict_file
from arxiv_hybrid.inference.records import STANDARD
from arxiv_hybrid.system.errors import UserError

WORDS_SHOWN = 8


def run(options: Namespace) -> None:
    """Classify one paper or a file; UserError if the options name neither, or both."""
    if options.title or options.abstract:
        if options.input or options.output:
            raise UserError("predict needs either --title and --abstract or --input and --output")
        _predict_one(options)
        return
    if options.json:
        raise UserError("--json is for one paper, with --title and --abstract")
    if not (options.input and options.output):
        raise UserError("predict needs --title and --abstract, or --input and --output")
    _predict_file(options)


def _predict_file(options: Namespace) -> None:
    outcome = predict_file(
        checkpoint.load(options.model),
        options.input,
        options.output,
        skip=options.bad_rows == "skip",
        warn=lambda problem: note(f"skipped: {problem}"),
    )
    counts = _count(outcome.papers, "paper")
    if outcome.skipped:
        counts += f", {_count(len(outcome.skipped), 'row')} skipped"
    show = note if options.output == STANDARD else print
    show(f"{counts} -> {options.output}")


def _predict_one(options: Namespace) -> None:
    paper = typed_paper(options.title, options.abstract).iloc[0]
    result = occlusion(checkpoint.load(options.model), paper["title"], paper["abstract"])
    supporting = [(word, drop) for word, drop in result.drops if drop > 0][:WORDS_SHOWN]
    sure = result.confidence >= options.sure
    if options.json:
        print_json(
            category=result.predicted,
            sure=sure,
            probabilities=result.probabilities,
            words=dict(supporting),
        )
        return
    _print_bars(result, sure=sure)
    if not sure:
        print(coloured(f"unsure: below {options.sure:.0%}", "33"))
    if supporting:
        print("without the word:", ", ".join(f"{word} {-drop:+.1%}" for word, drop in supporting))


def _print_bars(result: Occlusion, *, sure: bool) -> None:
    width = max(map(len, result.probabilities))
    for name, probability in sorted(result.probabilities.items(), key=lambda pair: -pair[1]):
        print(bar(f"{name:<{width}}", probability, strong=name == result.predicted and sure))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
