"""Which metrics files are of the papers and models in the workspace."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from arxiv_hybrid.reporting.run_metrics import read_run
from arxiv_hybrid.system.digests import COMPUTED_FROM, differing, record
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import write_json

READ = {
    "audit": ["papers.parquet", "train", "val", "test"],
    "baseline": ["train", "val", "test"],
    "train": ["val", "model"],
    "evaluate": ["test", "model"],
    "ensemble": ["val", "test", "model", "member"],
}
UNRECORDED = "it does not record what it was computed from"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a run, and the metrics computed from them."""
    monkeypatch.chdir(tmp_path)
    for name in {name for names in READ.values() for name in names}:
        (tmp_path / name).write_text(name)
    for stage, names in READ.items():
        write_stage(stage, names)
    return tmp_path


def write_stage(stage: str, names: list[str]) -> None:
    path = Path("metrics") / f"{stage}.json"
    write_json(path, {"papers": 3}, computed_from=[Path(name) for name in names])


def test_a_whole_run_is_current(workspace: Path) -> None:
    run = read_run(workspace, Path("metrics"))
    assert set(run.current) == set(READ)
    assert run.absent == {}
    assert run.remarks() == []


@pytest.mark.parametrize(
    ("changed", "rerun", "absent"),
    [
        # `dvc exp run evaluate -S fetch.source=csv`: other papers, another model
        (["papers.parquet", "train", "val", "test", "model"], ["baseline", "train", "evaluate"],
         {"audit", "ensemble"}),
        (["model"], ["train", "evaluate"], {"ensemble"}),  # -S dropout=0.4
        (["member"], [], {"ensemble"}),  # `dvc repro member`
        (["papers.parquet"], [], {"audit"}),
        (["train", "val"], [], {"audit", "baseline", "train", "ensemble"}),
    ],
)  # fmt: skip
def test_metrics_of_other_files_are_absent(
    workspace: Path, changed: list[str], rerun: list[str], absent: set[str]
) -> None:
    for name in changed:
        (workspace / name).write_text("other")
    for stage in rerun:
        write_stage(stage, READ[stage])
    run = read_run(workspace, Path("metrics"))
    assert set(run.absent) == absent
    assert set(run.current) == set(READ) - absent
    for line, stage in zip(run.remarks(), run.absent, strict=True):
        reason = r"\S+ (has|and \d more files have) changed since"
        assert re.fullmatch(f"{stage}: not of this run: {reason}; run `dvc repro {stage}`", line)


@pytest.mark.parametrize("changed", ["test", "model"])
def test_without_scores_of_this_model_there_is_nothing_to_show(
    workspace: Path, changed: str
) -> None:
    (workspace / changed).unlink()
    with pytest.raises(UserError, match=rf"evaluate\.json: not of this run: {changed} has"):
        read_run(workspace, Path("metrics"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            {"papers": 3},
            UNRECORDED,
        ),  # an older version wrote it
        ({COMPUTED_FROM: 3}, UNRECORDED),
        ({COMPUTED_FROM: [3]}, UNRECORDED),
        ({COMPUTED_FROM: ["no digest"]}, "digest has changed since"),
        (None, "there is none yet"),
    ],
)
def test_metrics_that_do_not_say_what_they_are_of_are_absent(
    workspace: Path, content: dict[str, object] | None, reason: str
) -> None:
    path = workspace / "metrics/ensemble.json"
    path.unlink() if content is None else path.write_text(json.dumps(content))
    assert read_run(workspace, Path("metrics")).absent == {"ensemble": reason}


def test_a_record_names_files_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [Path("a"), Path("with space/b")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text(path.name)
    lines = record(paths)
    assert [line.split(" ", 1)[1] for line in lines] == ["a", "with space/b"]
    assert differing(lines, tmp_path) == []
    Path("with space/b").write_text("c")
    assert differing(lines, tmp_path) == ["with space/b"]
    assert record(paths) != lines
    assert differing(lines, tmp_path / "elsewhere") == ["a", "with space/b"]
