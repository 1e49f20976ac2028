"""The table of all systems: what it plans to run, what it runs again, how it reads."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import scripts
from conftest import DEFAULTS, ROOT

from arxiv_hybrid.system.errors import UserError


@pytest.fixture
def experiments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    module = scripts.load("experiments")
    monkeypatch.setattr(module, "RUNS", replace(module.RUNS, path=tmp_path / "runs.csv"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    return module


def result(run: Any, accuracy: float) -> dict[str, Any]:
    return {
        "experiment": run.name,
        "row": run.row.name,
        "protocol": run.protocol,
        "split_seed": run.seed,
        "accuracy": accuracy,
        "macro_f1": 0.5,
        "any_listed": 0.9,
        "recall_cl": 0.6,
        "linear": 0.8,
        "disagreement": None,
        "parameters": 1_000_000,
        "train_seconds": 10.0,
        "device": "cpu",
        "revision": "abc",
    }


def test_every_run_is_a_valid_set_of_parameters(experiments: ModuleType) -> None:
    for rows, _ in experiments.SUITES.values():
        runs = experiments.plan(rows, ["published", "clean"], "folder/a (1),'b'.csv", 2)
        assert len(runs) == len(rows) * 2 * 2
        assert len({run.name for run in runs}) == len(runs)
        for run in runs:
            assert run.params.fetch.path == "folder/a (1),'b'.csv"
            assert run.params.labels.classes == (3 if run.protocol == "published" else 4)
            assert run.params.split.seed == run.seed


def test_a_runs_name_stands_for_all_its_parameters(
    experiments: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def name(row: int, shipped: str, changed: str) -> str:
        text = (DEFAULTS / "params.yaml").read_text(encoding="utf-8")
        assert shipped in text
        (tmp_path / "params.yaml").write_text(text.replace(shipped, changed), encoding="utf-8")
        monkeypatch.setattr("workload.ROOT", tmp_path)
        (run,) = experiments.plan(experiments.TABLE[row : row + 1], ["clean"], "synthetic", 1)
        assert run.target == ("ensemble" if row == ensemble else "evaluate")
        return run.name

    v1, ensemble = 1, 6
    before = name(v1, "\ndropout: auto", "\ndropout: auto")
    assert before == name(v1, "\ndropout: auto", "\ndropout: 0.5"), "what auto stands for"
    assert before == name(v1, "tta: 0", "tta: 2"), "v1 alone has no copies"
    assert before == name(v1, "log_model: true", "log_model: false")
    assert before != name(v1, "\ndropout: auto", "\ndropout: 0.9")
    assert before != name(v1, "papers: 2400", "papers: 240")
    voted = name(ensemble, "tta: 0", "tta: 0")
    assert voted != name(ensemble, "tta: 0", "tta: 2")
    assert voted != name(ensemble, "epochs: auto", "epochs: 3")


def test_all_models_are_in_the_table(experiments: ModuleType) -> None:
    from arxiv_hybrid.models.registry import MODELS

    ours = {"v5", "v6"}  # were never published; benchmarks/accuracy.py measures them
    settings = {row.settings for row in experiments.TABLE}
    assert {f"model={model}" for model in set(MODELS) - ours} <= settings


def test_rows_come_before_repetitions(experiments: ModuleType) -> None:
    runs = experiments.plan(experiments.TABLE, ["clean"], "synthetic", None)
    first = runs[: len(experiments.TABLE)]
    assert {run.row.name for run in first} == {row.name for row in experiments.TABLE}
    repeated = [row for row in experiments.TABLE if row.repeated]
    assert len(runs) == len(experiments.TABLE) + 2 * len(repeated)


def test_finished_runs_are_not_run_again(
    experiments: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[str] = []

    def execute(run: Any) -> dict[str, Any]:
        done.append(run.name)
        if len(done) == 3:
            raise KeyboardInterrupt
        return result(run, 0.7)

    monkeypatch.setattr(experiments, "execute", execute)
    command = ["table", "--seeds", "1", "--only", "v1, v2,v1"]
    assert scripts.status(experiments.main, command) == 130
    assert scripts.status(experiments.main, command) == 0
    assert len(done) == 5
    assert len(set(done)) == 4
    assert done[2] == done[3], "the one that was interrupted"
    out = capsys.readouterr().out
    assert "4 runs, 2 already finished" in out
    assert "| v1 | 70.0 | 70.0 | 50.0 | 60.0 | 90.0 |" in out
    assert "| TF-IDF + linear | 80.0 | 80.0 |" in out
    assert not list(experiments.RUNS.path.parent.glob("*.md")), "two rows are not the table"


def test_a_run_that_fails_does_not_stop_the_others(
    experiments: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def execute(run: Any) -> dict[str, Any]:
        if run.row.name == "v1":
            raise subprocess.CalledProcessError(1, ["dvc"])
        return result(run, 0.7)

    monkeypatch.setattr(experiments, "execute", execute)
    assert scripts.status(experiments.main, ["table", "--seeds", "1", "--data", "synthetic"]) == 1
    assert "2 failed: v1-published" in capsys.readouterr().err
    kept = experiments.RUNS.path.with_name("table-synthetic.md").read_text()
    assert "| v2 | 70.0 | 70.0 |" in kept
    assert "| v1 |  |  |" in kept


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--only", "v11"], "--only: no 'v11'; choose from baseline, v1"),
        (["--protocols", "cleen"], "--protocols: no 'cleen'; choose from published, clean"),
        (["--data", "nope.csv"], "nope.csv: no such file (--data)"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    experiments: ModuleType, given: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scripts.status(experiments.main, ["table", *given]) == 2
    assert words in capsys.readouterr().err
    assert not list(experiments.RUNS.path.parent.iterdir())


def test_results_of_two_clones_can_be_put_together(experiments: ModuleType) -> None:
    (run,) = experiments.plan(experiments.TABLE[:1], ["clean"], "synthetic", 1)
    runs = experiments.RUNS
    runs.add(result(run, 0.5))
    runs.add(result(run, 0.7))
    assert runs.read()["accuracy"].tolist() == [0.7]
    runs.path.write_text("<<<<<<< ours\n")
    with pytest.raises(UserError, match=r"runs\.csv: no column experiment"):
        runs.read()
    runs.path.write_text("")
    with pytest.raises(UserError, match="not a valid CSV"):
        runs.read()


def test_percentages() -> None:
    percent = scripts.load("runner").percent
    assert percent(pd.Series([0.7, 0.72, 0.71]), count=True) == "71.0 ± 1.0 (3)"
    assert percent(pd.Series([0.7, 0.72, None])) == "71.0 ± 1.4"
    assert percent(pd.Series([0.7])) == "70.0"
    assert percent(pd.Series([None], dtype=float)) == ""


@pytest.mark.parametrize(
    ("suite", "protocols", "seeds"),
    [
        ("table", ["published", "clean"], [42, 43, 44]),
        ("ablations", ["clean"], [42]),
        ("collapse", ["published"], [42]),
    ],
)
def test_stored_results_give_the_stored_tables(
    suite: str, protocols: list[str], seeds: list[int]
) -> None:
    experiments = scripts.load("experiments")
    rows, _ = experiments.SUITES[suite]
    results = experiments.RUNS.read()
    chosen = results["row"].isin([row.name for row in rows])
    chosen &= results["protocol"].isin(protocols) & results["split_seed"].isin(seeds)
    text = experiments.table(rows, protocols, results[chosen])
    stored = ROOT / f"benchmarks/results/{suite}-arxiv_query_12k.md"
    assert text + "\n" == stored.read_text(encoding="utf-8")


def test_the_readme_shows_the_tables_as_they_were_measured() -> None:
    readme = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    for suite in ("table", "ablations", "collapse"):
        path = ROOT / f"benchmarks/results/{suite}-arxiv_query_12k.md"
        assert path.read_text(encoding="utf-8").strip() in readme, path.name
