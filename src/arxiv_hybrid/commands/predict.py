"""`predict`: classify one paper, or a file of papers."""

from __future__ import annotations

from argparse import Namespace

from arxiv_hybrid.commands.library import counted
from arxiv_hybrid.commands.papers import answering, typed_paper
from arxiv_hybrid.commands.terminal import bar, coloured, note, print_json
from arxiv_hybrid.evaluation.occlusion import Occlusion, occlusion
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.model_config import LinearConfig, ModelConfig
from arxiv_hybrid.inference.predict_file import predict_file, writes_to_standard_output
from arxiv_hybrid.paths import default_model
from arxiv_hybrid.system.errors import UserError

WORDS_SHOWN = 8
FEWEST_CLASSES, MOST_CLASSES = 3, 8  # shown of many
LIKELY = 0.05  # probability from which a class is shown


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
    folder = options.model or default_model()
    classifier = checkpoint.load(folder)
    outcome = predict_file(
        classifier,
        options.input,
        options.output,
        skip=options.bad_rows == "skip",
        warn=lambda problem: note(f"skipped: {problem}"),
    )
    note(answering(folder, classifier))
    counts = counted(outcome.papers, "paper")
    if outcome.skipped:
        counts += f", {counted(len(outcome.skipped), 'row')} skipped"
    show = note if writes_to_standard_output(options.output) else print
    show(f"{counts} -> {options.output}")


def _predict_one(options: Namespace) -> None:
    paper = typed_paper(options.title, options.abstract)
    folder = options.model or default_model()
    classifier = checkpoint.load(folder)
    model = answering(folder, classifier)
    words = classifier.known_words(paper)
    result = occlusion(classifier, paper["title"][0], paper["abstract"][0])
    doubts = []
    if classifier.unfamiliar(classifier.encode(paper))[0]:
        doubts.append("unlike the papers it was trained on")
    if result.confidence < options.sure:
        doubts.append(f"below {options.sure:.0%}")
    if options.json:
        _print_json(classifier.config, result, doubts, model=model, words=words)
    else:
        _print_text(classifier.config, result, doubts)
        print(f"knows {words[0]:,} of {words[1]:,} words")
        generated = classifier.origin is not None and classifier.origin.synthetic
        print(coloured(model, "33") if generated else model)


def _likely(result: Occlusion) -> dict[str, float]:
    """The classes worth showing, the likeliest first: all if they are few."""
    probabilities = result.probabilities
    ranked = sorted(probabilities, key=lambda name: -probabilities[name])
    if len(ranked) > MOST_CLASSES:
        wanted = {*result.assigned, *ranked[:FEWEST_CLASSES]}
        ranked = [name for name in ranked if name in wanted or probabilities[name] >= LIKELY]
    return {name: probabilities[name] for name in ranked[:MOST_CLASSES]}


def _supporting(result: Occlusion) -> dict[str, float]:
    """The words without which the likeliest class is less probable, by how much."""
    return dict([(word, drop) for word, drop in result.drops if drop > 0][:WORDS_SHOWN])


def _print_json(
    config: ModelConfig | LinearConfig,
    result: Occlusion,
    doubts: list[str],
    *,
    model: str,
    words: tuple[int, int],
) -> None:
    shown = _likely(result)
    shown |= {name: result.probabilities[name] for name in result.assigned}
    print_json(
        category=result.predicted,
        **({"categories": list(result.assigned)} if config.multi_label else {}),
        sure=not doubts,
        doubts=doubts,
        probabilities=shown,
        words=_supporting(result),
        known_words=words[0],
        read_words=words[1],
        model=model,
    )


def _print_text(config: ModelConfig | LinearConfig, result: Occlusion, doubts: list[str]) -> None:
    shown = _likely(result)
    titles = {name: config.titles.get(name, "") for name in shown}
    width, long = max(map(len, shown)), max(map(len, titles.values()))
    for name, probability in shown.items():
        label = f"{name:<{width}}" + (f"  {titles[name]:<{long}}" if long else "")
        print(bar(label, probability, strong=name in result.assigned and not doubts))
    if others := [p for name, p in result.probabilities.items() if name not in shown]:
        print(f"{len(others)} more, each at most {max(others):.1%}")
    if config.multi_label:
        print("categories:", ", ".join(result.assigned))
    for doubt in doubts:
        print(coloured(f"unsure: {doubt}", "33"))
    if supporting := _supporting(result):
        words = (f"{word} {-drop:+.1%}" for word, drop in supporting.items())
        print("without the word:", ", ".join(words))
