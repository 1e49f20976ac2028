"""Vectors for `similar` against MiniLM's: the measures, and resuming."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pretrained_models
import pytest
import scripts


@pytest.fixture
def similar(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    module = scripts.load("similar")
    monkeypatch.setattr(module, "TABLE", replace(module.TABLE, path=tmp_path / "similar.csv"))
    monkeypatch.setattr(module, "SEARCHED", 1000)
    monkeypatch.setattr(module, "BLOCK", 7)
    return module


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A dump of three months, a model that knows its words, and vectors in MiniLM's place."""
    words, ids = [f"word{number}" for number in range(30)], []
    with (tmp_path / "dump.json").open("w") as file:
        for number in range(60):
            ids.append(f"{1612 + (number > 20) * 89 + (number > 40)}.{number:05}")
            paper = {"title": f"word{number % 30}", "abstract": f"word{number % 30} the",
                     "categories": ("cs.AI", "cs.CL cs.AI")[number % 2]}  # fmt: skip
            file.write(json.dumps({"id": ids[-1], **paper}) + "\n")
    pretrained_models.save(tmp_path / "model", words=["the", *words])
    vectors = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    for name in ("titles", "abstracts"):
        np.savez(tmp_path / f"{name}.npz", id=ids, vectors=vectors, seconds=1.0)
    return {
        "dump": tmp_path / "dump.json",
        "pretrained": tmp_path / "model",
        "minilm-titles": tmp_path / "titles.npz",
        "minilm-abstracts": tmp_path / "abstracts.npz",
    }


def command(files: dict[str, Path]) -> list[str]:
    return [part for name, path in files.items() for part in (f"--{name}", str(path))]


def test_titles_find_their_own_abstracts(similar: ModuleType) -> None:
    vectors = np.eye(20, dtype=np.float32)
    assert similar.found_own(vectors, vectors).all()
    swapped = vectors[[1, 0, *range(2, 20)]]
    assert similar.found_own(vectors, swapped).tolist() == [False] * 2 + [True] * 18


def test_nearest_others_leave_out_the_paper_itself(similar: ModuleType) -> None:
    angles = np.array([0.0, 0.1, 1.0, 1.2, 3.0, 2.9, 2.0, 1.95])
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    assert similar.nearest_others(vectors).tolist() == [1, 0, 3, 2, 5, 4, 7, 6]


def test_agreement_of_categories(similar: ModuleType) -> None:
    listed = [("a", "b"), ("a",), ("b", "a"), ("c",)]
    found = similar.agreement(listed, np.array([1, 0, 0, 0]))
    assert found["same_primary"] == pytest.approx(2 / 4)
    assert found["jaccard"] == pytest.approx((1 / 2 + 1 / 2 + 1 + 0) / 4)


def test_the_table_is_made_and_nothing_is_run_twice(
    similar: ModuleType, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert scripts.status(similar.main, command(files)) == 0
    table = similar.TABLE.path.with_suffix(".md").read_text()
    assert table in capsys.readouterr().out
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    assert [row[0] for row in rows[2:]] == list(similar.SHOWN.values())
    assert rows[4][1] == "100.0 ± 0.0", "MiniLM's titles and abstracts are equal here"
    assert "Search among 1,000 vectors on one core: " in table
    results = similar.TABLE.read().set_index("contender")
    assert results.loc["vectors", "papers"] == 39, "validation and test papers only"
    assert 0 < results.loc["features", "jaccard"] <= 1
    monkeypatch.setattr(similar, "execute", lambda *_: pytest.fail("it is finished"))
    assert scripts.status(similar.main, command(files)) == 0
    assert "4 runs, 4 already finished" in capsys.readouterr().out
    pretrained_models.save(files["pretrained"], words=["the", "other"])
    assert scripts.status(similar.main, [*command(files), "--dry-run"]) == 0
    assert "4 runs, 2 already finished" in capsys.readouterr().out, "of another model"


@pytest.mark.parametrize("known", ["1701.00021", "1702.00059", "1701.00040"])
def test_a_model_that_read_the_papers_is_refused(
    similar: ModuleType, files: dict[str, Path], known: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrained_models.save(files["pretrained"], papers=[known])
    assert scripts.status(similar.main, command(files)) == 2
    assert f"such as {known}" in capsys.readouterr().err


def test_vectors_belong_together_and_to_the_papers(
    similar: ModuleType, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    abstracts = files.pop("minilm-abstracts")
    assert scripts.status(similar.main, command(files)) == 2
    assert "belong together" in capsys.readouterr().err
    np.savez(abstracts, id=["1701.00021"], vectors=np.zeros((1, 8)), seconds=1.0)
    files["minilm-abstracts"] = abstracts
    assert scripts.status(similar.main, command(files)) == 2
    assert "nor for 37 more" in capsys.readouterr().err
