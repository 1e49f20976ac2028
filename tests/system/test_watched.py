"""The channel from a trial to its worker: written only if a worker watches."""

from __future__ import annotations

from pathlib import Path

import pytest

from arxiv_hybrid.system.watched import EPOCHS, TRIAL, read_epochs, report_epoch, trial_tags
from arxiv_hybrid.tracking.lineage import run_tags
from arxiv_hybrid.training.trainer import Epoch, print_epoch


def test_epochs_reach_the_worker_as_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "epochs"
    assert read_epochs(file) == []
    monkeypatch.setenv(EPOCHS, str(file))
    report_epoch(0, 0.25)
    print_epoch(Epoch(1, 1.0, 0.5, 1.0, 0.75, 0.001, 100.0))
    assert read_epochs(file) == [(0, 0.25), (1, 0.75)]
    with file.open("a") as writing:
        writing.write("[2, 0.8")
    assert read_epochs(file) == [(0, 0.25), (1, 0.75)], "a line that is not yet whole"


def test_nothing_is_written_outside_a_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(EPOCHS, raising=False)
    monkeypatch.delenv(TRIAL, raising=False)
    monkeypatch.chdir(tmp_path)
    report_epoch(1, 0.5)
    assert list(tmp_path.iterdir()) == []
    assert trial_tags() == {}
    assert not [name for name in run_tags("train", tmp_path) if name.startswith("search.")]


def test_runs_of_a_trial_are_tagged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRIAL, "space/7")
    tags = {"search.study": "space", "search.trial": "7"}
    assert trial_tags() == tags
    assert tags.items() <= run_tags("train", tmp_path).items()
