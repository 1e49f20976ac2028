"""`next-word`: guess the next word, with a model of examples/next_word."""

from __future__ import annotations

from argparse import Namespace

from arxiv_hybrid.commands.terminal import bar, print_json
from arxiv_hybrid.scratch.next_word import load_model, predict_next
from arxiv_hybrid.system.errors import UserError


def run(options: Namespace) -> None:
    """Print the most probable next words."""
    if not (options.model / "model.json").is_file():
        raise UserError(
            f"{options.model}: no model here; run `dvc repro examples/next_word/dvc.yaml`"
        )
    guesses = predict_next(load_model(options.model), options.prefix.split(), options.top)
    if options.json:
        print_json(**dict(guesses))
        return
    width = max(len(word) for word, _ in guesses)
    for word, probability in guesses:
        print(bar(f"{word:<{width}}", probability))
