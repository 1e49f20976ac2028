"""`search`: try parameters with Optuna, each trial as an experiment of DVC."""

from __future__ import annotations

import os
import re
import shlex
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

from arxiv_hybrid.params import parse
from arxiv_hybrid.params.load import read_params
from arxiv_hybrid.paths import METRICS, PARAMS
from arxiv_hybrid.search import STORAGE
from arxiv_hybrid.search.display import best_of, print_results
from arxiv_hybrid.search.runner import Pipeline, start_lock
from arxiv_hybrid.search.space import read_settings, read_space
from arxiv_hybrid.search.study import Study
from arxiv_hybrid.search.worker import search
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.nested import flatten
from arxiv_hybrid.system.redaction import redact

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_OTHER_PAPERS = "trials would be compared on different papers"
_NO_EFFECT = "it does not change the validation score"
_WITHOUT_EFFECT = ("ensemble", "evaluate", "thresholds", "tracking")
EXCLUDED = {
    **dict.fromkeys(("fetch", "labels", "split"), _OTHER_PAPERS),
    **dict.fromkeys(_WITHOUT_EFFECT, _NO_EFFECT),
}


def run(options: Namespace) -> None:
    """Search, then print all trials, the best one, and how to evaluate it on test papers."""
    name = options.study or options.space.stem
    if not _NAME.fullmatch(name):
        raise UserError(
            f"--study: {name!r} is no name for experiments: use letters, digits, - and _"
        )
    fixed = options.set_param
    with start_lock(Path.cwd()):
        params, text = read_settings(fixed, read_params(PARAMS)), PARAMS.read_text(encoding="utf-8")
    checked = parse(params, f"{PARAMS}{' with -S' if fixed else ''}")
    space = read_space(options.space, params, partial(parse, where=str(options.space)), EXCLUDED)
    if both := [each for each in fixed if each.partition("=")[0] in space]:
        raise UserError(f"-S {both[0]}: {options.space} searches this parameter")
    kind = "precision_at_1" if checked.labels.multi_label else "accuracy"
    score = f"validation {kind.replace('_at_', '@')}"
    metrics = (METRICS / "train.json").as_posix()
    pipeline = Pipeline(Path.cwd(), "train", PARAMS.name, metrics, f"val_{kind}", fixed, text)
    shared = _shared(params, space.keys())
    study = search(
        options.storage or os.environ.get(STORAGE),
        lambda storage: Study(
            storage, name, space, shared, score=score, total=options.trials, seed=options.seed
        ),
        pipeline,
    )  # fmt: skip
    print_results(study)
    best = best_of(study.results())
    if best is not None:
        changes = redact(shlex.join(pipeline.changes(best.values)))
        print(
            "on test papers, which the search has not seen:\n"
            f"  dvc exp run --name {name}-{best.number}-test {changes} evaluate\n"
            "  python -m arxiv_hybrid experiments"
        )


def _shared(params: dict[str, Any], searched: Any) -> dict[str, Any]:
    """The parameters that must be the same for all workers of a search, by dotted name.

    They go into the storage, so they have no secrets.
    """
    kept = flatten({key: value for key, value in params.items() if key not in _WITHOUT_EFFECT})
    return {
        key: redact(value) if isinstance(value, str) else value
        for key, value in kept.items()
        if key not in searched
    }
