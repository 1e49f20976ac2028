"""The registry: the champion, and the run that trained a model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from untrained_model import CLASSES, log_untrained_model, save_untrained_model

from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.params import Params
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.tracking import (
    find_champion,
    find_reference,
    find_run,
    find_version,
    registry,
    settle,
    track,
    training_seconds,
)
from arxiv_hybrid.tracking.store import store_uri

pytestmark = pytest.mark.usefixtures("outside_settings_unset")


@pytest.fixture(scope="module")
def logged(tiny_params: Params, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A repository with runs that trained two models, and the digests of these.

    The second one is of a job of the queue, and evaluated.
    """
    root = tmp_path_factory.mktemp("logged")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        first = log_untrained_model(tiny_params, root, seed=1)
        patch.setenv("DVC_EXP_NAME", "moody-gap")
        second = log_untrained_model(tiny_params, root, seed=2)
        with track("evaluate", tiny_params, root=root, workspace=root) as run:
            run.tags({"model.digest": second})
            run.metrics({"micro_f1": 0.75, "papers": 90})
        with track("baseline", tiny_params, root=root, workspace=root) as linear:
            linear.tags({"model.digest": "of a linear model"})
            linear.metrics({"accuracy": 0.8, "papers": 40})
    return root, [first, second]


@pytest.fixture
def digests(logged: tuple[Path, list[str]], tmp_path: Path) -> list[str]:
    """Those of `logged`, whose repository is copied to `tmp_path`."""
    shutil.copytree(logged[0], tmp_path, dirs_exist_ok=True)
    return logged[1]


def test_a_registry_that_does_not_answer_is_a_user_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9: cannot be queried: "):
        find_champion(tmp_path, "papers", tmp_path)


@pytest.mark.filterwarnings("default")
def test_the_champion_is_the_best_on_the_same_papers(
    digests: list[str], tiny_params: Params, tmp_path: Path
) -> None:
    import mlflow

    def registered(digest: str, accuracy: float, papers: str = "same") -> str:
        with track("evaluate", tiny_params, root=tmp_path, workspace=tmp_path) as run:
            result = run.register("papers", digest, accuracy, papers)
        assert result is not None
        return result

    first, second = digests
    assert find_champion(tmp_path, "papers", tmp_path / "none") is None
    assert "no run in this store logged model" in registered("of no run", 0.9)
    assert registered(first, 0.80).endswith("version 1, 80.00%: champion")
    assert "other test papers" in registered(second, 0.99, "others")
    assert "version 1 stays champion with 80.00%" in registered(second, 0.80)
    assert registered(second, 0.81).endswith("version 2, 81.00%: champion")
    assert registered(second, 0.81).endswith("version 2, 81.00%: champion"), "registered once only"
    champion = find_champion(tmp_path, "papers", tmp_path / "copy")
    assert champion is not None
    assert champion.title == "papers version 2, the champion"
    assert checkpoint.digest(champion.folder) == second
    assert checkpoint.load(champion.folder).config.classes == CLASSES
    with track("evaluate", tiny_params, root=tmp_path, workspace=tmp_path) as run:
        result = run.register("papers", first, 0.99, "same", metric="micro_f1")
    assert result is not None
    assert "micro-F1 99.00%" in result
    assert result.endswith("the champion, version 2, was measured by another metric")
    client = mlflow.MlflowClient(store_uri(tmp_path))
    assert client.get_model_version_by_alias("papers", "champion").version in (2, "2")
    assert len(client.search_model_versions("name = 'papers'")) == 2


@pytest.mark.filterwarnings("default")
@pytest.mark.filterwarnings("default")
def test_a_challenger_that_wins_becomes_the_champion(
    digests: list[str], tiny_params: Params, tmp_path: Path
) -> None:
    first, second = digests
    assert find_version(tmp_path, "papers", None, tmp_path / "nobody") is None
    record = tmp_path / "reference.json"
    record.write_text("{}")
    for digest, papers in ((first, "old"), (second, "new")):
        with track("evaluate", tiny_params, root=tmp_path, workspace=tmp_path) as run:
            run.tags({"model.digest": digest})
            if digest == second:
                run.file(record)
            run.register("papers", digest, 0.8, papers)
    old = find_version(tmp_path, "papers", None, tmp_path / "old")
    new = find_version(tmp_path, "papers", second, tmp_path / "new")
    assert old is not None
    assert new is not None
    assert (old.version, old.is_champion, new.version, new.is_champion) == ("1", True, "2", False)
    assert checkpoint.digest(new.folder) == second
    settle(tmp_path, "papers", "2", champion=False, tags={"split": "hash 0.15"})
    champion = find_champion(tmp_path, "papers", tmp_path / "still")
    assert champion is not None
    assert "version 1" in champion.title
    settle(tmp_path, "papers", "2", champion=True, tags={})
    now = find_version(tmp_path, "papers", None, tmp_path / "now")
    assert now is not None
    assert (now.version, now.tags["split"]) == ("2", "hash 0.15")
    (tmp_path / "copied").mkdir()
    assert find_reference(tmp_path, first, tmp_path / "copied") is None
    copied = find_reference(tmp_path, second, tmp_path / "copied")
    assert copied is not None
    assert copied.read_text() == "{}"


def test_of_two_that_register_at_once_the_better_is_champion(
    digests: list[str], tiny_params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def registered(digest: str, accuracy: float) -> str | None:
        with track("evaluate", tiny_params, root=tmp_path, workspace=tmp_path) as run:
            return run.register("papers", digest, accuracy, "same")

    better, worse = digests
    assert registered(better, 0.9)
    # the other one looked for a champion before that, and sets the alias after it
    with monkeypatch.context() as patch:
        patch.setattr(registry, "_champion", lambda *_: None)
        line = registered(worse, 0.8)
    assert line == "registered as papers version 2, 80.00%; version 1 stays champion with 90.00%"
    champion = find_champion(tmp_path, "papers", tmp_path / "copy")
    assert champion is not None
    assert checkpoint.digest(champion.folder) == better


@pytest.mark.filterwarnings("default")
def test_a_user_who_may_not_register_keeps_the_run(
    digests: list[str], tiny_params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    import mlflow

    def refuse(*_: object, **__: object) -> None:
        text = "API request to endpoint /api/2.0/mlflow/model-versions/create failed: 403"
        code = mlflow.protos.databricks_pb2.PERMISSION_DENIED
        raise mlflow.exceptions.MlflowException(text, error_code=code)

    monkeypatch.setattr(mlflow, "register_model", refuse)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "guest")
    capsys.readouterr()
    with track("evaluate", tiny_params, root=tmp_path, workspace=tmp_path) as run:
        result = run.register("papers", digests[0], 0.8, "same")
        run.metrics({"accuracy": 0.85})
    assert result == (
        "not registered as papers: the server does not permit user guest to do "
        "model-versions/create; ask its admin"
    )
    assert "stopped logging" not in capsys.readouterr().err
    (logged,) = mlflow.search_runs(
        experiment_names=["arxiv-hybrid"], filter_string="metrics.accuracy = 0.85",
        output_format="list",
    )  # fmt: skip
    assert (logged.info.status, logged.data.tags["stage"]) == ("FINISHED", "evaluate")


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("damage", ["gone", "another model", "not ours"])
def test_a_champion_whose_files_are_not_its_own_is_one_line(
    damage: str, digests: list[str], tiny_params: Params, tmp_path: Path
) -> None:
    with track("evaluate", tiny_params, root=tmp_path, workspace=tmp_path) as run:
        assert run.register("papers", digests[0], 0.8, "same")
    (artifacts,) = (tmp_path / "mlartifacts").rglob("artifacts/1")
    description = artifacts.parents[1] / "MLmodel"
    if damage == "gone":
        shutil.rmtree(description.parent)
    elif damage == "another model":
        save_untrained_model(artifacts, seed=2)
    else:
        content = yaml.safe_load(description.read_text())
        del content["flavors"]["python_function"]["artifacts"]
        description.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match="papers version 1, the champion") as error:
        find_champion(tmp_path, "papers", tmp_path / "copy")
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("default")
def test_the_run_of_a_model_says_its_experiment_and_accuracy(
    digests: list[str], tmp_path: Path
) -> None:
    measured = find_run(tmp_path, "of a linear model")
    assert measured
    assert (measured.measure, measured.value, measured.papers) == ("accuracy", 0.8, 40)
    found = [find_run(tmp_path, digest) for digest in digests]
    assert [run and run.experiment for run in found] == ["workspace", "moody-gap"]
    scores = [run and (run.measure, run.value, run.papers) for run in found]
    assert scores == [(None, None, None), ("micro-F1", 0.75, 90)]
    assert find_run(tmp_path, "of no run") is None
    empty = tmp_path / "empty"
    assert find_run(empty, digests[0]) is None
    assert not empty.exists(), "looking creates no store"


@pytest.mark.filterwarnings("default")
def test_training_seconds_add_up_the_runs_of_all_models(digests: list[str], tmp_path: Path) -> None:
    each = [training_seconds(tmp_path, [digest]) for digest in digests]
    assert all(seconds is not None and seconds > 0 for seconds in each)
    assert training_seconds(tmp_path, digests) == pytest.approx(sum(filter(None, each)))
    assert training_seconds(tmp_path, [*digests, "of no run"]) is None
