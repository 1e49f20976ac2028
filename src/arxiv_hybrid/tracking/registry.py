"""The model registry: registering a model, its champion, and the model to serve."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.tracking.store import (
    TRACKING_URI,
    import_mlflow,
    local_database,
    one_line,
    open_store,
    store_uri,
    warn,
)
from arxiv_hybrid.tracking.worker import within

_ANSWER = 15.0  # seconds that a command waits for the store
_LOOK = 5.0  # the same, for what it can do without
_DOWNLOAD = 300.0  # the same, for the files of a model
# the main measures of evaluations, in words
_SCORES = {"accuracy": "accuracy", "micro_f1": "micro-F1"}
_FITTED, _MEASURED = ("train", "baseline"), ("evaluate", "baseline")  # stages, by what they do
_AT_ONCE = 60_000  # milliseconds; a stage waits for less than half of that
CHAMPION = "champion"  # the alias of the best registered version
REFERENCE = "reference.json"  # what stage evaluate logs for `update`


@dataclass(frozen=True)
class Champion:
    """The folder of a registered classifier, and its name and version in words."""

    folder: Path
    title: str


@dataclass(frozen=True)
class RunOfModel:
    """The run that trained a model, and how it did on test papers.

    experiment: DVC's name of it, or `workspace`. measure, value: the main one in words and from 0
    to 1; papers: on how many. They are None if the model was not evaluated.
    """

    experiment: str
    run_id: str
    measure: str | None
    value: float | None
    papers: int | None


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

    def value_of(self, version: Any) -> float | None:
        """The score of a registered version; None if it cannot be compared with this one."""
        if version.tags.get("measured_on") != self.measured_on or self.metric not in version.tags:
            return None
        return float(version.tags[self.metric])

    def why_not(self, champion: Any) -> str:
        """Why this score does not replace the champion, in words."""
        if champion.tags.get("measured_on") != self.measured_on:
            return f"the champion, version {champion.version}, was measured on other test papers"
        best = self.value_of(champion)
        if best is None:
            return f"the champion, version {champion.version}, was measured by another metric"
        return f"version {champion.version} stays champion with {best:.2%}"


def register(mlflow: Any, name: str, digest: str, score: Score) -> str:
    """Register the logged model of this digest under `name`; see `Run.register`."""
    client = mlflow.MlflowClient()
    source = _run_with_model(client, digest)
    if source is None:
        why = f"no run in this store logged model {digest} (tracking.log_model)"
        return f"not registered: {why}; `dvc exp run -f` trains and logs it again"
    tags = {"model.digest": digest, **score.tags}
    versions = client.search_model_versions(f"name = '{name}'")
    same = [version for version in versions if version.tags.get("model.digest") == digest]
    if same:
        version = same[0]
        for key, value in tags.items():
            client.set_model_version_tag(name, version.version, key, value)
        # its time becomes that of this registration, by the server's clock
        version = client.update_model_version(name, version.version, version.description or "")
    else:
        version = mlflow.register_model(f"runs:/{source.info.run_id}/model", name, tags=tags)
    metric = "" if score.metric == "accuracy" else f"{score.metric.replace('_f1', '-F1')} "
    result = f"registered as {name} version {version.version}, {metric}{score.value:.2%}"
    champion = _champion(client, name)
    best = None if champion is None else score.value_of(champion)
    if champion is None or (best is not None and score.value > best):
        client.set_registered_model_alias(name, CHAMPION, version.version)
        champion = _settled(client, name, version, score)
    if str(champion.version) == str(version.version):
        return f"{result}: champion"
    return f"{result}; {score.why_not(champion)}"


def _settled(client: Any, name: str, own: Any, score: Score) -> Any:
    """The champion, after the best version of those registered at the same time has the alias.

    MLflow sets an alias whatever it was before. So of two clients that register at once, each may
    see the old champion, and the one with the worse model may be the last to set the alias.
    """
    while True:
        versions = {str(v.version): v for v in client.search_model_versions(f"name = '{name}'")}
        since = own.last_updated_timestamp - _AT_ONCE
        recent = {n: v for n, v in versions.items() if v.last_updated_timestamp > since}
        values = {n: score.value_of(v) for n, v in recent.items()}
        rivals = {n: value for n, value in values.items() if value is not None}
        number = _champion_version(client, name) or ""
        if number not in rivals or rivals[number] == max(rivals.values()):
            return versions.get(number, own)
        client.set_registered_model_alias(name, CHAMPION, max(rivals, key=lambda n: rivals[n]))


def find_champion(root: Path, name: str, into: Path) -> Champion | None:
    """The champion registered under `name`, copied into the folder `into`; None if there is none.

    root: the repository. Raises UserError if the store does not answer, or its files are gone or
    are not those of the champion.
    """
    if not _has_store(root):
        return None
    try:
        mlflow = import_mlflow()
    except ImportError:
        raise UserError("mlflow is not installed; serving needs it") from None
    open_store(root)
    store = store_uri(root)
    client = mlflow.MlflowClient(store)
    try:
        version = within(_ANSWER, lambda: _champion(client, name))
    except Exception as error:  # MLflow's, and those of the libraries below it
        raise UserError(
            f"{store}: cannot be queried: {one_line(error)}; --model FOLDER serves without it"
        ) from None
    if version is None:
        return None
    title = f"{name} version {version.version}, the champion"
    try:
        folder = within(_DOWNLOAD, lambda: _download(mlflow, store, version.source, into))
    except Exception as error:
        raise UserError(f"{store}: {title}, cannot be read: {one_line(error)}") from None
    from arxiv_hybrid.inference import checkpoint  # loads torch

    if checkpoint.digest(folder) != version.tags.get("model.digest"):
        raise UserError(f"{store}: {title}: its files are of another model")
    return Champion(folder, title)


def find_run(root: Path, digest: str) -> RunOfModel | None:
    """The newest run that trained the model of this digest; None if the store has none.

    Raises UserError if the store does not answer.
    """
    if not _has_store(root):
        return None
    try:
        open_store(root)
        client = import_mlflow().MlflowClient(store_uri(root))
        return within(_LOOK, lambda: _run_of_model(client, digest))
    except Exception as error:  # no mlflow, or one of its errors
        raise UserError(f"MLflow cannot tell: {one_line(error)}") from None


def find_reference(root: Path, digest: str, into: Path) -> Path | None:
    """The record of the test of this model, copied into the folder `into`; None if there is none.

    Raises UserError if the store does not answer.
    """
    if not _has_store(root):
        return None
    try:
        open_store(root)
        mlflow, store = import_mlflow(), store_uri(root)
        client = mlflow.MlflowClient(store)
        return within(_ANSWER, lambda: _download_reference(client, digest, into))
    except Exception as error:
        raise UserError(f"{store_uri(root)}: cannot be queried: {one_line(error)}") from None


def _download_reference(client: Any, digest: str, into: Path) -> Path | None:
    for run in _runs(client, digest, "evaluate"):
        if any(file.path == REFERENCE for file in client.list_artifacts(run.info.run_id)):
            return Path(client.download_artifacts(run.info.run_id, REFERENCE, str(into)))
    return None


@dataclass(frozen=True)
class Challenger:
    """A registered version: its number, whether it is the champion, tags and folder."""

    version: str
    is_champion: bool
    tags: dict[str, str]
    folder: Path


def find_version(root: Path, name: str, digest: str | None, into: Path) -> Challenger | None:
    """The version of this digest (None: the champion) registered under `name`; None if none is.

    into: a folder for its files. Raises UserError if the store does not answer.
    """
    if not _has_store(root):
        return None
    open_store(root)
    mlflow, store = import_mlflow(), store_uri(root)
    client = mlflow.MlflowClient(store)

    def find() -> tuple[Any, Any]:
        champion = _champion(client, name)
        if digest is None:
            return champion, champion
        versions = client.search_model_versions(f"name = '{name}'")
        same = [each for each in versions if each.tags.get("model.digest") == digest]
        return champion, same[0] if same else None

    try:
        champion, version = within(_ANSWER, find)
        if version is None:
            return None
        folder = within(_DOWNLOAD, lambda: _download(mlflow, store, version.source, into))
    except Exception as error:
        raise UserError(f"{store}: {name}: cannot be read: {one_line(error)}") from None
    is_champion = champion is not None and str(champion.version) == str(version.version)
    return Challenger(str(version.version), is_champion, dict(version.tags), folder)


def settle(root: Path, name: str, version: str, *, champion: bool, tags: dict[str, str]) -> None:
    """Tag a registered version, and make it the champion if it won; UserError if that fails."""
    store = store_uri(root)
    client = import_mlflow().MlflowClient(store)

    def change() -> None:
        for key, value in tags.items():
            client.set_model_version_tag(name, version, key, value)
        if champion:
            client.set_registered_model_alias(name, CHAMPION, version)

    try:
        within(_ANSWER, change)
    except Exception as error:
        raise UserError(f"{store}: {name} version {version}: {one_line(error)}") from None


def _has_store(root: Path) -> bool:
    """Whether there may be runs: a server is named, or the local database exists."""
    database = local_database(os.environ.get(TRACKING_URI), root)
    return database is None or database.is_file()


def _champion(client: Any, name: str) -> Any | None:
    if _champion_version(client, name) is None:
        return None
    return client.get_model_version_by_alias(name, CHAMPION)


def _download(mlflow: Any, store: str, source: str, into: Path) -> Path:
    """Copy a logged model; the folder of its classifier. ValueError if it is another model."""
    mlflow.set_tracking_uri(store)
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=str(into)))
    description = mlflow.models.Model.load(str(folder))
    try:
        path = str(description.flavors["python_function"]["artifacts"]["classifier"]["path"])
    except (KeyError, TypeError):
        raise ValueError("not a classifier of this library") from None
    return folder / path


def _run_of_model(client: Any, digest: str) -> RunOfModel | None:
    runs = _runs(client, digest, *_FITTED, *_MEASURED)
    fitted, measured = (
        next((run for run in runs if run.data.tags["stage"] in stages), None)
        for stages in (_FITTED, _MEASURED)
    )
    if fitted is None:
        return None
    tags = fitted.data.tags
    scores = measured.data.metrics if measured else {}
    name = next((name for name in _SCORES if name in scores), None)
    return RunOfModel(
        experiment=tags.get("DVC_EXP_NAME") or "workspace",
        run_id=str(fitted.info.run_id),
        measure=name and _SCORES[name],
        value=scores.get(name) if name else None,
        papers=int(scores["papers"]) if "papers" in scores else None,
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
    return _runs(client, digest, "train")


def _runs(client: Any, digest: str, *stages: str) -> list[Any]:
    """Finished runs of these stages about the model of this digest, the newest first."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    query = f"tags.`model.digest` = '{digest}' and status = 'FINISHED'"
    runs = client.search_runs(experiments, query)
    return [run for run in runs if run.data.tags.get("stage") in stages]


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
