"""`experiments`: which runs are compared, what of each is shown, and when there is no p."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from arxiv_hybrid.__main__ import main
from arxiv_hybrid.commands import runs
from arxiv_hybrid.commands.runs import Run, changes
from arxiv_hybrid.system.errors import UserError

PARAMS = {"dropout": "auto", "model": "auto", "seed": 42, "fetch": {"path": None},
          "evaluate": {"bootstrap": 2000}, "ensemble": {"members": [{"name": "a", "seed": 1}]},
          "augment": {"alpha": "auto"}}  # fmt: skip
RESOLVED = {"train": {"dropout": 0.5, "model": "v1", "seed": 42, "epochs": 6},
            "members": {"a": {"dropout": 0.5}}, "augment": {"alpha": 0.1}}  # fmt: skip
CODE = {"path": "stages/train.py", "md5": "code"}
IDS = [f"paper {number}" for number in range(40)]


def predictions(wrong: int, ids: list[str] = IDS) -> str:
    """A CSV of papers, of which the first are wrong."""
    rows = [f"{name},cs.CL,cs.CL,0.5,{number >= wrong}" for number, name in enumerate(ids)]
    return "\n".join(["id,actual,predicted,probability,correct", *rows]) + "\n"


class Repository:
    """A repository with hand-written results, and what DVC lists in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.experiments: list[dict[str, Any]] = []
        self.git("init", "-q", "-b", "main")
        (folder / ".dvc").mkdir()
        (folder / ".dvc/config").write_text("")
        self.write()
        self.head = self.commit()

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run(
            ["git", *identity, *arguments], cwd=self.folder, check=True, capture_output=True,
            text=True,
        ).stdout.strip()  # fmt: skip

    def commit(self) -> str:
        self.git("add", "-A", ".", ":!.dvc")
        self.git("commit", "-qm", "a run", "--allow-empty")
        return self.git("rev-parse", "HEAD")

    def write(
        self,
        wrong: int | None = 10,
        ids: list[str] = IDS,
        lock: Callable[[dict[str, Any]], object] = dict,
        measure: str = "accuracy",
        **changed: Any,
    ) -> None:
        """Results of a run. wrong: papers that it is wrong about, None without predictions.

        changed: entries of params.yaml and, with the prefix `train_`, of params.resolved.yaml.
        """
        train = {k.removeprefix("train_"): v for k, v in changed.items() if k.startswith("train_")}
        params = PARAMS | {k: v for k, v in changed.items() if not k.startswith("train_")}
        resolved = RESOLVED | {"train": RESOLVED["train"] | train}
        text = predictions(10 if wrong is None else wrong, ids)
        digest = f"{abs(hash(text)):032x}"[:32]
        score = 1 - (wrong or 10) / len(ids)
        report = {measure: score, f"{measure}_interval": [score - 0.1, score + 0.1],
                  "macro_f1": 0.7}  # fmt: skip
        stages = {
            "resolve": {"params": {"params.yaml": {name: params[name] for name in PARAMS}}},
            "train": {"params": {"params.resolved.yaml": {"train": resolved["train"]}},
                      "deps": [CODE], "outs": [{"path": "models/main", "md5": str(train)}]},
            "baseline": {"outs": [{"path": "models/baseline", "md5": "linear"}]},
            "evaluate": {"params": {"params.yaml": {"evaluate": params["evaluate"]}},
                         "deps": [{"path": "models/main", "md5": str(train)},
                                  {"path": "models/baseline", "md5": "linear"}],
                         "outs": [{"path": "reports/predictions.csv", "md5": digest}]},
            "ensemble": {"deps": [{"path": "models/main", "md5": str(train)}], "outs": []},
        }  # fmt: skip
        if wrong is None:
            stages["evaluate"]["outs"] = []
        stages = copy.deepcopy(stages)
        lock(stages)
        files = {"params.yaml": params, "params.resolved.yaml": resolved,
                 "dvc.lock": {"schema": "2.0", "stages": stages}}  # fmt: skip
        for name, content in files.items():
            (self.folder / name).write_text(yaml.safe_dump(content))
        (self.folder / "metrics").mkdir(exist_ok=True)
        for name, content in {"evaluate": report, "baseline": {measure: 0.6},
                              "ensemble": {measure: 0.8},
                              "train": {f"val_{measure}": 0.75}}.items():  # fmt: skip
            (self.folder / f"metrics/{name}.json").write_text(json.dumps(content))
        path = self.folder / f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def experiment(self, name: str, state: str | None = None, log: str = "", **run: Any) -> str:
        """Add an experiment; the workspace is then as before."""
        self.write(**run)
        revision = self.commit()
        self.git("reset", "-q", "--hard", self.head)
        executor = None
        if state:
            path = self.folder / ".dvc" / f"{name}.out"
            path.write_text(log)
            executor = {"state": state, "local": {"log": str(path)}}
        revisions = [{"rev": revision, "name": name}]
        self.experiments.append({"revs": revisions, "executor": executor, "name": name})
        return revision

    def shown(self) -> str:
        commit = {"rev": self.head, "name": "main", "experiments": self.experiments}
        return json.dumps([{"rev": "workspace", "name": None, "experiments": None}, commit])


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    made = Repository(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "dvc", lambda *_: made.shown())
    return made


def table(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, str]]:
    """The rows of `experiments --format csv` by name."""
    assert main(["experiments", "--format", "csv", *arguments]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    return {row["name"]: row for row in rows}


def test_the_best_comes_first_and_p_is_that_of_the_same_papers(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.experiment("worse", wrong=12, dropout=0.9, train_dropout=0.9)
    repository.experiment("better", wrong=2, dropout=0.4, train_dropout=0.4)
    rows = table(capsys)
    assert list(rows) == ["better", "main", "worse"], "and the workspace is the commit"
    assert float(rows["better"]["difference"]) == pytest.approx(8 / 40)
    assert float(rows["better"]["p"]) == pytest.approx(2 * 0.5**8)
    assert float(rows["worse"]["p"]) == pytest.approx(2 * 0.5**2)
    assert rows["better"]["ensemble"] == "0.8"
    against = table(capsys, "--against", "better")
    assert float(against["worse"]["difference"]) == pytest.approx(-10 / 40)
    (repository.folder / "params.yaml").write_text(yaml.safe_dump(PARAMS | {"seed": 7}))
    assert "seed 42 -> 7" in table(capsys)["workspace"]["changed"], "the workspace differs now"


def test_the_table_fits_and_says_what_became_of_a_job(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    many = {f"key_{number}": "a long value of text" for number in range(9)}
    repository.experiment("a-name-that-is-rather-long-for-an-experiment", wrong=2, **many)
    log = "Running stage\nerror: params.yaml: dropout: 1.5 is not allowed\nERROR: failed\n"
    repository.experiment("bad", "failed", log=log, dropout=1.5)
    repository.experiment("later", "queued", dropout=0.4)
    repository.experiment("now", "running", dropout=0.3)
    assert main(["experiments"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 120
    assert sum("key_" in line for line in lines) > 1, "long changes continue on the next line"
    for words in (r"bad +dropout 0.5 -> 1.5 +failed", r"later +dropout 0.5 -> 0.4 +queued",
                  r"now +dropout 0.5 -> 0.3 +running"):  # fmt: skip
        assert [line for line in lines if re.fullmatch(words, line)]
    assert "bad: params.yaml: dropout: 1.5 is not allowed" in lines
    assert main(["experiments", "--format", "markdown"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert {row.count("|") for row in rows} == {9}


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ({"ids": [*IDS[1:], "another"]}, "no p: other test papers or labels (40 papers, 40)"),
        ({"ids": IDS[:30], "wrong": 3}, "no p: other test papers or labels (30 papers, 40)"),
        ({"wrong": None}, "no p: it has no reports/predictions.csv"),
        ({"wrong": 7}, "no p: its test predictions are not in DVC's cache"),
    ],
)
def test_without_a_p_the_reason_is_said(
    run: dict[str, Any], reason: str, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    revision = repository.experiment("other", dropout=0.4, train_dropout=0.4, **run)
    if "cache" in reason:
        digest = str(Run(revision).predictions_digest())
        (repository.folder / f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}").unlink()
    row = table(capsys)["other"]
    assert row["note"] == reason
    assert row["p"] == ""
    assert row["score"], "its scores are known all the same"


@pytest.mark.parametrize(
    ("damage", "missing"),
    [
        (lambda lock: lock["evaluate"]["deps"][0].update(md5="older"), {"score"}),
        (lambda lock: lock["evaluate"]["params"]["params.yaml"]["evaluate"].update(bootstrap=1),
         {"score"}),
        (lambda lock: lock["train"]["params"]["params.resolved.yaml"].update(train={"seed": 3}),
         {"score", "ensemble"}),
        (lambda lock: lock.pop("evaluate"), {"score"}),
        (lambda lock: lock["ensemble"]["deps"][0].update(md5="older"), {"ensemble"}),
    ],
)  # fmt: skip
def test_scores_of_another_run_are_not_shown(
    damage: Callable[[dict[str, Any]], object], missing: set[str], repository: Repository,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """`dvc exp run train` leaves metrics/evaluate.json of the run before."""
    repository.experiment("other", dropout=0.4, train_dropout=0.4, lock=damage)
    row = table(capsys)["other"]
    assert "score" in missing or row["score"]
    for name in missing:
        assert row[name] == ""
    if "score" in missing:
        assert row["note"] == "stage evaluate did not run with these parameters and data"


@pytest.mark.parametrize("measure", ["accuracy", "precision_at_1"])
def test_a_run_up_to_training_shows_its_validation_score(
    repository: Repository, capsys: pytest.CaptureFixture[str], measure: str
) -> None:
    """Such as a trial of a search."""

    def without_a_test(lock: dict[str, Any]) -> None:
        del lock["evaluate"]

    changed = {"dropout": 0.4, "train_dropout": 0.4, "measure": measure}
    repository.experiment("trial", lock=without_a_test, **changed)
    assert main(["experiments"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [
        line for line in lines if re.fullmatch(r"trial +dropout 0.5 -> 0.4 +validation 75.0", line)
    ]


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ({"dropout": 0.4, "train_dropout": 0.4}, ["dropout 0.5 -> 0.4"]),
        ({"dropout": 0.5}, []),
        ({"model": "v2", "train_model": "v2", "train_epochs": 9, "train_seed": 1},
         ["model v1 -> v2", "2 more follow"]),
        ({"fetch": {"path": "p.csv"}, "train_model": "v6"},
         ["fetch.path null -> p.csv", "model v1 -> v6"]),
        ({"train_epochs": 9}, ["1 values in force"]),
        ({"ensemble": {"members": []}}, ["ensemble.members [a] -> []"]),
        ({"fetch": {"path": "https://me:s3cret@example.org/papers.csv"}}, ["fetch.path null -> "]),
        ({"lock": lambda lock: lock["train"].update(deps=[CODE | {"md5": "new"}])}, ["code"]),
    ],
)  # fmt: skip
def test_what_changed(run: dict[str, Any], expected: list[str], repository: Repository) -> None:
    revision = repository.experiment("other", **run)
    found = changes(Run(repository.head), Run(revision))
    assert len(found) == len(expected)
    assert all(text.startswith(start) for text, start in zip(found, expected, strict=True))
    assert "s3cret" not in str(found)
    assert all(len(text) < 100 for text in found)


def test_several_labels_are_ranked_by_precision(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.experiment("several", wrong=2, measure="precision_at_1", dropout=0.4)
    row = table(capsys)["several"]
    assert (row["measure"], row["score"], row["linear"]) == ("precision@1", "0.95", "0.6")
    assert main(["experiments"]) == 0
    assert "accuracy / precision@1" in capsys.readouterr().out


def test_an_unknown_run_is_one_line(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.experiment("other")
    assert main(["experiments", "--against", "nope"]) == 2
    error = "error: --against: no 'nope'; choose from HEAD, main, other\n"
    assert capsys.readouterr().err == error


@pytest.mark.parametrize(
    ("failures", "message", "attempts", "status"),
    [
        (2, "directory '/x/.dvc/tmp/exps/tmp1/.dvc' does not exist", 3, 0),
        (9, "directory '/x/.dvc/tmp/exps/tmp1/.dvc' does not exist", 5, 2),
        (1, "unknown Git revision 'HEAD'", 1, 2),
    ],
)
def test_a_job_that_sets_up_its_workspace_is_waited_for(
    failures: int, message: str, attempts: int, status: int, repository: Repository,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    tried: list[int] = []

    def dvc(*_: str) -> str:
        tried.append(1)
        if len(tried) <= failures:
            raise UserError(message)
        return repository.shown()

    monkeypatch.setattr(runs, "dvc", dvc)
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert main(["experiments"]) == status
    assert len(tried) == attempts
    assert status == 0 or message in capsys.readouterr().err
