"""The table of all systems: what it plans to run, what it runs again, how it reads."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from conftest import ROOT

from arxiv_hybrid.config import parse


@pytest.fixture
def experiments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("experiments", ROOT / "benchmarks/experiments.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "experiments", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setattr(module, "RUNS", tmp_path / "runs.csv")
    monkeypatch.setattr(module, "has_gpu", lambda: False)
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
        "linear": 0.8,
        "disagreement": None,
        "parameters": 1_000_000,
        "train_seconds": 10.0,
        "device": "cpu",
        "revision": "abc",
    }


def test_every_run_is_a_valid_set_of_parameters(experiments: ModuleType) -> None:
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for rows in (experiments.TABLE, experiments.ABLATIONS):
        runs = experiments.plan(rows, ["published", "clean"], "papers.csv", 3)
        assert len(runs) == len(rows) * 2 * 3
        assert len({run.name for run in runs}) == len(runs)
        for run in runs:
            changed = yaml.safe_load(yaml.safe_dump(content))
            for key, value in run.settings.items():
                *groups, last = key.split(".")
                place = changed
                for group in groups:
                    place = place[group]
                assert last in place, key
                place[last] = _value(value)
            parse(changed, run.name)


def _value(text: str) -> Any:
    """A value as DVC reads it from the command line."""
    return yaml.safe_load(text.replace(":", ": ").replace(",", ", "))


def test_another_recipe_is_another_run(
    experiments: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    (before,) = experiments.plan(experiments.TABLE[:1], ["clean"], "synthetic", 1)
    name = before.name
    assert name == before.name
    monkeypatch.setattr(experiments, "recipe", lambda *_: {"epochs": 7})
    assert before.name != name


def test_all_models_are_in_the_table(experiments: ModuleType) -> None:
    from arxiv_hybrid.models.registry import MODELS

    assert set(MODELS) <= {row.settings.get("model") for row in experiments.TABLE}


def test_rows_come_before_repetitions(experiments: ModuleType) -> None:
    runs = experiments.plan(experiments.TABLE, ["clean"], "synthetic", None)
    first = runs[: len(experiments.TABLE)]
    assert {run.row.name for run in first} == {row.name for row in experiments.TABLE}
    often = [row for row in experiments.TABLE if row.often]
    assert len(runs) == len(experiments.TABLE) + 2 * len(often)


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
    command = ["experiments.py", "table", "--seeds", "1", "--only", "v1,v2"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(KeyboardInterrupt):
        experiments.main()
    experiments.main()
    assert len(done) == 5
    assert len(set(done)) == 4
    assert done[2] == done[3], "the one that was interrupted"
    out = capsys.readouterr().out
    assert "4 runs, 2 of them finished before" in out
    assert "| v1 | 70.0 | 70.0 | 50.0 | 90.0 |" in out
    assert "| TF-IDF + linear | 80.0 | 80.0 |" in out
    assert (experiments.RESULTS / "table.md").read_text() in out + "\n"


def test_spreads(experiments: ModuleType) -> None:
    import pandas as pd

    assert experiments.spread(pd.Series([0.7, 0.72, 0.71])) == "71.0 ± 1.0 (3)"
    assert experiments.spread(pd.Series([0.7])) == "70.0"
    assert experiments.spread(pd.Series([None], dtype=float)) == ""
