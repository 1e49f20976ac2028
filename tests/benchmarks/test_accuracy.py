"""The table against what a user might use instead: its plan, its sums, and resuming."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pretrained_models
import pytest
import scripts

from arxiv_hybrid.sources import synthetic


@pytest.fixture
def accuracy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    module = scripts.load("accuracy")
    monkeypatch.setattr(module, "TABLE", replace(module.TABLE, path=tmp_path / "accuracy.csv"))
    monkeypatch.setattr(module, "PROBABILITIES", tmp_path / "probabilities")
    return module


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Papers, an encoder that knows a few of their words, and vectors in MiniLM's place."""
    papers = synthetic.generate(papers=200, label_noise=0.05, seed=3)[0]
    papers.to_csv(tmp_path / "papers.csv", index=False)
    for name in ("encoder", "until"):
        pretrained_models.save(tmp_path / name, last_month="2000-01")
    pretrained_models.save(tmp_path / "text", classes=[])
    ids = papers["id"].drop_duplicates().to_numpy(dtype=str)
    vectors = np.random.default_rng(0).normal(size=(len(ids), 5)).astype(np.float32)
    np.savez(tmp_path / "minilm.npz", id=ids, vectors=vectors, seconds=2.0)
    return {
        "data": tmp_path / "papers.csv",
        "pretrained": tmp_path / "encoder",
        "pretrained-until": tmp_path / "until",
        "pretrained-text": tmp_path / "text",
        "minilm": tmp_path / "minilm.npz",
    }


def planned(accuracy: ModuleType, sources: Any, members: int) -> list[Any]:
    names = [protocol.name for protocol in accuracy.PROTOCOLS]
    runs: list[Any] = accuracy.plan(sources, names, members)
    return runs


def test_every_contender_meets_every_split(
    accuracy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sources_of = Path("any"), accuracy.Sources
    monkeypatch.setattr(sources_of, "digest", lambda *_, **__: "some files")
    monkeypatch.setattr(sources_of, "encodings", accuracy.Encodings({"a": 0}, np.zeros((1, 2)), 1))
    monkeypatch.setattr(sources_of, "dump_papers", pd.DataFrame({"id": ["a"]}))
    encoders = dict.fromkeys(accuracy.ENCODERS, path)
    runs = planned(accuracy, sources_of(path, encoders, (path,), path), 2)
    assert len({run.name for run in runs}) == len(runs)
    clean = [(run.contender, run.seed) for run in runs if run.protocol.name == "clean"]
    assert len(clean) == 5 * 5
    assert len(set(clean)) == len(clean)
    assert {run.contender for run in runs if run.protocol.more} == {"linear", "minilm", "v6-42"}
    assert {run.protocol.name for run in runs if run.contender == "v6-text"} == {"clean"}
    few = planned(accuracy, sources_of(path, {"pretrained": path}), 1)
    assert {run.contender for run in few} == {"linear", "v6-42"}
    assert not any(run.protocol.more for run in few)
    by_time = {run.contender for run in few if run.protocol.by == "time"}
    assert by_time == {"linear"}, "no network without an encoder that stops before the test"


def test_minilm_learns_from_more_labels_only_with_all_their_vectors(
    accuracy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path("any")
    sources = accuracy.Sources(path, {"pretrained": path}, (path,), path)
    more = next(protocol for protocol in accuracy.PROTOCOLS if protocol.more)
    monkeypatch.setattr(accuracy.Sources, "dump_papers", pd.DataFrame({"id": ["a", "b"]}))
    for known, expected in (("a", False), ("ab", True), ("abc", True)):
        rows = {name: row for row, name in enumerate(known)}
        encodings = accuracy.Encodings(rows, np.zeros((len(known), 2)), 1)
        monkeypatch.setattr(accuracy.Sources, "encodings", encodings)
        assert sources.has("minilm", more) is expected
    assert sources.has("minilm", accuracy.PROTOCOLS[0])


def test_a_runs_name_stands_for_its_recipe(accuracy: ModuleType) -> None:
    run = accuracy.Run(accuracy.PROTOCOLS[0], 42, "v6-42", "some files")
    assert run.name != replace(run, inputs="other files").name
    other = replace(run, protocol=replace(run.protocol, changes=(("epochs", 9),)))
    assert run.name != other.name
    assert other.params.epochs == 9
    assert run.params.seed == 42
    other_seed = replace(run, contender="v6-123").params
    assert (other_seed.model, other_seed.seed) == ("v6", 123)


def test_four_classes_become_three(accuracy: ModuleType) -> None:
    four = np.array([[0.3, 0.1, 0.2, 0.4], [0.0, 0.9, 0.1, 0.0]])
    assert accuracy.merged(four) == pytest.approx(np.array([[0.7, 0.1, 0.2], [0, 0.9, 0.1]]))


def test_more_labels_are_read_with_the_own_files_class_shares(accuracy: ModuleType) -> None:
    # of all training papers half are of each class, of the own ones (a to d) three quarters of 1
    train = pd.DataFrame({"id": list("abcdefgh"), "label": [0, 1, 1, 1, 0, 0, 0, 1]})
    val = pd.DataFrame({"label": [0, 1] * 20})
    parts, own = {"train": train, "val": val}, set("abcd")
    undecided = np.full((40, 2), 0.5)
    moved = accuracy.to_own_shares({"val": undecided, "test": undecided[:1]}, parts, own)["test"]
    odds = moved[0, 1] / moved[0, 0]
    assert 1 < odds <= 3.01, "towards class 1, less what the temperature takes back"
    sure = np.array([[0.9, 0.1], [0.1, 0.9]] * 20)
    kept = accuracy.to_own_shares({"val": sure, "test": sure}, parts, own)["test"]
    assert (kept.argmax(1) == sure.argmax(1)).all()


def test_gains_are_of_the_same_splits(accuracy: ModuleType) -> None:
    mine = pd.DataFrame({"accuracy": [0.82, 0.83, 0.84]}, [1, 2, 3])
    other = pd.DataFrame({"accuracy": [0.81, 0.80, 0.82]}, [3, 1, 2])
    # differences 2, 1, 3: mean 2, deviation 1, t(2) = 4.303, root of 1/3 + 0.15/0.7 = 0.740
    assert accuracy.gain(mine, other) == "+2.0 (-1.2 to +5.2)"
    assert accuracy.gain(mine.loc[[1]], other.loc[[1]]) == "+2.0"
    assert accuracy.gain(mine, mine) == accuracy.gain(mine, None) == ""


def test_the_table_is_made_and_nothing_is_run_twice(
    accuracy: ModuleType, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    clean, _, by_time, _ = accuracy.PROTOCOLS
    short = {"classes": 4, "changes": (("epochs", 1),)}
    protocols = (replace(clean, seeds=(42, 43), **short), replace(by_time, **short))
    assert by_time.encoder == "pretrained_until"
    monkeypatch.setattr(accuracy, "PROTOCOLS", protocols)
    command = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    ran: list[str] = []
    execute = accuracy.execute

    def counted(run: Any, sources: Any) -> Any:
        ran.append(run.name)
        if len(ran) == 8:
            raise KeyboardInterrupt
        return execute(run, sources)

    monkeypatch.setattr(accuracy, "execute", counted)
    assert scripts.status(accuracy.main, [*command, "--members", "2"]) == 130
    assert scripts.status(accuracy.main, [*command, "--members", "2"]) == 0
    assert len(ran) == 14 + 1, "only the one that was interrupted came twice"
    assert scripts.status(accuracy.main, [*command, "--members", "2"]) == 0
    assert len(ran) == 14 + 1
    text = accuracy.TABLE.path.with_suffix(".md").read_text()
    assert text in capsys.readouterr().out
    table = [line.split(" | ") for line in text.splitlines()[2:]]
    assert [(line[0].strip("| "), line[1]) for line in table] == [
        (protocol, shown)
        for protocol in ("clean", "time", "clean, 3 classes")
        for name, shown in accuracy.SHOWN.items()
        if name != "without" and not (name == "v6-text" and protocol == "time")
    ]
    results = accuracy.TABLE.read()
    minilm = results[results["contender"] == "minilm"]
    assert (minilm["documents_per_second"] == 100).all()
    assert (minilm["train_seconds"] > 2.0 * 0.9).all(), "encoding the papers counts"


def test_mistakes_are_told_in_one_line(
    accuracy: ModuleType, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(files["data"])]
    assert scripts.status(accuracy.main, [*data, "--pretrained", "nowhere"]) == 2
    assert "nowhere: no such file (--pretrained)" in capsys.readouterr().err
    known = [*data, "--pretrained", str(files["pretrained"])]
    assert scripts.status(accuracy.main, [*known, "--protocols", "more labels"]) == 2
    assert "needs --dump" in capsys.readouterr().err
    np.savez(files["minilm"], id=["other"], vectors=np.zeros((1, 2)), seconds=1.0)
    assert scripts.status(accuracy.main, [*known, "--minilm", str(files["minilm"])]) == 2
    assert "has no vector for" in capsys.readouterr().err
    assert scripts.status(accuracy.main, [*known, "--protocols", "odd"]) == 2
    assert "no 'odd'; choose from clean, published" in capsys.readouterr().err


def test_the_single_model_stands_beside_more_labels(
    accuracy: ModuleType, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    clean, *_, more = accuracy.PROTOCOLS
    papers = pd.read_csv(files["data"])
    labelled = accuracy.label_papers(papers, accuracy.PRIMARY).documents
    others = labelled.assign(id=["other-" + name for name in labelled["id"]]).head(20)
    monkeypatch.setattr(accuracy.Sources, "dump_papers", others)
    sources = accuracy.Sources(files["data"], {}, (), files["data"])
    runs = [
        accuracy.Run(replace(protocol, seeds=(42,)), 42, contender, "files")
        for protocol, contender in ((clean, "v6-42"), (more, "linear"))
    ]
    papers_of = runs[0].splits(sources)[0]["test"]
    right = np.eye(4)[papers_of["label"]]
    for run in runs:
        path = accuracy.PROBABILITIES / f"{run.name}.npz"
        path.parent.mkdir(exist_ok=True)
        np.savez(path, val=right, test=right)
    rows = [row for row in accuracy.derived_rows(runs, sources) if row["protocol"] == more.name]
    assert [(row["contender"], row["accuracy"]) for row in rows] == [("without", 1.0)]


def test_the_papers_of_more_labels_are_written_for_minilm(
    accuracy: ModuleType, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    papers = pd.DataFrame({"id": ["a"], "title": ["t"], "abstract": ["b"], "label": [1]})
    monkeypatch.setattr(accuracy.Sources, "dump_papers", papers)
    command = ["--data", str(files["data"]), "--pretrained", str(files["pretrained"])]
    command += ["--write-more", str(tmp_path / "more.csv")]
    assert scripts.status(accuracy.main, command) == 2
    assert scripts.status(accuracy.main, [*command, "--dump", str(files["data"])]) == 0
    assert (tmp_path / "more.csv").read_text() == "id,title,abstract\na,t,b\n"


@pytest.mark.parametrize(
    ("option", "saved", "message"),
    [
        ("pretrained", {"papers": True}, "/encoder: pretrained: it was trained on 60 validation"),
        (
            "pretrained-text",
            {"papers": True, "classes": []},
            "/text: pretrained: it was trained on",
        ),
        ("pretrained-text", {}, "has learned categories; pre-train with objectives: [titles]"),
        ("pretrained-until", {"papers": True}, "/until: pretrained: it was trained on 60"),
        ("pretrained-until", {"last_month": "2999-01"}, "papers up to 2999-01, but test papers"),
        ("pretrained-until", {"last_month": ""}, "papers up to an unknown month, but test papers"),
    ],
)
def test_an_encoder_that_read_the_test_papers_is_refused(
    accuracy: ModuleType, files: dict[str, Path], capsys: pytest.CaptureFixture[str],
    option: str, saved: dict[str, Any], message: str,
) -> None:  # fmt: skip
    if "papers" in saved:
        saved = saved | {"papers": pd.read_csv(files["data"])["id"].drop_duplicates().tolist()}
    pretrained_models.save(files[option], **saved)
    command = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    status = scripts.status(accuracy.main, [*command, "--protocols", "clean,published,time"])
    assert status == 2
    assert message in capsys.readouterr().err
    assert not accuracy.TABLE.path.exists(), "before any training"


@pytest.mark.parametrize("known", ["2511.00010", "0704.0010", "2401.12340"])
def test_papers_whose_ids_lost_zeros_are_refused(
    accuracy: ModuleType, tmp_path: Path, known: str
) -> None:
    pretrained_models.save(tmp_path / "encoder", papers=[known])
    encoder = accuracy.load_pretrained(tmp_path / "encoder")
    encoder.check_held_out(["2511.00011", "0704.0011"])
    with pytest.raises(accuracy.UserError, match=known):
        encoder.check_held_out([known.rstrip("0")])
