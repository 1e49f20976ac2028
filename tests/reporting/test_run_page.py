"""The page about the last run: its sections, its charts, and what changed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from random_predictions import at, label_set, one_class, papers_listing, several_classes

from arxiv_hybrid.data.class_groups import FEW
from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.evaluation.attention import Explanation, Part
from arxiv_hybrid.evaluation.classes import class_rows
from arxiv_hybrid.evaluation.confusion import confusion_table, frequent_mistakes, mistakes
from arxiv_hybrid.evaluation.label_issues import (
    confidently_wrong,
    doubtful_labels,
    hardest,
    missing_labels,
)
from arxiv_hybrid.evaluation.predictions import Predictions
from arxiv_hybrid.evaluation.report import (
    full_report,
    majority_scores,
    reliability_rows,
    scores,
)
from arxiv_hybrid.params import Params
from arxiv_hybrid.reporting.changes import UNKNOWN_CHANGES, Changes, changes
from arxiv_hybrid.reporting.charts import Chart, _ticks
from arxiv_hybrid.reporting.run_metrics import Metrics, RunMetrics
from arxiv_hybrid.reporting.run_page import LastRun, run_page
from arxiv_hybrid.reporting.search import Search
from arxiv_hybrid.system.digests import COMPUTED_FROM
from arxiv_hybrid.taxonomy.categories import categories

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


def metrics_in(repository: Path) -> Metrics:
    return {"evaluate": json.loads((repository / "metrics/evaluate.json").read_text())}


def test_changes_are_relative_to_the_newest_commit_that_differs(repository: Path) -> None:
    committed = changes(repository, METRICS, metrics_in(repository), PARAMS)
    assert committed is not None
    assert committed.since.endswith(" first")
    assert committed.metrics == [("accuracy", 0.8, 0.9)]
    assert committed.params == [("dropout", 0.5, 0.6)]
    (repository / "metrics/evaluate.json").write_text(json.dumps({"accuracy": 0.7}))
    uncommitted = changes(repository, METRICS, metrics_in(repository), PARAMS)
    assert uncommitted is not None
    assert uncommitted.since.endswith(" second")
    assert uncommitted.metrics == [("accuracy", 0.9, 0.7)]
    assert uncommitted.params == []
    assert uncommitted.same_papers is None, "the metrics do not say"


@pytest.mark.parametrize(("now", "same"), [("aaa data/test", True), ("bbb data/test", False)])
def test_changes_say_whether_the_papers_are_the_same(
    repository: Path, now: str, same: bool
) -> None:
    baseline = repository / "metrics/baseline.json"
    baseline.write_text(json.dumps({"accuracy": 0.5, COMPUTED_FROM: ["aaa data/test"]}))
    for command in (
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@x", "commit", "-qm", "t"],
    ):
        subprocess.run(["git", *command], cwd=repository, check=True)
    current = {"baseline": {"accuracy": 0.6, COMPUTED_FROM: [now]}}
    result = changes(repository, METRICS, current, PARAMS)
    assert result is not None
    assert result.metrics == [("baseline", 0.5, 0.6)], "only what is of this run"
    assert result.same_papers is same


@pytest.mark.parametrize("damage", ["index", "HEAD", "objects"])
def test_changes_are_unknown_in_a_damaged_repository(repository: Path, damage: str) -> None:
    if damage == "objects":
        shutil.rmtree(repository / ".git/objects")
        (repository / ".git/objects").mkdir()
    else:
        (repository / ".git" / damage).write_bytes(b"damaged")
    result = changes(repository, METRICS, metrics_in(repository), PARAMS)
    if damage == "index":  # the commits are intact
        assert result is not None
        assert result.since.endswith(" first")
    else:
        assert result is UNKNOWN_CHANGES


def test_no_changes_without_git(tmp_path: Path) -> None:
    assert changes(tmp_path, METRICS, {}, PARAMS) is UNKNOWN_CHANGES


def last_run(
    papers: pd.DataFrame,
    classes: LabelSet,
    predictions: Predictions,
    baseline: Predictions,
    params: Params,
) -> LastRun:
    """What `report` reads, with made-up metrics of the stages before the evaluation."""
    several = classes.multi_label
    run = papers, classes, predictions
    report = full_report(*run, baseline, params)
    base = scores(papers, classes, baseline, params.evaluate)
    score = "precision_at_1" if several else "accuracy"
    task: dict[str, Any] = {"scheme": params.labels.from_, "papers_left_out": 3}
    if several:
        task |= {"papers_with_several": 0.6, "labels_per_paper": 2.0}
        base["majority"] = majority_scores(papers, papers, classes)
    else:
        task |= {"majority_accuracy": 0.4, "oracle_accuracy": 1.0, "label_ceiling": None}
    sizes = {"train": 7, "val": 2, "test": 3}
    task |= (
        {"documents_per_class": dict.fromkeys(classes.names, sizes)}
        if len(classes) <= FEW
        else {
            "largest_class": {"name": classes.names[0], "documents": 900},
            "smallest_class": {"name": classes.names[-1], "documents": 50},
        }
    )
    raw: dict[str, Any] = {"papers": 9, "rows": 9, "published": {"first": None, "last": None}}
    member = {score: 0.8, "micro_f1": 0.7, "weight": 0.5}
    pair = {"disagreement": 0.1, "q_statistic": None}
    curves = {"epoch": [1, 2]}
    for part in ("train", "val"):
        curves |= {f"{part}_loss": [1, 0.5], f"{part}_accuracy": [0.5, 0.6]}  # type: ignore[list-item]
    name = classes.names[1]
    texts = (Part(part, "two words", ["two", "words"], np.full((1, 2), 0.5), 0.5)
             for part in ("title", "abstract"))  # fmt: skip
    return LastRun(
        params=params,
        label_set=classes,
        model="v1 with some classes, trained on 9 papers of a.csv",
        unknown_words=0.01,
        metrics=RunMetrics(absent={}, current={
            "audit": {
                "papers_csv": raw | ({} if several else {"rows_contradicting": 0.0}),
                "task": task,
                "leakage": {"train_and_test": {"share": 0.0}},
            },
            "train": {"best_epoch": 2, "epochs": 2, f"val_{score}": 0.6, "parameters": 9,
                      "precision": "fp32", "device": "cpu"},
            "baseline": base,
            "evaluate": report,
            "ensemble": {**report, "members": {"main": member, "x": member},
                         "diversity": {"mean_disagreement": 0.1, "oracle_accuracy": 0.9,
                                       "pairs": {"main | x": pair}}},
        }),
        curves=pd.DataFrame(curves),
        classes=class_rows(report["per_class"]),
        baseline_classes=class_rows(base["per_class"]),
        confusion=confusion_table(*run),
        mistakes=frequent_mistakes(mistakes(*run), 15),
        reliability=reliability_rows(*run, 15),
        wrong=[] if several else confidently_wrong(*run, 10),
        hard=[] if several else hardest(*run, 10),
        missing=missing_labels(*run, 10) if several else [],
        doubtful=doubtful_labels(*run, 10) if several else [],
        explained=[Explanation({name: 0.9}, (name,), "2505.00001", *texts, (name,))],
        changes=None,
        outdated=None,
    )  # fmt: skip


class Balanced(HTMLParser):
    """Checks that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, _: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "br", "line", "circle", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open[-1:] == [tag]:
            self.open.pop()
        else:
            assert tag in ("line", "circle", "polyline"), (tag, self.open[-3:])


def checked(page: str) -> str:
    """The page, if it is well-formed and has no gaps."""
    tags = Balanced()
    tags.feed(page)
    assert not tags.open
    assert not re.search(r"\bnan\b|None</td>|None to|<b>\s*</b>", page)
    return page


def test_a_run_of_one_class_per_paper(tiny_params: Params) -> None:
    labels, p = one_class()
    papers = papers_listing(np.eye(3, dtype=bool)[labels])
    predictions = Predictions(p, unsure=p.max(1) < 0.5)
    baseline = Predictions(one_class(skill=1.0)[1])
    run = last_run(papers, label_set(3, multi_label=False), predictions, baseline, tiny_params)
    page = checked(run_page(run))
    report = run.metrics.current["evaluate"]
    assert f"The last run: {report['accuracy'] * 100:.1f}" in page
    assert "Confusion matrix" in page
    assert "are called unsure" in page
    assert "ceiling" not in page
    assert "submitted" not in page, "the papers have no dates"
    assert "McNemar p &lt; 0.0001" in page
    assert "dvc repro" not in page, "all sections are of this run"
    assert page.count('class="cell" style="--share: ') == 3 + 9
    assert f'<td data-is="F1">{report["per_class"]["c1"]["f1"] * 100:.1f}' in page
    assert "<details><summary>c" not in page, "few classes are not folded"
    assert "Warning:" not in page


def run_of(params: Params, *, several: bool) -> LastRun:
    """A run whose papers have one class, or several."""
    if several:
        listed, p = several_classes()
        predictions = at(0.5, p)
    else:
        labels, p = one_class()
        listed, predictions = np.eye(3, dtype=bool)[labels], Predictions(p)
    classes = label_set(p.shape[1], multi_label=several)
    return last_run(papers_listing(listed), classes, predictions, predictions, params)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("stage", ["audit", "baseline", "train", "ensemble"])
def test_what_is_of_another_run_is_not_shown(
    tiny_params: Params, stage: str, several: bool
) -> None:
    run = run_of(tiny_params, several=several)
    complete = checked(run_page(run))
    current = {name: part for name, part in run.metrics.current.items() if name != stage}
    metrics = RunMetrics(current, {stage: "<x> has changed since"})
    partly = replace(
        run,
        metrics=metrics,
        curves=None if stage == "train" else run.curves,
        baseline_classes=None if stage == "baseline" else run.baseline_classes,
    )
    page = checked(run_page(partly))
    remark = f"not of this run: &lt;x&gt; has changed since. Run <code>dvc repro {stage}</code>."
    assert page.count(remark) == 1
    shown = {
        "audit": "papers in 9 rows",
        "baseline": "<td>TF-IDF + linear</td>",
        "train": "Best epoch: 2",
        "ensemble": "2 models vote",
    }
    for name, words in shown.items():
        assert words in complete
        assert (words in page) == (name != stage), name
    (line,) = metrics.remarks()
    assert line.startswith(f"{stage}: not of this run: <x> has")


def test_a_search_has_its_history_and_importances(tiny_params: Params) -> None:
    run = run_of(tiny_params, several=False)
    assert 'id="search"' not in run_page(run)
    scores = [(0, 0.6), (2, 0.5), (3, 0.8)]
    states = {"finished": 3, "pruned": 1}
    search = Search("space", "validation accuracy", scores, states, "space-3, <x>", {"dropout": 1})
    page = checked(run_page(replace(run, search=search)))
    assert "space: 3 finished, 1 pruned. Best: space-3, &lt;x&gt;." in page
    for tooltip in ("trials: 60 % at 0", "trials: 50 % at 2", "trials: 80 % at 3",
                    "best so far: 60 % at 2", "best so far: 80 % at 3"):  # fmt: skip
        assert tooltip in page
    chart = str(search.history.svg())
    assert chart.count("<polyline") == 1, "the scores of trials are dots"
    assert "<tr><td>dropout</td>" in page
    assert "importance" not in run_page(replace(run, search=replace(search, importances={})))


MEASURE = """<!doctype html><body>
<iframe id=f style="border:0;width:{width}px;height:900px" src="page.html"></iframe><pre id=o></pre>
<script>f.onload = () => {{
  const lines = [], page = f.contentDocument
  for (const box of page.querySelectorAll('.wide:not(:has(.matrix))'))
    if (box.scrollWidth > box.clientWidth + 1)
      lines.push('lost ' + box.textContent.trim().slice(0, 20))
  for (const bar of page.querySelectorAll('td.bar div')) {{
    const share = 100 * bar.children[0].offsetWidth / bar.offsetWidth
    lines.push('bar ' + share.toFixed(1) + ' ' + parseFloat(bar.children[0].style.width))
  }}
  o.textContent = lines.join('\\n')
}}</script>"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
@pytest.mark.parametrize(("width", "several"), [(390, False), (390, True), (1280, False)])
def test_a_narrow_window_loses_no_column_and_keeps_the_bars(
    tiny_params: Params, width: int, several: bool, tmp_path: Path
) -> None:
    run = run_of(tiny_params, several=several)
    (tmp_path / "page.html").write_text(run_page(run), encoding="utf-8")
    (tmp_path / "measure.html").write_text(MEASURE.format(width=width))
    done = subprocess.run(
        ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom",
         "--allow-file-access-from-files", "--virtual-time-budget=3000",
         f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width + 20},900",
         (tmp_path / "measure.html").as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    (measured,) = re.findall(r'<pre id="o">([^<]*)</pre>', done.stdout)
    lines = measured.splitlines()
    assert not [line for line in lines if line.startswith("lost")]
    bars = [line.split()[1:] for line in lines]
    assert len(bars) == 4, "majority class, linear model, this model, ensemble"
    for shown, expected in bars:
        assert float(shown) == pytest.approx(float(expected), abs=1.5)


def test_scores_of_other_parameters_are_marked(tiny_params: Params) -> None:
    labels, p = one_class()
    papers = papers_listing(np.eye(3, dtype=bool)[labels])
    predictions = Predictions(p, unsure=p.max(1) < 0.5)
    run = last_run(papers, label_set(3, multi_label=False), predictions, predictions, tiny_params)
    line = "these scores belong to other parameters: fetch.path a (now <b>)"
    page = checked(run_page(replace(run, outdated=line, changes=UNKNOWN_CHANGES)))
    assert "Warning: these scores belong to other parameters: fetch.path a (now &lt;b&gt;)" in page
    assert page.index("Warning:") < page.index('id="data"')
    assert "git could not tell" in page
    others = Changes("abc first", [("accuracy", 0.8, 0.9)], [], same_papers=False)
    warning = "these scores do not compare two models"
    assert warning in checked(run_page(replace(run, changes=others)))
    assert warning not in run_page(replace(run, changes=replace(others, same_papers=True)))


@pytest.mark.parametrize("count", [5, 60])
def test_a_run_of_several_classes_per_paper(tiny_params: Params, count: int) -> None:
    names = tuple(categories())[:count]
    classes = LabelSet(names, True, {name: (name,) for name in names})
    listed, p = several_classes(classes=count)
    baseline = at(0.5, several_classes(classes=count, skill=1.0)[1])
    run = last_run(papers_listing(listed), classes, at(0.5, p), baseline, tiny_params)
    page = checked(run_page(run))
    report = run.metrics.current["evaluate"]
    assert f"precision@1 {report['precision_at_1'] * 100:.1f}" in page
    for heading in ("micro-F1", "sample-F1", "recall@3", "Predicted beside listed",
                    "Possibly missing", "Doubtful", "threshold",
                    "precision@1 by epoch"):  # fmt: skip
        assert heading in page
    for gone in ("Confidently wrong", "Confusion matrix", "oracle"):
        assert gone not in page
    for name in names:
        assert f"<td>{name}</td>" in page, "every class is on the page"
    if count > FEW:
        assert "most confused of 60 classes" in page
        assert "The lowest F1" in page
        in_cs = sum(name.startswith("cs.") for name in names)
        assert page.count(f"<details><summary>cs (Computer Science): {in_cs} classes") == 1
        widest = max(row.count("<td") for row in page.split("<tr>"))
        assert widest <= 20, "no table is as wide as there are classes"
