"""A search on the page of the last run: its history, and which parameters mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from arxiv_hybrid.reporting.charts import Chart

TRIALS, BEST = "trials", "best so far"


@dataclass(frozen=True)
class Search:
    """The trials of a search.

    score: what is maximized. scores: number and score of the finished trials. states: how many
    trials ended in which way. best: the best trial with its values, in one line. importances: see
    `search.study.Study.importances`.
    """

    name: str
    score: str
    scores: Sequence[tuple[int, float]]
    states: Mapping[str, int]
    best: str
    importances: Mapping[str, float]

    @property
    def history(self) -> Chart:
        """The score of each trial, and the best so far. Raises ValueError if none has finished."""
        best = accumulate((score for _, score in self.scores), max)
        line = [(number, score) for (number, _), score in zip(self.scores, best, strict=True)]
        lines = {TRIALS: list(self.scores), BEST: line}
        title = f"{self.score} by trial"
        return Chart(title, "trial", self.score, lines, percent=True, unconnected={TRIALS})
