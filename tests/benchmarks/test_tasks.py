"""The tasks with any labels: what they read, what they measure, and resuming."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pretrained_models
import pytest
import scripts

from arxiv_hybrid.evaluation.predictions import Predictions


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    module = scripts.load("tasks")
    monkeypatch.setattr(module, "TABLE", replace(module.TABLE, path=tmp_path / "tasks.csv"))
    monkeypatch.setattr(module, "PROBABILITIES", tmp_path / "probabilities")
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


@pytest.fixture
def model(tmp_path: Path, tasks: ModuleType) -> Path:
    """A model of the fields, whose words it knows, in another order than the task's."""
    words = [f"word{number}" for number in range(len(tasks.FIELDS))]
    pretrained_models.save(tmp_path / "model", classes=tasks.FIELDS[::-1], words=words)
    return tmp_path / "model"


def test_every_run_is_a_valid_set_of_parameters(tasks: ModuleType) -> None:
    inputs = tasks.Inputs(Path("a 'dump'.json"), Path("a 'model'"), Path("vectors"))
    names = set()
    for task in tasks.TASKS.values():
        for run in tasks.plan(task, inputs):
            assert run.params.fetch.path == "a 'dump'.json"
            assert run.params.split.seed == run.seed
            assert (run.params.pretrained == "a 'model'") is (run.contender == "v6")
            assert (run.params.model == "v6") is (run.contender == "v6")
            names.add(run.name)
    assert len(names) == 3 * (3 * 8 + 6) + 3 + 3, "no vectors of older papers"
    six = tasks.plan(tasks.TASKS["six-fields"], replace(inputs, minilm=None))
    assert {run.contender for run in six} == {"linear", "v6", "v1"}


def test_v6_runs_with_the_defaults(tasks: ModuleType) -> None:
    runs = tasks.plan(tasks.TASKS["six-fields"], tasks.Inputs(Path("d"), Path("m")))
    run = [run for run in runs if run.contender == "v6"][-1]
    written = ["labels.from=column", "split.seed=44", "fetch.source=csv", "fetch.path=d"]
    default = tasks.params_with([*written, "pretrained=m"])
    assert run.params.model_dump() | {"fetch": None} == default.model_dump() | {"fetch": None}


def test_a_runs_name_stands_for_the_files_that_it_reads(tasks: ModuleType) -> None:
    six = replace(tasks.TASKS["six-fields"], seeds=(42,), sizes=(30,))

    def names(*digests: str) -> dict[str, str]:
        inputs = tasks.Inputs(Path("dump"), Path("model"), Path("vectors"), digests)
        every = tasks.plan(six, inputs)
        every += tasks.plan(tasks.TASKS["natural"], inputs)
        return {run.contender: run.name for run in every}

    before = names("dump", "model", "vectors")
    for digests, changed in {
        ("other", "model", "vectors"): {"linear", "minilm", "v6", "v1", "shipped"},
        ("dump", "other", "vectors"): {"v6", "shipped"},
        ("dump", "model", "other"): {"minilm"},
    }.items():
        after = names(*digests)
        assert {name for name in before if before[name] != after[name]} == changed


def test_smaller_parts_are_in_the_larger_ones(tasks: ModuleType) -> None:
    sizes = {"train": 210, "val": 45, "test": 45}
    parts = {
        name: pd.DataFrame({"id": range(3 * count), "label": [0, 1, 2] * count})
        for name, count in sizes.items()
    }
    few, some, every = (tasks.part_of(parts, size, 42) for size in (30, 100, 300))
    for name, counts in {"train": (21, 70, 210), "val": (4, 15, 45), "test": (45,) * 3}.items():
        for part, count in zip((few, some, every), counts, strict=True):
            assert part[name]["label"].value_counts().tolist() == [count] * 3
        assert {*few[name]["id"]} <= {*some[name]["id"]} <= {*every[name]["id"]}
    other = tasks.part_of(parts, 30, 43)
    assert {*other["train"]["id"]} != {*few["train"]["id"]}
    assert other["test"] is parts["test"]


def test_every_category_gets_its_own_bias(tasks: ModuleType) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (4000, 3)) - 1
    true = np.array([1.5, 0.0, -2.0])  # more, as, and less frequent than the model thinks
    classes = random.random(logits.shape) < tasks.sigmoid(logits / 2 + true)
    temperature, biases = tasks.fit_biases(classes, tasks.sigmoid(logits))
    assert temperature == pytest.approx(2, rel=0.1)
    assert biases == pytest.approx(true, abs=0.2)
    _, few = tasks.fit_biases(classes[:5], tasks.sigmoid(logits[:5]))
    assert np.abs(few - few.mean()).max() < np.abs(true - true.mean()).max(), "the prior holds"


def test_the_models_classes_are_taken_by_name(
    tasks: ModuleType, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = (tasks.FIELDS[2], "math.AG", tasks.FIELDS[0])
    papers = pd.DataFrame({"title": ["word1 word2", "word0"] * 20, "abstract": ["word0"] * 40})
    papers["labels"] = [[0], [2]] * 20
    found = tasks.answers(model, {"val": papers, "test": papers[:3]}, tasks.LabelSet(names, True))
    assert "does not know math.AG" in capsys.readouterr().out
    assert found["test"].probabilities.shape == (3, 3)
    assert not found["test"].assigned[:, 1].any()
    alone = tasks.LabelSet(names[:1], True)
    labelled = papers.assign(labels=[[0]] * 40)
    by_itself = tasks.answers(model, {"val": labelled, "test": papers[:3]}, alone)["test"]
    order = np.argsort(found["test"].probabilities[:, 0])
    assert (np.argsort(by_itself.probabilities[:, 0]) == order).all(), "the same column"


def test_six_fields_are_a_csv_of_the_newest_papers(
    tasks: ModuleType, dump: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "PAPERS_PER_FIELD", 40)
    run = replace(tasks.plan(tasks.TASKS["six-fields"], tasks.Inputs(dump))[0], size=40)
    papers = tasks.read_papers(run)
    assert papers["label"].value_counts().to_dict() == dict.fromkeys(tasks.FIELDS, 40)
    numbers = papers["title"].str.rsplit(" ", n=1).str[1].astype(int)
    assert numbers.min() == 900 - 6 * 40, "the newest"
    assert (papers["arxiv_id"].str[5:].astype(int) == numbers).all(), "ids of the dump"
    parts, label_set = tasks.split_papers(papers, run.params)
    assert set(label_set.names) == set(tasks.FIELDS)
    assert not label_set.multi_label
    assert sum(map(len, parts.values())) == 240


def test_a_table_is_made_and_nothing_is_run_twice(
    tasks: ModuleType,
    dump: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    natural = tasks.TASKS["natural"]
    own = natural.settings.replace("labels.min_papers=50", "labels.min_papers=20")
    monkeypatch.setitem(tasks.TASKS, "natural", replace(natural, settings=own))
    command = ["natural", "--dump", str(dump), "--pretrained", str(model)]
    assert scripts.status(tasks.main, command) == 0
    table = capsys.readouterr().out
    results = tasks.TABLE.read().set_index("contender")
    assert results.loc["linear", ["train_papers", "test_papers", "classes"]].tolist() == [
        600, 150, 6
    ]  # fmt: skip
    assert (results["seconds"] > 0).all()
    assert (results["peak_gigabytes"] > 0.1).all()
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")]
    assert [row[0].strip("| ") for row in rows] == [
        "natural", *(tasks.SHOWN[name] for name in ("linear", "shipped", "v6", "ensemble"))
    ]  # fmt: skip
    assert rows[0][1:5] == ["precision@1", "micro-F1", "macro-F1", "sample-F1"]
    assert float(rows[1][1]) > 90, "the words tell the field"
    assert rows[1][5:7] == ["", ""]
    assert " to " in rows[2][5]
    monkeypatch.setattr(tasks, "execute", lambda _: pytest.fail("it is finished"))
    assert scripts.status(tasks.main, command) == 0
    assert "3 already finished" in capsys.readouterr().out
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


def test_six_fields_are_measured_at_every_size(
    tasks: ModuleType, dump: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "PAPERS_PER_FIELD", 60)
    three = ("linear", "minilm", "v6")
    small = replace(tasks.TASKS["six-fields"], sizes=(90, 60, 20), seeds=(42,), contenders=three)
    monkeypatch.setitem(tasks.TASKS, "six-fields", small)
    ids = [json.loads(line)["id"] for line in dump.read_text().splitlines()]
    vectors = np.random.default_rng(0).normal(size=(len(ids), 4)).astype(np.float32)
    np.savez(tmp_path / "six.npz", id=ids, vectors=vectors, seconds=1.0)
    command = ["six-fields", "--dump", str(dump), "--pretrained", str(model)]
    assert scripts.status(tasks.main, [*command, "--minilm", str(tmp_path / "six.npz")]) == 0
    results = tasks.TABLE.read().set_index(["papers_per_class", "contender"])
    assert results["train_papers"].to_dict() == {
        (size, name): 6 * (min(size, 60) * 7 // 10 + max(0, size - 60))
        for size in (90, 60, 20)
        for name in three
        if name != "minilm" or size <= 60
    }
    assert set(results["test_papers"]) == {6 * 9}, "the same test papers"
    table = (tasks.TABLE.path.with_name("tasks-six-fields.md")).read_text().splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == [
        "| 90", "| 90", *["| 60"] * 3, *["| 20"] * 3
    ]  # fmt: skip


@pytest.mark.parametrize("task", ["six-fields", "natural", "balanced"])
def test_a_model_that_read_the_papers_is_refused(
    tasks: ModuleType, dump: Path, tmp_path: Path, task: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(tasks, "PAPERS_PER_FIELD", 40)
    changed = tasks.TASKS[task].settings.replace("labels.min_papers=50", "labels.min_papers=20")
    contender = "v6" if task != "natural" else "shipped"
    shorter = replace(tasks.TASKS[task], settings=changed, contenders=(contender,))
    monkeypatch.setitem(tasks.TASKS, task, shorter)
    ids = [json.loads(line)["id"] for line in dump.read_text().splitlines()]
    pretrained_models.save(tmp_path / "model", classes=tasks.FIELDS, papers=ids)
    command = [task, "--dump", str(dump), "--pretrained", str(tmp_path / "model")]
    assert scripts.status(tasks.main, command) == 2
    assert "validation or test papers, such as" in capsys.readouterr().err
    assert not tasks.TABLE.path.exists()


def test_mistakes_are_told_in_one_line(
    tasks: ModuleType, dump: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["six-fields", "--dump", str(dump), "--pretrained", str(model)]
    (tmp_path / "other.npz").write_text("no vectors")
    for arguments, message in {
        ("--minilm", str(tmp_path / "other.npz")): "not from benchmarks/minilm.py",
        ("--minilm", "nowhere.npz"): "nowhere.npz: no such file (--minilm)",
        ("--pretrained", str(tmp_path)): "model.json",
    }.items():
        assert scripts.status(tasks.main, [*command, *arguments]) == 2
        assert message in capsys.readouterr().err
    natural = ["natural", *command[1:], "--minilm", str(tmp_path / "other.npz")]
    assert scripts.status(tasks.main, natural) == 2
    assert "does not take part in natural" in capsys.readouterr().err


def test_six_fields_average_over_the_splits(tasks: ModuleType) -> None:
    values = {"linear": (0.90, 0.91, 0.92), "minilm": (0.91,) * 3, "v6": (0.92, 0.92, 0.95)}
    scored = pd.DataFrame(
        [
            {"task": "six-fields", "papers_per_class": size, "split_seed": seed,
             "contender": name, "accuracy": accuracy, "macro_f1": accuracy}
            for size in (300, 30)
            for name, accuracies in values.items()
            for seed, accuracy in zip((42, 43, 44), accuracies, strict=True)
        ]
    )  # fmt: skip
    results = pd.DataFrame(
        {"contender": ["linear"] * 2, "papers_per_class": [300, 30], "seconds": [3.0, 1.0],
         "peak_gigabytes": [0.5, 0.4]}
    )  # fmt: skip
    lines = tasks.report("six-fields", results, scored).splitlines()
    assert lines[2].startswith("| 300 | TF-IDF + linear | 91.0 ± 1.0 | 91.0 ± 1.0 |  | +0.0 (")
    assert lines[2].endswith(") | 3 | 0.5 |")
    assert lines[5].startswith("| 30 | TF-IDF + linear | 91.0 ± 1.0")
    assert lines[5].endswith("| 1 | 0.4 |")
    over_linear, over_minilm = lines[4].split(" | ")[4:6]
    assert over_linear.startswith("+2.0 (")
    assert over_minilm.startswith("+2.0 (")
