"""What a search prints: a line for each trial, and at the end a table of all."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any

from arxiv_hybrid.search.study import ENDED, Result, Study, Trial
from arxiv_hybrid.system.ticker import duration, pulse

_LONGEST = 60  # characters of an error in the table


class Lines:
    """A line when a trial ends; while it runs, signs of life."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._running, self._began = ExitStack(), 0.0

    def started(self, trial: Trial) -> None:
        """Show the values until the trial ends."""
        self._began = time.monotonic()
        self._running.enter_context(pulse(f"{trial.name}: {shown_values(trial.values)}"))

    def ended(self, trial: Trial) -> None:
        """Print how it ended, with its values and how many trials are done."""
        self.close()
        results = self._study.results()
        result = next(each for each in results if each.number == trial.number)
        done = sum(each.state in ENDED for each in results)
        took = duration(time.monotonic() - self._began)
        print(
            f"[{done}/{self._study.total}] {trial.name}: {self._outcome(result)}, in {took}"
            f"  {shown_values(trial.values)}",
            flush=True,
        )

    def _outcome(self, result: Result) -> str:
        if result.state == "finished":
            return f"{self._study.score} {percent(result.score)} %"
        return state_of(result)

    def taken_over(self, number: int) -> None:
        """Print that the values of a trial are tried again."""
        print(f"{self._study.name}-{number}: its worker is gone; trying its values again")

    def lost(self, trial: Trial) -> None:
        """Print that another worker has this trial now."""
        self.close()
        print(f"{trial.name}: another worker took it over: this one gave no sign of life for long")

    def waiting(self, running: int) -> None:
        """Print that other workers are not done."""
        print(f"waiting for {running} trial{'s' * (running > 1)} of other workers", flush=True)

    def close(self) -> None:
        """Show no more signs of life."""
        self._running.close()


def best_of(results: Iterable[Result]) -> Result | None:
    """The finished trial with the best score, of several the first; None if none has finished."""
    finished = [each for each in results if each.state == "finished"]
    return max(finished, key=lambda each: (each.score or 0.0, -each.number), default=None)


def print_results(study: Study) -> None:
    """Print all trials, the best first, and then the best one."""
    results = study.results()
    order = sorted(results, key=lambda each: (-(each.score or 0.0), each.number))
    order.sort(key=lambda each: each.state != "finished")
    names = list(study.space)
    cells = [["trial", *names, study.score, "state"]]
    for each in order:
        values = [_shown(each.values[name]) if name in each.values else "" for name in names]
        cells.append([f"{study.name}-{each.number}", *values, percent(each.score), state_of(each)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print()
    for number, line in enumerate(cells):
        pairs = zip(line, widths, strict=True)
        aligned = [f"{text:<{width}}" if column in (0, len(line) - 1) else f"{text:>{width}}"
                   for column, (text, width) in enumerate(pairs)]  # fmt: skip
        print("  ".join(aligned).rstrip())
        if number == 0:
            print("-" * (sum(widths) + 2 * (len(widths) - 1)))
    best = best_of(results)
    if best is None:
        print("\nno trial has finished")
    else:
        print(f"\nbest: {study.name}-{best.number}, {study.score} {percent(best.score)} %: "
              f"{shown_values(best.values)}")  # fmt: skip


def state_of(result: Result) -> str:
    """How a trial ended, in a few words."""
    if result.state == "pruned":
        return f"pruned after epoch {result.epochs}"
    if result.state == "failed":
        return f"failed: {textwrap.shorten(result.error or '', _LONGEST, placeholder=' ...')}"
    return result.state


def shown_values(values: Mapping[str, Any]) -> str:
    """Such as `dropout=0.31 batch_size=32`."""
    return " ".join(f"{name}={_shown(value)}" for name, value in values.items())


def percent(share: float | None) -> str:
    """Such as 84.3; empty if unknown."""
    return "" if share is None else f"{100 * share:.1f}"


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)
