"""Metrics that belong to other parameters or data than those of the workspace."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import merged

from arxiv_hybrid.params import parse
from arxiv_hybrid.reporting.outdated import outdated

Content = dict[str, Any]
DATA = "data/raw/papers.parquet"


@pytest.fixture
def workspace(default_content: Content, tmp_path: Path) -> Path:
    """dvc.lock after a run of the shipped parameters, with the entries that matter here."""
    from arxiv_hybrid.params import values_in_force

    params = parse(default_content, "params")
    resolved = yaml.safe_load(yaml.safe_dump(values_in_force(params)))
    fetch = {"params": {"params.yaml": {"fetch": default_content["fetch"]}},
             "outs": [{"path": DATA, "md5": "aaa"}]}  # fmt: skip
    member = params.ensemble.members[0].name
    stages = {
        "resolve": {"params": {"params.yaml": {"dropout": default_content["dropout"]}}},
        "fetch": fetch,
        "train": {
            "params": {"params.resolved.yaml": {"train": resolved["train"]}},
            "deps": [{"path": DATA, "md5": "aaa"}, {"path": "src/x.py", "md5": "bbb"}],
        },
        "member@member0": {
            "params": {
                "params.resolved.yaml": {f"members.{member}": resolved["members"][member]}
            }
        },
        "member@member99": {
            "params": {"params.resolved.yaml": {"members.gone": {"seed": 1}}}
        },
    }  # fmt: skip
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    return tmp_path


def line(workspace: Path, content: Content, changes: Content) -> str | None:
    return outdated(workspace, parse(merged(content, changes), "params"))


def test_scores_of_these_parameters_need_no_remark(
    workspace: Path, default_content: Content
) -> None:
    assert line(workspace, default_content, {}) is None
    assert line(workspace, default_content, {"tracking": {"enabled": False}}) is None


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"dropout": 0.31}, ["dropout 0.5 (now 0.31)"]),
        ({"fetch": {"papers": 777}}, ["fetch.papers 2400 (now 777)"]),
        (
            {"fetch": {"source": "csv", "path": "x.csv"}},
            ["fetch.source synthetic (now csv)", "fetch.path null (now x.csv)"],
        ),
        ({"architecture": {"num_filters": 33}}, ["architecture.num_filters"]),
        (
            {"seed": 7, "epochs": 3, "dropout": 0.1, "batch_size": 8, "patience": 2},
            ["epochs 6 (now 3)", " and "],
        ),
    ],
)  # fmt: skip
def test_other_parameters_are_named(
    changes: Content, named: list[str], workspace: Path, default_content: Content
) -> None:
    text = line(workspace, default_content, changes)
    assert text is not None
    assert text.startswith("these scores belong to other parameters: ")
    assert text.endswith("run `dvc repro`")
    assert text.count("(now ") <= 3
    for name in named:
        assert name in text


def test_a_stage_that_failed_after_its_data_changed_is_named(
    workspace: Path, default_content: Content
) -> None:
    lock = yaml.safe_load((workspace / "dvc.lock").read_text())
    lock["stages"]["fetch"]["outs"][0]["md5"] = "ccc"
    (workspace / "dvc.lock").write_text(yaml.safe_dump(lock))
    text = line(workspace, default_content, {})
    assert (
        text == "these scores are older than their data: train did not run since; run `dvc repro`"
    )


@pytest.mark.parametrize(
    "damage",
    [Path.unlink, lambda path: path.write_text("{"), lambda path: path.write_text("stages: 3"),
     lambda path: path.write_bytes(b"\xff")],
)  # fmt: skip
def test_without_a_readable_lock_nothing_is_said(
    damage: Callable[[Path], object], workspace: Path, default_content: Content
) -> None:
    damage(workspace / "dvc.lock")
    assert line(workspace, default_content, {"dropout": 0.31}) is None


def test_an_edited_file_is_named_by_its_parameter(
    workspace: Path, default_content: Content
) -> None:
    inputs = workspace / "data/inputs.json"
    lock = yaml.safe_load((workspace / "dvc.lock").read_text())
    lock["stages"]["fetch"]["params"]["data/inputs.json"] = {"fetch.path": "aaa"}
    (workspace / "dvc.lock").write_text(yaml.safe_dump(lock))
    inputs.parent.mkdir()
    inputs.write_text('{"fetch": {"path": "aaa"}, "glove": {"source": null}, "pretrained": null}')
    assert line(workspace, default_content, {}) is None
    inputs.write_text('{"fetch": {"path": "bbb"}, "glove": {"source": null}, "pretrained": null}')
    found = line(workspace, default_content, {})
    assert found is not None
    assert "other parameters: the file of fetch.path aaa (now bbb);" in found


def test_stages_whose_results_are_not_shown_do_not_count(
    workspace: Path, default_content: Content
) -> None:
    params = parse(merged(default_content, {"fetch": {"papers": 777}}), "params")
    assert "fetch.papers" in str(outdated(workspace, params))
    assert outdated(workspace, params, {"fetch"}) is None
    params = parse(merged(default_content, {"dropout": 0.31}), "params")
    named = outdated(workspace, params, {"train"})
    assert named is not None, "a member shows the parameter, too"
    assert "members." in named
    assert outdated(workspace, params, {"train", "ensemble"}) is None, "its members neither"


@pytest.mark.parametrize(
    ("content", "described"),
    [("papers", True), ("others", False), ("more papers", False), (None, True)],
)
def test_a_stage_that_ran_without_dvc_is_not_described_by_the_lock(
    content: str | None, described: bool, workspace: Path, default_content: Content
) -> None:
    lock = yaml.safe_load((workspace / "dvc.lock").read_text())
    md5 = hashlib.md5(b"papers").hexdigest()
    lock["stages"]["fetch"]["outs"] = [{"path": DATA, "md5": md5, "size": 6}]
    lock["stages"]["train"]["deps"][0]["md5"] = md5
    (workspace / "dvc.lock").write_text(yaml.safe_dump(lock))
    if content is not None:
        (workspace / DATA).parent.mkdir(parents=True)
        (workspace / DATA).write_text(content)
    found = line(workspace, default_content, {"fetch": {"papers": 777}})
    assert (found is not None) == described
