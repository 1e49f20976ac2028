"""A challenger and the champion on the same papers."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
from growing_arxiv import CLASSES, save_model, some_papers

from arxiv_hybrid.daily.challenge import command, duel
from arxiv_hybrid.daily.predictions import Learned
from arxiv_hybrid.daily.store import Stored
from arxiv_hybrid.data.splits import in_test_by_hash
from arxiv_hybrid.inference.classifier import TextClassifier
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.system.errors import UserError

CATEGORIES = {name: (name,) for name in CLASSES}
TEST = 0.15


@pytest.fixture
def papers() -> list[Stored]:
    rows = some_papers(2000, seed=3).itertuples(index=False)
    days = date(2025, 10, 2), date(2025, 10, 4)
    return [Stored(row[0], row[1], row[2], (row[3],), *days) for row in rows]


@pytest.fixture
def models(tmp_path: Path) -> tuple[TextClassifier, TextClassifier]:
    """A good model, and one that takes speech for vision."""
    return save_model(tmp_path / "good", reference=0), save_model(
        tmp_path / "bad", reference=0, strength=-6.0
    )


def test_the_command_keeps_test_papers_and_the_workspace() -> None:
    parts = command(Path("data/daily/papers.jsonl"), "daily-2026-11-26", "mine")
    assert parts[1:7] == ["-m", "dvc", "exp", "run", "--temp", "--name"]
    assert parts[7] == "daily-2026-11-26"
    settings = {part for before, part in pairwise(parts) if before == "-S"}
    path = Path("data/daily/papers.jsonl").resolve()
    assert {f"fetch.path={path}", "fetch.source=snapshot", "split.by=hash",
            "fetch.per_category=null", "tracking.register_as=mine"} <= settings  # fmt: skip
    assert parts[-1] == "evaluate"


def test_the_better_model_wins_on_test_papers(
    models: tuple[TextClassifier, TextClassifier], papers: list[Stored]
) -> None:
    good, bad = models
    result = duel(good, bad, papers, CATEGORIES, TEST, None)
    assert result.papers == sum(in_test_by_hash(paper.id, TEST) for paper in papers)
    assert 230 < result.papers < 370
    assert result.challenger == pytest.approx(0.85, abs=0.06)
    assert result.champion == pytest.approx(1 - result.challenger)
    assert result.won
    assert result.p < 1e-6
    assert not duel(bad, good, papers, CATEGORIES, TEST, None).won
    assert not duel(good, good, papers, CATEGORIES, TEST, None).won  # a draw


def test_papers_that_the_champion_may_have_learned_do_not_count(
    models: tuple[TextClassifier, TextClassifier], papers: list[Stored]
) -> None:
    good, bad = models
    later = Origin({"a.csv": 9}, 9, "2025-01", "2025-10", "2025-10-03")
    with pytest.raises(UserError, match="may have learned from all test papers"):
        duel(good, bad, papers, CATEGORIES, TEST, Learned(later))
    some = frozenset(paper.id for paper in papers[:1000])
    result = duel(good, bad, papers, CATEGORIES, TEST, Learned(later, some))
    assert result.papers == sum(in_test_by_hash(paper.id, TEST) for paper in papers[1000:])


def test_other_classes_cannot_be_compared(
    models: tuple[TextClassifier, TextClassifier], papers: list[Stored]
) -> None:
    good, bad = models
    bad.config.classes.reverse()
    with pytest.raises(UserError, match="other classes"):
        duel(good, bad, papers, CATEGORIES, TEST, None)
