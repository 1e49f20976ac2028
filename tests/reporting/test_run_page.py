"""The page about the last run: its charts, and what changed."""

from __future__ import annotations

import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from arxiv_hybrid.reporting.changes import changes
from arxiv_hybrid.reporting.charts import Chart, _ticks

METRICS, PARAMS = Path("metrics"), Path("params.yaml")


def test_a_chart_places_its_points() -> None:
    chart = Chart("t", "epoch", "loss", {"x < y": [(1, 0.0), (3, 1.0)]}, y=(0.0, 1.0))
    svg = str(chart.svg())
    (points,) = re.findall(r'points="([^"]*)"', svg)
    (x1, y1), (x2, y2) = ([float(n) for n in pair.split(",")] for pair in points.split())
    assert x1 < x2
    assert y1 > y2, "up is more"
    assert "x &lt; y" in svg
    assert "x < y" not in svg
    HTMLParser().feed(svg)


def test_a_chart_omits_points_that_are_not_finite() -> None:
    nan, inf = float("nan"), float("inf")
    svg = str(Chart("t", "x", "y", {"a": [(1, nan), (2, 0.5), (3, 0.6), (4, inf)]}).svg())
    assert svg.count("<circle") == 2
    assert "nan" not in svg
    assert "finite" in str(Chart("t", "x", "y", {"a": [(1, nan)]}).svg())


def test_an_empty_chart_is_refused() -> None:
    with pytest.raises(ValueError, match="point"):
        Chart("t", "x", "y", {"none": []})


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(1, 6, [1, 2, 3, 4, 5, 6]), (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0.71, 0.77, None)],
)
def test_ticks_are_round_and_inside(low: float, high: float, expected: list[float] | None) -> None:
    ticks = _ticks(low, high)
    assert expected is None or ticks == pytest.approx(expected)
    assert 3 <= len(ticks) <= 7
    assert low - 1e-9 <= ticks[0]
    assert ticks[-1] <= high + 1e-9


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True)

    def state(accuracy: float, dropout: float) -> None:
        (tmp_path / "metrics").mkdir(exist_ok=True)
        (tmp_path / "metrics/evaluate.json").write_text(json.dumps({"accuracy": accuracy}))
        content = {"dropout": dropout, "fetch": {"source": "csv"}}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))

    git("init", "-q")
    state(0.8, 0.5)
    git("add", ".")
    git("commit", "-qm", "first")
    state(0.9, 0.6)
    git("add", ".")
    git("commit", "-qm", "second")
    return tmp_path


def test_changes_are_relative_to_the_newest_commit_that_differs(repository: Path) -> None:
    committed = changes(repository, METRICS, PARAMS)
    assert committed is not None
    assert committed.since.endswith(" first")
    assert committed.metrics == [("accuracy", 0.8, 0.9)]
    assert committed.params == [("dropout", 0.5, 0.6)]
    (repository / "metrics/evaluate.json").write_text(json.dumps({"accuracy": 0.7}))
    uncommitted = changes(repository, METRICS, PARAMS)
    assert uncommitted is not None
    assert uncommitted.since.endswith(" second")
    assert uncommitted.metrics == [("accuracy", 0.9, 0.7)]
    assert uncommitted.params == []


def test_no_changes_without_git(tmp_path: Path) -> None:
    assert changes(tmp_path, METRICS, PARAMS) is None
