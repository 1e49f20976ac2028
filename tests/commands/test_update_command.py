"""`update` over thirty simulated days of an arXiv that grows, fails and corrects itself."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import merged
from fake_server import Entry, FakeServer, serving
from forks import Fork
from growing_arxiv import announced, save_model, show, some_papers, submitted

from arxiv_hybrid.__main__ import main
from arxiv_hybrid.commands import update
from arxiv_hybrid.daily.store import DailyStore
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.inference.records import read_records
from arxiv_hybrid.sources.snapshot_scan import Window
from arxiv_hybrid.sources.snapshot_source import read_snapshot
from arxiv_hybrid.system.retry import RetryPolicy
from arxiv_hybrid.system.shipped import is_shipped

FIRST = date(2025, 10, 1)  # a Wednesday
FAST = RetryPolicy(min_interval=0.0, attempts=2, first_wait=0.001)
DOWN = {"status": 503, "body": "busy"}


@dataclass
class Arxiv:
    """A simulated arXiv, and `update` on one of its days."""

    server: FakeServer
    papers: list[Entry]
    patch: pytest.MonkeyPatch

    def update(
        self, day: date, *options: str, store: str = "store", model: str | None = "model"
    ) -> int:
        """The exit code."""
        show(self.server, self.papers, day)
        self.patch.setattr(update, "today", lambda: day)
        try:
            chosen = ["--model", model] if model else []
            return main(["update", "--store", store, *chosen, *options])
        except SystemExit as end:
            return int(end.code or 0)

    def public(self, day: date) -> set[str]:
        noon = announced(self.papers[0].published).replace(
            year=day.year, month=day.month, day=day.day, hour=12
        )
        return {paper.id for paper in self.papers if announced(paper.published) <= noon}


@pytest.fixture
def arxiv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, default_content: dict[str, Any]
) -> Iterator[Arxiv]:
    monkeypatch.chdir(tmp_path)
    params = merged(default_content, {"labels": {"classes": ["cs.CL", "cs.CV"]}})
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    save_model(Path("model"))
    with serving() as server:
        monkeypatch.setenv("ARXIV_API_URL", server.api)
        monkeypatch.setenv("ARXIV_HYBRID_CACHE", str(tmp_path / "cache"))
        real = update.fetch
        monkeypatch.setattr(update, "fetch", lambda *a, **k: real(*a, policy=FAST, **k))
        yield Arxiv(server, submitted(some_papers(1800, seed=1), FIRST, 30), monkeypatch)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def stored(folder: str = "store") -> dict[str, dict[str, Any]]:
    lines = Path(folder, "papers.jsonl").read_text(encoding="utf-8").splitlines()
    records = {record["id"]: record for record in map(json.loads, lines)}
    assert len(records) == len(lines)
    return records


def predictions(folder: str = "store") -> pd.DataFrame:
    files = sorted(Path(folder, "predictions").glob("*.csv"))
    return pd.concat([pd.read_csv(file, dtype={"id": str}).assign(day=file.stem) for file in files])


def test_thirty_days(arxiv: Arxiv, capsys: pytest.CaptureFixture[str]) -> None:
    late = arxiv.papers[200]  # kept back by the moderators for some days
    revised, moved = arxiv.papers[420], arxiv.papers[430]
    ends: dict[int, int] = {}
    every, arxiv.papers = arxiv.papers, [paper for paper in arxiv.papers if paper != late]
    for number in range(1, 31):
        if number == 7:
            arxiv.papers = every
        if number == 9:
            revised.title += " revisited"
            revised.updated += timedelta(days=2)
            moved.categories = ["eess.IV", *moved.categories]
        if number in (12, 13):
            arxiv.server.faults = [DOWN] * 2
        ends[number] = arxiv.update(day(number), *(["--since", str(FIRST)] if number == 1 else []))
        if number == 16:
            assert arxiv.update(day(number)) == 0
    out, err = capsys.readouterr()
    assert {n: code for n, code in ends.items() if code} == {12: 2, 13: 2}
    assert "HTTP 503 Service Unavailable; downloaded pages are kept" in err
    assert "alarm:" not in err
    papers = stored()
    assert set(papers) == arxiv.public(day(30))
    assert papers[revised.id]["title"].endswith("revisited")
    assert papers[moved.id]["categories"].split()[0] == "eess.IV"
    assert papers[late.id]["arrived"] == str(day(7))
    told = predictions()
    assert sorted(told["id"]) == sorted(papers)
    assert (told["day"] == told["id"].map(lambda name: papers[name]["arrived"])).all()
    assert not {d.weekday() for d in map(date.fromisoformat, told["day"])} & {5, 6}
    history = pd.read_csv("store/history.csv")
    assert len(history) == 29  # one more on day 16, two less without arXiv
    assert history["new"].sum() == history["papers"].iloc[-1] == len(papers)
    assert history["changed"].sum() == 2
    assert history.loc[history["day"] == str(day(16)), "new"].tolist()[1] == 0
    assert history["accuracy_28"].iloc[-1] == pytest.approx(told["right"].mean(), abs=0.02)
    assert arxiv.server.max_concurrent == 1
    assert "its test" in out
    # what other commands read
    window = Window.parse(None, None)
    read = read_snapshot(Path("store/papers.jsonl"), categories=("cs.CL", "cs.CV"), seed=0,
                         per_category=None, sample="newest", window=window)  # fmt: skip
    assert (read.lines, read.repeated, len(read.table(per_query=False))) == (
        len(papers),
        0,
        len(papers),
    )
    rows = read_records(Path("store/papers.jsonl"), 99999, key="", on_bad_row=pytest.fail)
    assert len(next(rows)) == len(papers)


def test_a_shift_is_found_within_days(arxiv: Arxiv, capsys: pytest.CaptureFixture[str]) -> None:
    shift = day(19)
    for paper in arxiv.papers:
        if paper.published.date() >= shift:
            paper.categories = [{"cs.CL": "cs.CV", "cs.CV": "cs.CL"}[paper.categories[0]]]
    codes = {n: arxiv.update(day(n), "--since", str(FIRST)) for n in (14, 16, 18, *range(19, 24))}
    found = [n for n, code in codes.items() if code]
    assert set(codes.values()) == {0, 1}
    assert 20 <= found[0] <= 22  # those of day 19 are announced on day 20
    assert found == [*range(found[0], 24)]
    _, err = capsys.readouterr()
    assert "alarm: accuracy" in err
    assert "of the last 7 days (8" in err
    history = pd.read_csv("store/history.csv", keep_default_na=False)
    assert "accuracy_7" in history["alarms"].iloc[-1].split(";")


def files(folder: str) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
        and path.name not in ("history.csv", "update.lock")
        and path.suffix != ".tmp"
    }


@pytest.mark.parametrize("before", [True, False])
def test_a_run_that_is_killed_is_completed_by_the_next_one(arxiv: Arxiv, before: bool) -> None:
    """Killed before or after each file that it replaces, on a day with new and changed papers."""
    arxiv.papers = arxiv.papers[:600]

    def two_days(store: str, kill_at: int) -> int:
        for paper in arxiv.papers[100:110]:
            paper.title = paper.title.removesuffix(" 2")
        assert arxiv.update(day(5), "--since", str(FIRST), store=store) == 0
        for paper in arxiv.papers[100:110]:
            paper.title += " 2"
        show(arxiv.server, arxiv.papers, day(6))

        def killed() -> None:
            real, calls = os.replace, 0

            def replace_and_die(source: Any, target: Any) -> None:
                nonlocal calls
                ours = store in str(target)
                calls += ours
                if not (before and ours and calls == kill_at):
                    real(source, target)
                if ours and calls == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)

            os.replace = replace_and_die
            tempfile.tempdir = "."  # what it leaves there goes with the test's folder
            arxiv.update(day(6), store=store)

        status = Fork(Path(f"{store}.log"), killed).wait()
        assert status in (0, -signal.SIGKILL), Path(f"{store}.log").read_text()
        assert arxiv.update(day(6), store=store) == 0
        return status

    assert two_days("whole", 0) == 0
    expected = files("whole")
    for kill_at in range(1, 20):
        if two_days(f"store{kill_at}", kill_at) == 0:
            break
        assert files(f"store{kill_at}") == expected, kill_at
    assert kill_at == 5  # papers, predictions, state and history are replaced


def test_a_machine_that_was_off_catches_up(arxiv: Arxiv) -> None:
    assert arxiv.update(day(2), "--since", str(FIRST)) == 0
    assert arxiv.update(day(20)) == 0
    assert set(stored()) == arxiv.public(day(20))
    first = arxiv.server.requests[0]["path"]
    assert "20251001" in first


def test_a_second_process_changes_nothing(arxiv: Arxiv, capsys: pytest.CaptureFixture[str]) -> None:
    with DailyStore(Path("store")).locked():
        assert arxiv.update(day(4)) == 2
    assert "error: store: another update is running" in capsys.readouterr().err
    assert not Path("store/papers.jsonl").exists()


def test_without_a_record_of_its_test_a_model_raises_no_alarm(
    arxiv: Arxiv, capsys: pytest.CaptureFixture[str]
) -> None:
    for paper in arxiv.papers:
        paper.categories = [{"cs.CL": "cs.CV", "cs.CV": "cs.CL"}[paper.categories[0]]]
    save_model(Path("model"), reference=0)
    Path("model/reference.json").unlink()
    assert arxiv.update(day(9)) == 0
    out, err = capsys.readouterr()
    assert "no alarms: nothing records how this model did on its test" in out
    assert "accuracy" not in out
    assert "alarm:" not in err
    save_model(Path("model"))
    Path("model/reference.json").write_text('{"model": "x"}')
    assert arxiv.update(day(10)) == 2
    assert "model/reference.json: not the record of a model's test" in capsys.readouterr().err


@pytest.mark.skipif(not is_shipped(), reason="this installation has no shipped model")
def test_by_default_no_model_of_generated_papers_classifies_real_ones(
    arxiv: Arxiv, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    classifier = save_model(Path("models/main"))
    arxiv.papers = arxiv.papers[:40]
    assert arxiv.update(day(3), "--since", str(FIRST), model=None) == 0
    classifier.save(Path("models/main"), Origin({"synthetic": 9}, 9))
    arxiv.papers.append(replace(arxiv.papers[0], id="2510.99999"))
    assert arxiv.update(day(4), model=None) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("model: ")]
    assert lines[0].startswith("model: models/main, linear model")
    assert lines[1].startswith("model: shipped, v6")
    (second,) = Path("store/predictions").glob("2025-10-05*.csv")
    assert "cs.LG" in second.read_text().partition("\n")[0].split(",")


def test_papers_that_the_model_may_have_learned_are_not_counted(
    arxiv: Arxiv, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model was trained after the papers were submitted, and on papers of their month."""
    classifier = save_model(Path("model"))
    assert classifier.origin is not None
    origin = replace(classifier.origin, trained="2025-10-06", last_month="2025-10")
    classifier.save(Path("model"), origin)
    assert arxiv.update(day(3), "--since", str(FIRST)) == 0
    assert "that the model may have learned from" in capsys.readouterr().out
    assert not predictions()["counted"].any()
    assert predictions()["right"].isna().all()
    assert arxiv.update(day(6)) == 0  # what arrives later was not public on the day of day(6)
    assert arxiv.update(day(8)) == 0
    told = predictions()
    assert told.loc[told["day"] == str(day(8)), "counted"].all()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--since", "soon"], "'soon' must be a day, such as 2026-11-01"),
        (["--since", "2999-01-01"], "2999-01-01 is in the future"),
        (["--model", "nowhere"], "nowhere"),
    ],
)
def test_mistakes(
    arxiv: Arxiv, options: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert arxiv.update(day(4), *options) == 2
    assert expected in capsys.readouterr().err
    assert not Path("store/papers.jsonl").exists()


def test_damaged_files_are_named(arxiv: Arxiv, capsys: pytest.CaptureFixture[str]) -> None:
    assert arxiv.update(day(4), "--since", str(FIRST)) == 0
    papers = Path("store/papers.jsonl")
    good = papers.read_bytes()
    papers.write_bytes(good[:-20])
    assert arxiv.update(day(5)) == 2
    assert "not a paper of this store" in capsys.readouterr().err
    papers.write_bytes(good)
    (predicted,) = Path("store/predictions").glob("*.csv")
    text = predicted.read_text()
    predicted.write_text("id,other\n1,2\n")
    assert arxiv.update(day(5)) == 2
    assert f"{predicted}: not predictions" in capsys.readouterr().err
    predicted.unlink()
    assert arxiv.update(day(4)) == 0
    assert predicted.read_text() == text
