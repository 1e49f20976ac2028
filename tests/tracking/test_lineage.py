"""Tags that link a run to its data."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from arxiv_hybrid.system.identity import ProcessIdentity
from arxiv_hybrid.tracking.lineage import dependency_md5s, run_tags

pytestmark = pytest.mark.usefixtures("outside_settings_unset")
LOCK = """\
schema: '2.0'
stages:
  vocab:
    outs:
    - path: data/processed/vocab.txt
      md5: aaa
    - path: data/other.txt
      md5: bbb
  split:
    outs:
    - path: data/splits/val.parquet
      md5: ccc
    - path: data/splits/test.parquet
      md5: ddd
"""
PIPELINE = """\
stages:
  train:
    deps: [data/processed/vocab.txt, data/splits/val.parquet, stages/train.py]
"""
MD5S = {"data/processed/vocab.txt": "aaa", "data/splits/val.parquet": "ccc"}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "dvc.lock").write_text(LOCK)
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    return tmp_path


def test_dependencies_are_read_from_the_outputs_of_earlier_stages(workspace: Path) -> None:
    assert dependency_md5s(workspace, "train") == MD5S


def test_outside_a_dvc_repository_there_are_no_dependencies(tmp_path: Path) -> None:
    assert dependency_md5s(tmp_path, "train") == {}


def test_tags_name_stage_revision_experiment_and_dependencies(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "gusty-dawn")
    monkeypatch.setenv("DVC_STAGE", "dvc.yaml:train")
    subprocess.run(["git", "init", "-q"], cwd=workspace, check=True)
    tags = run_tags("train", workspace)
    process = ProcessIdentity.from_tags(tags)
    assert process is not None
    assert process.pid == os.getpid()
    assert not process.is_dead()
    assert {key: value for key, value in tags.items() if not key.startswith("process.")} == {
        "stage": "train",
        "git.revision": "none",  # nothing is committed yet
        "git.dirty": "true",
        "DVC_EXP_NAME": "gusty-dawn",
        "DVC_STAGE": "dvc.yaml:train",
        **{f"dep.{path}": md5 for path, md5 in MD5S.items()},
    }


def test_what_git_cannot_tell_is_unknown(workspace: Path) -> None:
    tags = run_tags("train", workspace)  # no repository
    assert (tags["git.revision"], tags["git.dirty"]) == ("unknown", "unknown")
