"""A study that several workers share: its total, its draws, trials that were lost, and pruning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage

from arxiv_hybrid.commands import report
from arxiv_hybrid.search import JOURNAL, STORAGE
from arxiv_hybrid.search import study as study_module
from arxiv_hybrid.search.runner import Outcome, Pipeline
from arxiv_hybrid.search.space import Space
from arxiv_hybrid.search.storage import open_storage
from arxiv_hybrid.search.study import BEAT, SILENCE, LostTrialError, Study, Trial
from arxiv_hybrid.search.worker import MOST_FAILURES, work
from arxiv_hybrid.system.errors import UserError

SPACE: Space = {
    "dropout": FloatDistribution(0.2, 0.7),
    "batch_size": CategoricalDistribution([16, 32]),
}
PIPELINE = Pipeline(Path("nowhere"), "train", "params.yaml", "metrics.json", "val_accuracy")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def open_study(storage: BaseStorage, total: int = 3, **changes: Any) -> Study:
    options: dict[str, Any] = {
        "space": SPACE,
        "settings": {"epochs": 6},
        "score": "validation accuracy",
    }
    return Study(storage, "s", total=total, **options | changes)


def journal(folder: Path) -> BaseStorage:
    """What one worker opens: each has its own view of the file."""
    return open_storage(None, folder)


def values(study: Study) -> list[dict[str, Any]]:
    return [each.values for each in study.results()]


def run_all(study: Study, score: Callable[[Trial], float] = lambda _: 0.5) -> None:
    while (trial := study.next_trial()) is not None:
        trial.finish(score(trial))


def test_workers_share_the_total(tmp_path: Path) -> None:
    studies = [open_study(journal(tmp_path)) for _ in range(2)]
    trials = [studies[number % 2].next_trial() for number in range(4)]
    assert trials[3] is None
    assert [trial.number for trial in trials if trial] == [0, 1, 2]
    assert studies[0].unfinished() == 3
    drawn = [trial.values for trial in trials if trial]
    assert values(studies[0]) == values(studies[1]) == drawn
    assert len({each["dropout"] for each in drawn}) == 3, "workers draw different values"
    assert (tmp_path / JOURNAL).is_file()


def test_a_worker_draws_the_same_trials_again_and_goes_on_with_them() -> None:
    def score(trial: Trial) -> float:
        return float(trial.values["dropout"])

    whole, other, continued = (open_study(InMemoryStorage(), 15, seed=seed) for seed in (7, 8, 7))
    for study in (whole, other):
        run_all(study, score)
    continued.total = 12
    run_all(continued, score)
    continued.total = 15
    run_all(continued, score)
    assert values(continued) == values(whole)
    assert values(other) != values(whole)


def test_a_trial_is_lost_once_its_worker_is_silent(tmp_path: Path) -> None:
    clock = Clock()
    worker, observer = (open_study(journal(tmp_path), clock=clock) for _ in range(2))
    trial = worker.next_trial()
    assert trial is not None
    for _ in range(3):
        assert observer.take_over() == []
        clock.now += SILENCE * 0.9
        trial.beat()
    assert observer.take_over() == []
    clock.now += SILENCE + 1
    assert observer.take_over() == [0]
    assert observer.take_over() == []
    for action in (trial.beat, trial.prune, lambda: trial.finish(0.9), trial.hand_back,
                   lambda: trial.is_hopeless(1, 0.9), lambda: trial.fail("x")):  # fmt: skip
        clock.now += BEAT
        with pytest.raises(LostTrialError):
            action()
    again = observer.next_trial()
    assert again is not None
    assert (again.number, again.values) == (1, trial.values)
    assert [(each.number, each.retries) for each in observer.results()] == [(1, 0)]
    run_all(observer)
    assert [each.number for each in observer.results()] == [1, 2, 3]


def test_one_observer_takes_a_lost_trial_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    worker, first, second = (open_study(journal(tmp_path), clock=clock) for _ in range(3))
    assert worker.next_trial() is not None
    for observer in (first, second):
        observer.take_over()
    clock.now += SILENCE + 1
    is_lost, raced = first._is_lost, list[int]()

    def while_another_is_faster(trial: Any) -> bool:
        lost = is_lost(trial)
        raced.extend(second.take_over())
        return lost

    monkeypatch.setattr(first, "_is_lost", while_another_is_faster)
    assert (first.take_over(), raced) == ([], [0])
    assert [each.state for each in worker.results()] == ["waiting"]


def test_a_worker_that_has_ended_loses_its_trial_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, observer = (open_study(journal(tmp_path)) for _ in range(2))
    identity = study_module.ProcessIdentity.current()
    gone = study_module.ProcessIdentity(identity.host, "another boot", identity.pid, 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(study_module.ProcessIdentity, "current", lambda: gone)
        assert worker.next_trial() is not None
    assert worker.next_trial() is not None
    assert observer.take_over() == [0], "the other worker lives"


def test_workers_that_ask_at_the_same_moment_do_not_exceed_the_total(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (open_study(journal(tmp_path), total=1) for _ in range(2))
    ask, faster = first._study.ask, list[Trial | None]()

    def after_another(*arguments: Any, **options: Any) -> Any:
        faster.append(second.next_trial())
        return ask(*arguments, **options)

    monkeypatch.setattr(first._study, "ask", after_another)
    assert first.next_trial() is None
    assert faster[0] is not None
    assert [each.number for each in first.results()] == [0]


def test_a_trial_outlives_a_short_outage_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    study, pauses, outages = open_study(InMemoryStorage()), list[float](), [2, 99]
    trial, tell = study.next_trial(), study._study.tell
    assert trial is not None

    def unreachable(*arguments: Any, **options: Any) -> Any:
        if outages[0]:
            outages[0] -= 1
            raise StorageInternalError("connection refused")
        return tell(*arguments, **options)

    monkeypatch.setattr(study._study, "tell", unreachable)
    monkeypatch.setattr("arxiv_hybrid.search.study.time.sleep", pauses.append)
    trial.finish(0.5)
    assert pauses == [1, 2]
    assert [each.state for each in study.results()] == ["finished"]
    other = study.next_trial()
    assert other is not None
    outages.pop(0)
    with pytest.raises(StorageInternalError):
        other.finish(0.5)


def test_another_search_under_the_same_name_is_refused(tmp_path: Path) -> None:
    open_study(journal(tmp_path))
    open_study(journal(tmp_path), total=5)
    other: Space = {**SPACE, "dropout": FloatDistribution(0.1, 0.7)}
    for changes, name in (({"space": other}, "dropout"), ({"settings": {"epochs": 7}}, "epochs")):
        with pytest.raises(UserError, match=rf"another space or other settings \({name}\)"):
            open_study(journal(tmp_path), **changes)


def test_a_trial_below_the_median_is_pruned() -> None:
    study = open_study(InMemoryStorage(), total=7)
    for _ in range(5):
        trial = study.next_trial()
        assert trial is not None
        assert not any(trial.is_hopeless(epoch, 0.5 + 0.1 * epoch) for epoch in range(3))
        trial.finish(0.7)
    good, bad = study.next_trial(), study.next_trial()
    assert good is not None
    assert bad is not None
    assert not good.is_hopeless(0, 0.5)
    assert bad.is_hopeless(0, 0.49)
    bad.prune()
    result = study.results()[-1]
    assert (result.state, result.epochs, result.score) == ("pruned", 0, 0.49)


def test_a_worker_runs_all_trials_and_records_how_they_ended(
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = open_study(InMemoryStorage(), total=4)
    study.enqueue([{"dropout": 0.25, "batch_size": 16}])
    outcomes = iter(
        [Outcome(0.8), Outcome(error="no space left"), Outcome(stopped=True), Outcome(0.9)]
    )

    def run(_: Pipeline, trial: Trial) -> Outcome:
        trial.is_hopeless(3, 0.6)
        return next(outcomes)

    work(study, PIPELINE, run)
    results = study.results()
    assert [each.state for each in results] == ["finished", "failed", "pruned", "finished"]
    assert [each.score for each in results] == [0.8, 0.6, 0.6, 0.9]
    assert results[0].values == {"dropout": 0.25, "batch_size": 16}
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("[1/4] s-0: validation accuracy 80.0 %, in 0:00  dropout=0.25 ")
    assert lines[1].startswith("[2/4] s-1: failed: no space left, in 0:00  dropout=")
    assert lines[2].startswith("[3/4] s-2: pruned after epoch 3, in 0:00  ")


def test_a_search_whose_first_trials_fail_stops() -> None:
    study = open_study(InMemoryStorage(), total=10)
    with pytest.raises(UserError, match="the first 3 trials failed, the last one with: no papers"):
        work(study, PIPELINE, lambda *_: Outcome(error="no papers"))
    assert len(study.results()) == MOST_FAILURES


def test_an_interrupted_trial_is_handed_back() -> None:
    study = open_study(InMemoryStorage(), total=2)
    ran: list[dict[str, Any]] = []

    def interrupted(_: Pipeline, trial: Trial) -> Outcome:
        ran.append(trial.values)
        if len(ran) == 1:
            raise KeyboardInterrupt
        return Outcome(0.5)

    with pytest.raises(KeyboardInterrupt):
        work(study, PIPELINE, interrupted)
    assert [each.state for each in study.results()] == ["waiting"]
    work(study, PIPELINE, interrupted)
    assert ran[0] == ran[1] != ran[2]
    assert [each.state for each in study.results()] == ["finished", "finished"]


def test_a_worker_waits_for_the_others_and_takes_over_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    other, study = (open_study(journal(tmp_path), total=1, clock=clock) for _ in range(2))
    theirs = other.next_trial()
    assert theirs is not None

    def sleep(_: float) -> None:
        clock.now += SILENCE / 4

    monkeypatch.setattr("arxiv_hybrid.search.worker.time.sleep", sleep)
    ran: list[dict[str, Any]] = []

    def run(_: Pipeline, trial: Trial) -> Outcome:
        ran.append(trial.values)
        return Outcome(0.5)

    work(study, PIPELINE, run)
    assert ran == [theirs.values]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "waiting for 1 trial of other workers"
    assert lines[1] == "s-0: its worker is gone; trying its values again"
    assert len(lines) == 3


def test_the_report_shows_the_newest_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(STORAGE, raising=False)
    assert report._read_search() is None
    assert not Path(JOURNAL).exists(), "reading makes no file"
    old, new = (Study(journal(tmp_path), name, SPACE, {}, score="accuracy", total=6)
                for name in ("old", "new"))  # fmt: skip
    run_all(old)
    assert report._read_search().importances == {}, "all scores are the same"
    run_all(new, lambda trial: float(trial.values["dropout"]))
    search = report._read_search()
    assert search is not None
    assert search.name == "new"
    assert search.states == {"finished": 6}
    assert [number for number, _ in search.scores] == list(range(6))
    assert next(iter(search.importances)) == "dropout"
    assert sum(search.importances.values()) == pytest.approx(1)
    assert search.best.startswith("new-")
    monkeypatch.setenv(STORAGE, "postgresql://team@127.0.0.1:1/sweeps")
    assert report._read_search() is None
    assert capsys.readouterr().err.startswith("without the search: --storage: ")
