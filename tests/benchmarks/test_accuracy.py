"""The table against what a user might use instead: its plan, its sums, and resuming."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scripts

from arxiv_hybrid.sources import synthetic


@pytest.fixture
def accuracy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    module = scripts.load("accuracy")
    monkeypatch.setattr(module, "TABLE", replace(module.TABLE, path=tmp_path / "accuracy.csv"))
    monkeypatch.setattr(module, "PROBABILITIES", tmp_path / "probabilities")
    return module


def save_encoder(folder: Path, papers: list[str]) -> None:
    import saved_encoder
    import torch

    from arxiv_hybrid.text.vocabulary import SPECIAL, Vocabulary

    words = Vocabulary((*SPECIAL, "the", "of", "and", "data", "with"))
    torch.manual_seed(0)
    saved_encoder.save_encoder(folder, words, papers)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Papers, an encoder that knows a few of their words, and vectors in MiniLM's place."""
    papers = synthetic.generate(papers=200, label_noise=0.05, seed=3)[0]
    papers.to_csv(tmp_path / "papers.csv", index=False)
    save_encoder(tmp_path / "encoder", [])
    ids = papers["id"].drop_duplicates().to_numpy(dtype=str)
    vectors = np.random.default_rng(0).normal(size=(len(ids), 5)).astype(np.float32)
    np.savez(tmp_path / "minilm.npz", id=ids, vectors=vectors, seconds=2.0)
    return {
        "data": tmp_path / "papers.csv",
        "pretrained": tmp_path / "encoder",
        "minilm": tmp_path / "minilm.npz",
    }


def test_every_contender_meets_every_split(
    accuracy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path("any")
    names = [protocol.name for protocol in accuracy.PROTOCOLS]
    monkeypatch.setattr(accuracy.Sources, "digest", lambda *_, **__: "some files")
    runs = accuracy.plan(accuracy.Sources(path, (path,), path, path), names, 2)
    assert len({run.name for run in runs}) == len(runs)
    clean = [(run.contender, run.seed) for run in runs if run.protocol.name == "clean"]
    assert len(clean) == 4 * 5
    assert len(set(clean)) == len(clean)
    more = {run.contender for run in runs if run.protocol.more}
    assert more == {"linear", "v5-42", "v5-123"}
    without = accuracy.plan(accuracy.Sources(path, (path,), None, None), names, 1)
    assert {run.contender for run in without} == {"linear", "v5-42"}
    assert not any(run.protocol.more for run in without)


def test_a_runs_name_stands_for_its_recipe(accuracy: ModuleType) -> None:
    run = accuracy.Run(accuracy.PROTOCOLS[0], 42, "v5-42", "some files")
    assert run.name != replace(run, inputs="other files").name
    other = replace(run, protocol=replace(run.protocol, changes=(("epochs", 9),)))
    assert run.name != other.name
    assert other.params.epochs == 9
    assert run.params.seed == 42
    other_seed = replace(run, contender="v5-123").params
    assert (other_seed.model, other_seed.seed) == ("v5", 123)


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


def test_voters_share_out_the_encoders(accuracy: ModuleType) -> None:
    one, two = Path("one"), Path("two")
    members = accuracy.MEMBERS
    both = accuracy.Sources(Path("any"), (one, two), None, None)
    assert {both.encoder(member) for member in members} == {one, two}
    assert both.encoder(next(iter(members))) == one, "the single model has the first"
    alone = accuracy.Sources(Path("any"), (one,), None, None)
    assert {alone.encoder(member) for member in members} == {one}


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
    assert len(ran) == 12 + 1, "only the one that was interrupted came twice"
    assert scripts.status(accuracy.main, [*command, "--members", "2"]) == 0
    assert len(ran) == 12 + 1
    text = accuracy.TABLE.path.with_suffix(".md").read_text()
    assert text in capsys.readouterr().out
    table = [line.split(" | ") for line in text.splitlines()[2:]]
    assert [(line[0].strip("| "), line[1]) for line in table] == [
        (protocol, shown)
        for protocol in ("clean", "time", "clean, 3 classes")
        for shown in accuracy.SHOWN.values()
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


def test_an_encoder_that_read_the_test_papers_is_refused(
    accuracy: ModuleType, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    papers = pd.read_csv(files["data"])["id"].drop_duplicates()
    save_encoder(files["pretrained"], papers.tolist())
    command = ["--data", str(files["data"]), "--pretrained", str(files["pretrained"])]
    assert scripts.status(accuracy.main, [*command, "--members", "1", "--protocols", "time"]) == 2
    assert "it was trained on 60 validation or test papers" in capsys.readouterr().err
