"""The tasks with any labels: what they read, what they measure, and resuming."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scripts

from arxiv_hybrid.evaluation.predictions import Predictions

TINY = (
    "model=v5 embeddings=random glove.source=none glove.dim=8 epochs=1 batch_size=64"
    " architecture.num_filters=4 architecture.lstm_hidden=4 vocab.abstract_length=20"
)


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    module = scripts.load("tasks")
    monkeypatch.setattr(module, "TABLE", replace(module.TABLE, path=tmp_path / "tasks.csv"))
    monkeypatch.setattr(module, "PROBABILITIES", tmp_path / "probabilities")
    monkeypatch.setattr(module, "RECIPES", dict.fromkeys(module.TASKS, TINY))
    monkeypatch.setattr(module, "execute", module.measure)  # in this process
    return module


@pytest.fixture
def dump(tmp_path: Path, tasks: ModuleType) -> Path:
    """Papers of three months in the fields, whose words tell their first category."""
    random = np.random.default_rng(0)
    path, lines = tmp_path / "dump.json", []
    for number in range(900):
        month, field = 1612 + (number >= 600) * 89 + (number >= 750), number % len(tasks.FIELDS)
        names = [tasks.FIELDS[field]]
        names += [name for name in tasks.FIELDS if name != names[0] and random.random() < 0.3]
        words = [f"word{tasks.FIELDS.index(name)}" for name in names for _ in range(4)]
        paper = {
            "id": f"{month}.{number:05}",
            "title": f"On topic word{field} and paper {number}",
            "abstract": " ".join([*words, *random.choice(["a", "the", "of", "and"], 8)]),
            "categories": " ".join(names),
        }
        lines.append(json.dumps(paper))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_run_is_a_valid_set_of_parameters(tasks: ModuleType) -> None:
    names = set()
    for task in tasks.TASKS.values():
        for run in tasks.plan(task, Path("a 'dump'.json"), "digest"):
            assert run.params.fetch.path == "a 'dump'.json"
            assert run.params.split.seed == run.seed
            names.add(run.name)
    assert len(names) == 2 * (3 + 1 + 1)
    assert tasks.TASKS["natural"].name == "natural"


def test_shipped_recipes_are_valid(tasks: ModuleType) -> None:
    shipped = scripts.load("tasks")
    for settings in shipped.RECIPES.values():
        tasks.params_with(settings.split())


def test_a_runs_name_stands_for_the_dump_and_a_networks_recipe(
    tasks: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def names(inputs: str = "digest") -> list[str]:
        return [run.name for run in tasks.plan(tasks.TASKS["natural"], Path("dump"), inputs)]

    linear, network = names()
    assert linear != names("other")[0]
    monkeypatch.setitem(tasks.RECIPES, "natural", f"{TINY} dropout=0.3")
    assert names()[0] == linear, "the baseline has no recipe"
    assert names()[1] != network


def test_six_fields_are_a_csv_of_the_newest_papers(
    tasks: ModuleType, dump: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "PAPERS_PER_FIELD", 40)
    run = tasks.plan(tasks.TASKS["six-fields"], dump, "digest")[0]
    papers = tasks.read_papers(run)
    assert papers["label"].value_counts().to_dict() == dict.fromkeys(tasks.FIELDS, 40)
    numbers = papers["title"].str.rsplit(" ", n=1).str[1].astype(int)
    assert numbers.min() == 900 - 6 * 40, "the newest"
    parts, label_set = tasks.split_papers(papers, run.params)
    assert set(label_set.names) == set(tasks.FIELDS)
    assert not label_set.multi_label
    assert sum(map(len, parts.values())) == 240


def test_a_table_is_made_and_nothing_is_run_twice(
    tasks: ModuleType,
    dump: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    natural = tasks.TASKS["natural"]
    own = natural.settings.replace("labels.min_papers=50", "labels.min_papers=20")
    monkeypatch.setitem(tasks.TASKS, "natural", replace(natural, settings=own))
    command = ["natural", "--dump", str(dump)]
    assert scripts.status(tasks.main, command) == 0
    table = capsys.readouterr().out
    results = tasks.TABLE.read().set_index("contender")
    assert results.loc["linear", ["train_papers", "test_papers", "classes"]].tolist() == [
        600, 150, 6
    ]  # fmt: skip
    assert (results["seconds"] > 0).all()
    assert (results["peak_gigabytes"] > 0.1).all()
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")]
    assert [row[0].strip("| ") for row in rows] == ["natural", *tasks.SHOWN.values()]
    assert rows[0][1:5] == ["precision@1", "micro-F1", "macro-F1", "sample-F1"]
    assert float(rows[1][1]) > 90, "the words tell the field"
    assert rows[1][5:7] == ["", ""]
    assert " to " in rows[2][5]
    monkeypatch.setattr(tasks, "execute", lambda _: pytest.fail("it is finished"))
    assert scripts.status(tasks.main, command) == 0
    assert "2 already finished" in capsys.readouterr().out
    assert (tasks.TABLE.path.with_name("tasks-natural.md")).read_text() in table


def test_gains_over_the_baseline(tasks: ModuleType) -> None:
    classes = np.arange(60) % 3
    right = np.eye(3)[classes]
    wrong = np.roll(right, 1, axis=1)
    good, bad = Predictions(right), Predictions(np.where(np.arange(60)[:, None] < 15, wrong, right))
    assert tasks.scores(classes, good, bad) == {"accuracy": 1.0, "macro_f1": 1.0}
    listed, half = right.astype(bool), np.full(3, 0.5)
    good, bad = (replace(predictions, thresholds=half) for predictions in (good, bad))
    gains: dict[str, Any] = tasks.scores(listed, good, bad)
    assert gains["precision_at_1_gain"].startswith("+25.0 (")
    assert "precision_at_1_gain" not in tasks.scores(listed, bad, bad)


def test_six_fields_average_over_the_splits(tasks: ModuleType) -> None:
    scored = pd.DataFrame(
        [
            {"task": "six-fields", "split_seed": seed, "contender": name, "accuracy": accuracy,
             "macro_f1": accuracy}
            for name, values in (("linear", (0.90, 0.91, 0.92)), ("network", (0.92, 0.92, 0.95)))
            for seed, accuracy in zip((42, 43, 44), values, strict=True)
        ]
    )  # fmt: skip
    results = pd.DataFrame({"contender": ["linear"], "seconds": [3.0], "peak_gigabytes": [0.5]})
    lines = tasks.report("six-fields", results, scored).splitlines()
    assert lines[2] == "| TF-IDF + linear | 91.0 ± 1.0 | 91.0 ± 1.0 |  | 3 | 0.5 |"
    assert lines[3].startswith("| network | 93.0 ± 1.7 | 93.0 ± 1.7 | +2.0 (")
