"""What the subcommands of `python -m arxiv_hybrid` do; each loads only the libraries it needs."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arxiv_hybrid.system.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

BAR = 40  # characters of a probability of 1
MATTERED = 8  # words that are shown


def inspect(chosen: Namespace) -> None:
    """`data inspect`."""
    from arxiv_hybrid.audit.inspection import inspect, render
    from arxiv_hybrid.data.schema import check_papers
    from arxiv_hybrid.sources.csv_source import read_csv

    papers = check_papers(read_csv(chosen.file, option="FILE"), str(chosen.file))
    print(render(inspect(papers)))


def predict(chosen: Namespace) -> None:
    """`predict`: one paper, or a file."""
    if chosen.title or chosen.abstract:
        if chosen.input or chosen.output:
            raise UserError("predict needs either --title and --abstract or --input and --output")
        _predict_one(chosen)
        return
    if chosen.json:
        raise UserError("--json is for one paper, with --title and --abstract")
    if not (chosen.input and chosen.output):
        raise UserError("predict needs --title and --abstract, or --input and --output")
    from arxiv_hybrid.inference import checkpoint
    from arxiv_hybrid.inference.predictions import predict_file
    from arxiv_hybrid.inference.records import STANDARD

    done = predict_file(
        checkpoint.load(chosen.model),
        chosen.input,
        chosen.output,
        skip=chosen.bad_rows == "skip",
        warn=lambda problem: _tell(f"left out: {problem}"),
    )
    left_out = len(done.left_out)
    remark = f", {left_out:,} row{'s' * (left_out > 1)} left out" if left_out else ""
    line = f"{done.papers:,} papers{remark} -> {chosen.output}"
    if chosen.output == STANDARD:
        _tell(line)
    else:
        print(line)


def _predict_one(chosen: Namespace) -> None:
    from arxiv_hybrid.evaluation.occlusion import occlusion
    from arxiv_hybrid.inference import checkpoint

    paper = _own_text(chosen).iloc[0]
    found = occlusion(checkpoint.load(chosen.model), paper["title"], paper["abstract"])
    words = [(word, fall) for word, fall in found.words if fall > 0][:MATTERED]
    sure = found.confidence >= chosen.sure
    if chosen.json:
        _print_json(
            category=found.predicted,
            sure=sure,
            probabilities=found.probabilities,
            words=dict(words),
        )
        return
    width = max(map(len, found.probabilities))
    for name, p in sorted(found.probabilities.items(), key=lambda pair: -pair[1]):
        print(_bar(f"{name:<{width}}", p, strong=name == found.predicted and sure))
    if not sure:
        print(_coloured(f"unsure: below {chosen.sure:.0%}", "33"))
    if words:
        print("without the word:", ", ".join(f"{word} {-fall:+.1%}" for word, fall in words))


def explain(chosen: Namespace) -> None:
    """`explain`: pages and pictures of the attention that papers get."""
    from arxiv_hybrid.evaluation.attention import explain
    from arxiv_hybrid.inference import checkpoint
    from arxiv_hybrid.reporting import figures
    from arxiv_hybrid.reporting.attention_page import attention_page
    from arxiv_hybrid.system.files import write_bytes, write_text

    if bool(chosen.id) == bool(chosen.title or chosen.abstract):
        raise UserError("explain needs either --id or --title and --abstract")
    papers = _known_papers(chosen.papers, chosen.id) if chosen.id else _own_text(chosen)
    classifier = checkpoint.load(chosen.model)
    for paper in explain(classifier, papers):
        name = paper.id.replace("/", "-")
        page, picture = attention_page([paper], classifier.config.model), figures.attention(paper)
        write_text(chosen.output / f"{name}.html", page)
        write_bytes(chosen.output / f"{name}.png", figures.png(picture))
        strongest = {
            part.name: sorted(zip(part.mean.tolist(), part.tokens, strict=True), reverse=True)[:8]
            for part in (paper.title, paper.abstract)
        }
        if chosen.json:
            _print_json(
                id=paper.id,
                category=paper.predicted,
                probability=paper.confidence,
                fusion={part.name: part.fusion for part in (paper.title, paper.abstract)},
                words={part: {word: p for p, word in best} for part, best in strongest.items()},
                page=str(chosen.output / f"{name}.html"),
            )
            continue
        print(f"{paper.id}: {_coloured(paper.predicted, '1')} ({paper.confidence:.0%})")
        for part in (paper.title, paper.abstract):
            looked = ", ".join(f"{word} {weight:.0%}" for weight, word in strongest[part.name])
            print(f"  {part.name}, fusion weight {part.fusion:.2f}: {looked or 'no words'}")
        print(f"  -> {chosen.output / name}.html, .png")


def next_word(chosen: Namespace) -> None:
    """`next-word`: what may follow."""
    from arxiv_hybrid.scratch.next_word import load_model, predict_next

    if not (chosen.model / "model.json").is_file():
        raise UserError(
            f"{chosen.model}: no model; make it with `dvc repro examples/next_word/dvc.yaml`"
        )
    guesses = predict_next(load_model(chosen.model), chosen.prefix.split(), chosen.top)
    if chosen.json:
        _print_json(**dict(guesses))
        return
    width = max(len(word) for word, _ in guesses)
    for word, probability in guesses:
        print(_bar(f"{word:<{width}}", probability))


def _known_papers(path: Path, ids: list[str]) -> pd.DataFrame:
    from arxiv_hybrid.data.identifiers import canonical
    from arxiv_hybrid.sources.csv_source import read_csv
    from arxiv_hybrid.system.files import require

    require(path)
    known = read_csv(path, option="--papers").drop_duplicates("id").set_index("id")
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


def _bar(name: str, share: float, *, strong: bool = False) -> str:
    bar = _coloured("#" * round(BAR * share), "1;32" if strong else "36")
    return f"{name} {share:6.1%} {bar}".rstrip()


def _coloured(text: str, code: str) -> str:
    """Text in a colour where a person reads it: on a terminal, unless NO_COLOR is set."""
    if not text or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def _print_json(**content: Any) -> None:
    print(json.dumps(content))  # in ASCII: a terminal may have another encoding than UTF-8


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
