"""Trials run as experiments of a small DVC repository: they finish, fail, are pruned or killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import search_worker
import yaml
from clones import environment, sh
from conftest import ROOT
from search_worker import wait_for, workspaces

from arxiv_hybrid.search.runner import TRIALS
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.git import experiment

PARAMS = {"kind": "short", "score": 0.5}
# it notes in `notes` what it does; a long training ends once there is a file `release`
TRAIN = """\
import json, sys, time
from pathlib import Path
import yaml
here = Path(sys.argv[1])
sys.path.insert(0, sys.argv[2])
from arxiv_hybrid.system.watched import report_epoch
def note(text):
    with (here / "notes").open("a") as file:
        file.write(f"{text}\\n")
params = yaml.safe_load(Path("params.yaml").read_text())
if params["kind"] == "broken":
    sys.exit("error: no papers")
epoch, release = 0, here / "release"
try:
    while epoch < 2 or (params["kind"] == "long" and not release.exists()):
        report_epoch(epoch, params["score"])
        epoch += 1
        note(f"epoch {params['score']}")
        time.sleep(0.02)
except KeyboardInterrupt:
    note("interrupted")
    raise
note(f"finished {params['score']}")
Path("metrics.json").write_text(json.dumps({"val_accuracy": params["score"]}))
"""

pytestmark = pytest.mark.pipeline


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A repository whose only stage takes no time."""
    root = tmp_path / "tiny"
    root.mkdir()
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (root / "train.py").write_text(TRAIN)
    stage = {"cmd": f"python train.py {tmp_path} {ROOT / 'src'}", "deps": ["train.py"],
             "params": list(PARAMS), "metrics": [{"metrics.json": {"cache": False}}]}  # fmt: skip
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": stage}}))
    (root / ".gitignore").write_text("/optuna.journal\n")
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"], ["git", "add", "-A"],
                    ["git", "commit", "-qm", "tiny"]):  # fmt: skip
        sh(root, *command)
    return root


@pytest.fixture
def in_the_tests_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))


def options(root: Path, *first: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "root": str(root),
        "pipeline": {"target": "train", "metrics": "metrics.json", "score": "val_accuracy"},
        "space": {"kind": ["short", "long", "broken"], "score": [0.1, 0.5, 0.9]},
        "first": list(first),
        "least": 0.2,
        **changes,
    }


def notes(root: Path) -> list[str]:
    path = root.parent / "notes"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.usefixtures("in_the_tests_environment")
def test_trials_finish_fail_or_are_pruned(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = search_worker.run(
        **options(
            tiny,
            {"kind": "short", "score": 0.9},
            {"kind": "long", "score": 0.1},
            {"kind": "broken", "score": 0.5},
        )
    )
    results = study.results()
    assert [each.state for each in results] == ["finished", "pruned", "failed"]
    assert [each.score for each in results] == [0.9, 0.1, None]
    assert results[2].error == "no papers"
    assert notes(tiny)[-1] == "interrupted", "pruned as by Ctrl-C, so that the stage can clean up"
    found = [experiment(tiny, f"tiny-{number}") is not None for number in range(3)]
    assert found == [True, False, False]
    shown = json.loads(sh(tiny, "dvc", "exp", "show", "--json").stdout)
    (listed,) = [each for commit in shown for each in commit["experiments"] or []]
    assert listed["name"] == "tiny-0"
    assert workspaces(tiny) == []
    assert sh(tiny, "git", "status", "--porcelain").stdout == ""
    log = tiny / TRIALS / "tiny-2/log"
    assert [path for path in (tiny / TRIALS).glob("*/*") if path.name != "epochs"] == [log]
    assert "error: no papers" in log.read_text()
    assert "[3/3] tiny-2: failed: no papers" in capsys.readouterr().out


@pytest.mark.usefixtures("in_the_tests_environment")
def test_the_trial_of_a_killed_worker_is_taken_up_again_by_the_next_start(tiny: Path) -> None:
    chosen = options(tiny, {"kind": "long", "score": 0.9}, {"kind": "short", "score": 0.5})
    command = [sys.executable, search_worker.__file__, json.dumps(chosen)]
    with subprocess.Popen(command) as worker:
        try:
            wait_for(lambda: "epoch 0.9" in notes(tiny), "the trial runs")
        finally:
            worker.kill()
    wait_for(lambda: "interrupted" in notes(tiny), "the run of a killed worker ends")
    wait_for(lambda: workspaces(tiny) == [], "and leaves no workspace")
    (tiny.parent / "release").touch()
    study = search_worker.run(**chosen)
    assert [each.state for each in study.results()] == ["finished", "finished"]
    again = next(each for each in study.results() if each.retries == 0)
    assert (again.number, again.values) == (2, {"kind": "long", "score": 0.9})
    ends = [line for line in notes(tiny) if not line.startswith("epoch")]
    assert ends == ["interrupted", "finished 0.5", "finished 0.9"]
    names = [name for name in ("tiny-0", "tiny-1", "tiny-2") if experiment(tiny, name)]
    assert names == ["tiny-1", "tiny-2"]
    assert not (tiny / TRIALS / "tiny-0").exists()


@pytest.mark.usefixtures("in_the_tests_environment")
def test_a_search_stops_if_the_parameters_or_experiments_are_of_another_one(tiny: Path) -> None:
    text = (tiny / "params.yaml").read_text()
    chosen = options(tiny, {"kind": "short", "score": 0.9})
    chosen["pipeline"]["text"] = text
    (tiny / "params.yaml").write_text(f"{text}more: 1\n")
    with pytest.raises(UserError, match=r"params\.yaml has changed since this search began"):
        search_worker.run(**chosen)
    (tiny / "params.yaml").write_text(text)
    sh(tiny, "git", "update-ref", "refs/exps/ab/cdef/tiny-1", "HEAD")
    with pytest.raises(UserError, match="the experiment tiny-1 exists already"):
        search_worker.run(**chosen)
    assert notes(tiny) == []
    study = search_worker.run(**chosen)
    assert [(each.number, each.state) for each in study.results()] == [(2, "finished")]
