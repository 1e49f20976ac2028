"""The model registry: registering a model, its champion, and the model to serve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.tracking.store import import_mlflow, one_line, open_store, store_uri, warn
from arxiv_hybrid.tracking.worker import within

_ANSWER = 15.0  # seconds that a command waits for the store
CHAMPION = "champion"  # the alias of the best registered version


@dataclass(frozen=True)
class ModelToServe:
    """A logged model's MLflow URI, and the URI of the store that holds it."""

    uri: str
    store: str


@dataclass(frozen=True)
class Score:
    """The value of a metric, and the digest of the test papers that it was measured on."""

    metric: str
    value: float
    measured_on: str

    @property
    def tags(self) -> dict[str, str]:
        """The score as tags of a registered version."""
        return {self.metric: str(self.value), "measured_on": self.measured_on}


def register(mlflow: Any, name: str, digest: str, score: Score) -> str:
    """Register the logged model of this digest under `name`; see `Run.register`."""
    client = mlflow.MlflowClient()
    source = _run_with_model(client, digest)
    if source is None:
        return f"not registered: no run in this store logged model {digest} (tracking.log_model)"
    tags = {"model.digest": digest, **score.tags}
    versions = client.search_model_versions(f"name = '{name}'")
    same = [version for version in versions if version.tags.get("model.digest") == digest]
    uri = f"runs:/{source.info.run_id}/model"
    version = same[0] if same else mlflow.register_model(uri, name, tags=tags)
    for key, value in tags.items():
        client.set_model_version_tag(name, version.version, key, value)
    number = _champion_version(client, name)
    champion = next((v for v in versions if str(v.version) == number), None)
    metric = "" if score.metric == "accuracy" else f"{score.metric.replace('_f1', '-F1')} "
    result = f"registered as {name} version {version.version}, {metric}{score.value:.2%}"
    if champion is not None and champion.version != version.version:
        if champion.tags.get("measured_on") != score.measured_on:
            return f"{result}; the champion, version {number}, was measured on other test papers"
        if score.metric not in champion.tags:
            return f"{result}; the champion, version {number}, was measured by another metric"
        best = float(champion.tags[score.metric])
        if score.value <= best:
            return f"{result}; version {number} stays champion with {best:.2%}"
    client.set_registered_model_alias(name, CHAMPION, version.version)
    return f"{result}: champion"


def find_model_to_serve(root: Path, name: str, digest: Callable[[], str]) -> ModelToServe:
    """The champion registered under `name`, else the logged model with a digest.

    root: the repository. digest: called only if there is no champion. Raises UserError if there
    is neither model, or the store does not answer.
    """
    try:
        mlflow = import_mlflow()
    except ImportError:
        raise UserError("mlflow is not installed; serving needs it") from None
    open_store(root)
    store = store_uri(root)
    try:
        client = mlflow.MlflowClient(store)
        if within(_ANSWER, lambda: _champion_version(client, name)):
            return ModelToServe(f"models:/{name}@{CHAMPION}", store)
        current = digest()
        if run := within(_ANSWER, lambda: _run_with_model(client, current)):
            return ModelToServe(f"runs:/{run.info.run_id}/model", store)
    except UserError:
        raise
    except Exception as error:  # MLflow's, and those of the libraries below it
        raise UserError(f"{store}: cannot be queried: {one_line(error)}") from None
    raise UserError(
        f"{store}: no registered model {name}, and no run that logged the current model; "
        "set tracking.log_model and run `dvc repro -f train`"
    )


def training_seconds(root: Path, digests: list[str]) -> float | None:
    """Total duration of the runs that trained the models of these digests, in seconds.

    None if one of the runs is missing (another store, tracking turned off) or the store does
    not answer.
    """
    try:
        client = import_mlflow().MlflowClient(store_uri(root))
        return within(_ANSWER, lambda: _total_seconds(client, digests))
    except Exception as error:  # a table without durations is better than no table
        warn(f"cannot read training times from MLflow: {one_line(error)}")
        return None


def _total_seconds(client: Any, digests: list[str]) -> float | None:
    runs = [_training_runs(client, digest)[:1] for digest in digests]
    if not all(runs):
        return None
    return sum(float(run.info.end_time - run.info.start_time) / 1000 for (run,) in runs)


def _champion_version(client: Any, name: str) -> str | None:
    for model in client.search_registered_models(f"name = '{name}'"):
        if CHAMPION in model.aliases:
            return str(model.aliases[CHAMPION])
    return None


def _training_runs(client: Any, digest: str) -> list[Any]:
    """Finished runs of stage train whose model has this digest, the newest first."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    query = f"tags.`model.digest` = '{digest}' and tags.stage = 'train'"
    return list(client.search_runs(experiments, f"{query} and status = 'FINISHED'"))


def logged_model_id(client: Any, digest: str) -> str | None:
    """MLflow's id of the logged model of this digest."""
    run = _run_with_model(client, digest)
    return None if run is None else str(run.outputs.model_outputs[0].model_id)


def _run_with_model(client: Any, digest: str) -> Any | None:
    """The newest run that trained and logged the model of this digest."""
    for run in _training_runs(client, digest):
        if run.outputs is not None and run.outputs.model_outputs:
            return run
    return None
