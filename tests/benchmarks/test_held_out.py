"""The papers that the benchmarks test on, for `leave_out`, and for minilm.py."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import scripts


@pytest.fixture
def held_out(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = scripts.load("held_out")
    monkeypatch.setattr(module.tasks, "PAPERS_PER_FIELD", 2)
    monkeypatch.setattr(module, "SAMPLE", 5)
    return module


def write_dump(path: Path, papers: list[tuple[str, str]]) -> Path:
    """A dump of papers by id and categories."""
    texts = [{"title": f"On {name}", "abstract": f"About {name}."} for name, _ in papers]
    lines = [
        json.dumps({"id": name, "categories": listed, **text})
        for (name, listed), text in zip(papers, texts, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def files(tmp_path: Path, held_out: ModuleType) -> dict[str, Path]:
    natural = [(f"{month}.{number:05}", "math.AG cs.NA")
               for month in (1612, 1701, 1702) for number in range(1, 5)]  # fmt: skip
    natural += [("1702.0001", "cs.LG"), ("1701.00002", "cs.LG")]  # a lost zero; a repeated id
    balanced = [(f"2001.{number:05}", "hep-th") for number in range(1, 300)]
    fields = [(f"25{number:02}.00001", name)
              for number in range(1, 5) for name in held_out.tasks.FIELDS]  # fmt: skip
    fields = [(name[:-1] + str(place % 6), field) for place, (name, field) in enumerate(fields)]
    rows = [
        ("2511.0001", "own"),
        ("2511.00010", "own"),
        ("1702.00001", "own"),
        ("2511.00012v2", ""),
    ]
    pd.DataFrame(
        [{"id": name, "title": text or "T", "abstract": "A", "category": "cs.AI",
          "primary_category": "cs.AI", "all_categories": "cs.AI"} for name, text in rows]
    ).to_csv(tmp_path / "papers.csv", index=False)  # fmt: skip
    return {
        "data": tmp_path / "papers.csv",
        "natural": write_dump(tmp_path / "natural.json", natural),
        "balanced": write_dump(tmp_path / "balanced.json", balanced),
        "snapshot": write_dump(tmp_path / "snapshot.json", fields),
        "output": tmp_path / "leave_out.csv",
    }


def command(files: dict[str, Path]) -> list[str]:
    return [part for name, path in files.items() for part in (f"--{name}", str(path))]


def benchmarks_of(path: Path) -> dict[str, list[str]]:
    table = pd.read_csv(path, dtype=str)
    assert table["id"].is_unique
    return dict(zip(table["id"], table["benchmarks"].str.split(), strict=True))


def test_all_papers_that_are_tested_on_are_written(
    held_out: ModuleType, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert scripts.status(held_out.main, command(files)) == 0
    found = benchmarks_of(files["output"])
    natural = {f"{month}.{number:05}" for month in (1701, 1702) for number in range(1, 5)}
    natural |= {"1702.00010"}
    assert {name for name, names in found.items() if "natural" in names} == natural
    assert {name for name, names in found.items() if "accuracy" in names} == {
        "2511.00010", "1702.00001", "2511.00012"
    }  # fmt: skip
    assert found["1702.00001"][0] == "natural"
    assert found["1702.00001"][-1] == "accuracy"
    similar = {name for name, names in found.items() if "similar" in names}
    assert len(similar) == 5
    assert similar <= natural
    six = {name for name, names in found.items() if "six-fields" in names}
    assert len(six) == 2 * 6
    assert {name[:4] for name in six} == {"2503", "2504"}, "the newest"
    assert "six-fields: 12 papers" in capsys.readouterr().out


def test_the_splits_are_those_of_the_tasks(held_out: ModuleType, files: dict[str, Path]) -> None:
    tasks = held_out.tasks
    for name in ("natural", "balanced"):
        task = tasks.TASKS[name]
        run = tasks.plan(task, tasks.Inputs(files[name]))[0]
        labels = run.params.labels.model_copy(update={"min_papers": 1})
        params = run.params.model_copy(update={"labels": labels})
        papers = tasks.read_papers(run)
        own = papers.assign(all_categories="hep-th,math.AG")  # so that none is left out
        parts, _ = tasks.split_papers(own, params)
        tested = {*parts["val"]["id"], *parts["test"]["id"]}
        found = set(held_out.held_out(name, files[name])["id"])
        assert found == {held_out.with_zeros(name) for name in tested}
        assert 0 < len(tested) < len(papers)


def test_the_categories_have_no_aliases(held_out: ModuleType, files: dict[str, Path]) -> None:
    listed = held_out.held_out("natural", files["natural"])["all_categories"]
    assert set(listed) == {("math.AG", "math.NA"), ("cs.LG",)}


@pytest.mark.parametrize(
    ("option", "content", "message"),
    [
        ("natural", '{"id": "1612.00001", "title": "T", "abstract": "A", "categories": "math.AG"}',
         "val has no papers"),
        ("balanced", "", "is empty"),
        ("snapshot", "[1]", "not a JSON object"),
    ],
)  # fmt: skip
def test_mistakes_are_told_and_nothing_is_written(
    held_out: ModuleType, files: dict[str, Path], capsys: pytest.CaptureFixture[str],
    option: str, content: str, message: str,
) -> None:  # fmt: skip
    files[option].write_text(content)
    assert scripts.status(held_out.main, command(files)) == 2
    assert message in capsys.readouterr().err
    assert not files["output"].exists()


@pytest.mark.parametrize(
    ("only", "text", "expected"),
    [
        (None, "both", ["A. B", "C. D"]),
        ("similar", "title", ["A"]),
        ("natural", "abstract", ["B", "D"]),
    ],
)
def test_minilm_takes_the_papers_of_a_benchmark(
    tmp_path: Path, only: Any, text: str, expected: list[str]
) -> None:
    minilm = scripts.load("minilm")
    table = tmp_path / "leave_out.csv"
    table.write_text(
        "id,title,abstract,benchmarks\n1,A,B,natural similar\n2,C,D,natural\n1,A,B,natural\n"
    )
    assert minilm.texts_of(minilm.read_papers(table, only), text) == expected
    with pytest.raises(SystemExit, match="no papers of other"):
        minilm.read_papers(table, "other")
    table.write_text("id,title,abstract\n1,A,B\n")
    with pytest.raises(SystemExit, match="no column benchmarks"):
        minilm.read_papers(table, "natural")
