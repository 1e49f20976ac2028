"""A worker: runs the trials of a study one after the other until all have ended."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from optuna.storages import BaseStorage

from arxiv_hybrid.search.display import Lines
from arxiv_hybrid.search.runner import TRIALS, Outcome, Pipeline, run_trial
from arxiv_hybrid.search.storage import open_storage, storage_errors
from arxiv_hybrid.search.study import ENDED, LostTrialError, Study, Trial
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.git import git

MOST_FAILURES = 3  # trials of a worker that fail before any succeeds
_POLL = 1.0  # seconds between looks at the trials of other workers

Run = Callable[[Pipeline, Trial], Outcome]


def search(
    storage: str | None,
    open_study: Callable[[BaseStorage], Study],
    pipeline: Pipeline,
    first: Iterable[Mapping[str, Any]] = (),
) -> Study:
    """Work on a study until all its trials have ended, and return it.

    storage: see `open_storage`. first: values to begin with. Raises UserError before any work if
    the repository has no commit, if the storage cannot be used, or if the study has begun with
    something else.
    """
    if git(pipeline.root, "rev-parse", "--verify", "HEAD") is None:
        raise UserError("DVC's experiments need a git repository with a commit")
    # a job in the background of a script ignores Ctrl-C, and so would the runs that it starts
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with storage_errors():
        study = open_study(open_storage(storage, pipeline.root))
        study.enqueue(first)
        done = sum(each.state in ENDED for each in study.results())
        print(f"search {study.name}: {done} of {study.total} trials done", flush=True)
        try:
            work(study, pipeline)
        except KeyboardInterrupt:
            print("the same command continues this search", flush=True)
            raise
        return study


def watched(pipeline: Pipeline, trial: Trial) -> Outcome:
    """Run a trial that is pruned once its scores are hopeless."""
    return run_trial(pipeline, trial.name, trial.label, trial.values, trial.is_hopeless, trial.beat)


def work(study: Study, pipeline: Pipeline, run: Run = watched) -> None:
    """Run trials until as many as the study's total have ended, here and elsewhere.

    Raises UserError if the first trials of this worker all fail. A trial that is interrupted is
    handed back to the study.
    """
    lines, failures, succeeded, waits = Lines(study), 0, False, False
    while True:
        for number in study.take_over():
            shutil.rmtree(pipeline.root / TRIALS / f"{study.name}-{number}", ignore_errors=True)
            lines.taken_over(number)
        trial = study.next_trial()
        if trial is None:
            if not (running := study.unfinished()):
                return
            if not waits:
                lines.waiting(running)
            waits = True
            time.sleep(_POLL)
            continue
        waits = False
        lines.started(trial)
        try:
            error = _record(trial, run(pipeline, trial))
        except LostTrialError:
            lines.lost(trial)
            continue
        except BaseException:
            lines.close()
            with suppress(LostTrialError):
                trial.hand_back()
            raise
        lines.ended(trial)
        failures, succeeded = failures + (error is not None), succeeded or error is None
        if failures >= MOST_FAILURES and not succeeded:
            raise UserError(f"the first {failures} trials failed, the last one with: {error}")


def _record(trial: Trial, outcome: Outcome) -> str | None:
    """Record how a trial ended; the error if it failed."""
    if outcome.stopped:
        trial.prune()
    elif outcome.score is None:
        error = outcome.error or "unknown"
        trial.fail(error)
        return error
    else:
        trial.finish(outcome.score)
    return None
