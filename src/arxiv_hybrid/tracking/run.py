"""MLflow, and nothing else knows it.

Tracking is a log, never a condition: without mlflow installed, or with a server that does
not answer, a run warns once and goes on. Where DVC's files and MLflow differ, DVC is right.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from arxiv_hybrid.params import Params
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.git import git
from arxiv_hybrid.system.nested import flatten

DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"
CHAMPION = "champion"  # the alias of the best registered model
MAX_PARAM_LENGTH = 500
SERVING_NEEDS = ("mlflow", "numpy", "pandas", "pydantic", "pyyaml", "safetensors", "torch", "tqdm")
EXAMPLE = {
    "title": "Speech recognition for small languages",
    "abstract": "We present a corpus of read speech and a recogniser trained on it.",
}
ABOUT = {
    "train": "Training of `{model}`: papers from `{source}`, {classes} classes, {scheme} labels.",
    "evaluate": "`{model}` on the test papers, beside TF-IDF and a linear model.",
    "ensemble": "The main model and the members of `ensemble.members` voting on the test papers.",
}
_MODEL_CODE = """\
import mlflow

from arxiv_hybrid.tracking.run import make_served_model

mlflow.models.set_model(make_served_model())
"""


class Run:
    """One MLflow run. Every call is safe: the first that fails warns and stops the logging."""

    def __init__(self, mlflow: Any | None) -> None:
        self._mlflow = mlflow

    @property
    def active(self) -> bool:
        """Whether anything is still being logged."""
        return self._mlflow is not None

    def _try(self, action: Callable[[Any], object]) -> None:
        if self._mlflow is None:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # hints about MLflow's own defaults
                action(self._mlflow)
        except Exception as error:  # a tracking server's trouble must not cost a training run
            _warn(f"MLflow stopped logging this run: {_short(error)}")
            self._mlflow = None

    def metrics(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers; nested dicts become dotted names, anything else is left out."""
        flat = {
            name: float(value)
            for name, value in _legal(flatten(values)).items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        }
        self._try(lambda mlflow: mlflow.log_metrics(flat, step=step))

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters, flattened to dotted names, once a run."""
        flat = {
            name: str(value)[:MAX_PARAM_LENGTH] for name, value in _legal(flatten(values)).items()
        }
        self._try(lambda mlflow: mlflow.log_params(flat))

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        self._try(lambda mlflow: mlflow.set_tags(dict(values)))

    def file(self, path: Path, folder: str | None = None) -> None:
        """Store a file as an artifact."""
        self._try(lambda mlflow: mlflow.log_artifact(str(path), folder))

    def figure(self, figure: Any, name: str) -> None:
        """Store a matplotlib figure as a PNG artifact."""
        self._try(lambda mlflow: mlflow.log_figure(figure, name))

    def dataset(self, papers: pd.DataFrame, name: str, context: str) -> None:
        """Record a dataset as the run's input, with a digest of its rows."""

        def log(mlflow: Any) -> None:
            data = mlflow.data.from_pandas(papers, name=name, targets="label")
            mlflow.log_input(data, context=context)

        self._try(log)

    def model(self, folder: Path, classes: list[str]) -> None:
        """Store a classifier folder as a pyfunc model: title and abstract to category.

        It answers with each class's probability, too. The model is logged as code plus files,
        so nothing is pickled.
        """

        def log(mlflow: Any) -> None:
            from mlflow.models import ModelSignature
            from mlflow.types import ColSpec, DataType, Schema

            text, number = DataType.string, DataType.double
            inputs = Schema([ColSpec(text, name) for name in EXAMPLE])
            answer: list[Any] = [ColSpec(number, name) for name in classes]
            signature = ModelSignature(
                inputs=inputs, outputs=Schema([ColSpec(text, "category"), *answer])
            )
            package = Path(__file__).resolve().parent
            with tempfile.TemporaryDirectory() as temporary:
                code = Path(temporary) / "serve.py"
                code.write_text(_MODEL_CODE, encoding="utf-8")
                mlflow.pyfunc.log_model(
                    name="model",
                    python_model=str(code),
                    artifacts={"classifier": str(folder)},
                    code_paths=[str(package)],
                    signature=signature,
                    input_example=pd.DataFrame([EXAMPLE]),
                    pip_requirements=[
                        f"{name}=={version(name).split('+')[0]}" for name in SERVING_NEEDS
                    ],
                )

        self._try(log)

    def register(self, name: str, digest: str, accuracy: float, measured_on: str) -> str | None:
        """Register the trained model of this digest under `name`; what came of it.

        It becomes the champion where there is none, or where it has more correct answers than the
        champion on the same test papers (`measured_on` is their digest); on other papers the two
        cannot be compared, and the alias stays. None where logging has stopped.
        """
        told: list[str] = []
        self._try(
            lambda mlflow: told.append(_register(mlflow, name, digest, accuracy, measured_on))
        )
        return told[0] if told else None


def _register(mlflow: Any, name: str, digest: str, accuracy: float, measured_on: str) -> str:
    client = mlflow.MlflowClient()
    trained = _trained(client, digest)
    if trained is None:
        return f"not registered: no run here has stored the model {digest} (tracking.log_model)"
    tags = {"model.digest": digest, "accuracy": str(accuracy), "measured_on": measured_on}
    versions = client.search_model_versions(f"name = '{name}'")
    same = [version for version in versions if version.tags.get("model.digest") == digest]
    version = same[0] if same else mlflow.register_model(f"runs:/{trained}/model", name, tags=tags)
    for key, value in tags.items():
        client.set_model_version_tag(name, version.version, key, value)
    best = _champion(client, name)
    champion = next((v for v in versions if str(v.version) == best), None)
    shown = f"registered as {name} version {version.version}, {accuracy:.2%}"
    if champion is not None and champion.version != version.version:
        if champion.tags.get("measured_on") != measured_on:
            return f"{shown}; the champion (version {champion.version}) has seen other test papers"
        before = float(champion.tags["accuracy"])
        if accuracy <= before:
            return f"{shown}; version {champion.version} stays champion with {before:.2%}"
    client.set_registered_model_alias(name, CHAMPION, version.version)
    return f"{shown}: champion"


def _champion(client: Any, name: str) -> str | None:
    """The version of a registered model that is the champion."""
    for model in client.search_registered_models(f"name = '{name}'"):
        if CHAMPION in model.aliases:
            return str(model.aliases[CHAMPION])
    return None


def _trained(client: Any, digest: str) -> str | None:
    """The id of a finished training run that stored the model of this digest."""
    experiments = [one.experiment_id for one in client.search_experiments()]
    wanted = f"tags.`model.digest` = '{digest}' and tags.stage = 'train'"
    for run in client.search_runs(experiments, f"{wanted} and status = 'FINISHED'"):
        if run.outputs is not None and run.outputs.model_outputs:
            return str(run.info.run_id)
    return None


def serving(root: Path, name: str, digest: Callable[[], str]) -> tuple[dict[str, str], str]:
    """What to serve: the registered champion, else the model of a digest as its run stored it.

    digest: asked only where there is no champion. Returns the environment that mlflow's own
    commands need, and the model's address. Raises UserError if there is neither, or the server
    cannot be asked.
    """
    _configure()
    try:
        import mlflow
    except ImportError:
        raise UserError("mlflow is not installed, and it is what serves") from None
    _quiet_logs()
    database = local_database(os.environ.get("MLFLOW_TRACKING_URI"), root)
    store = f"sqlite:///{database}" if database else os.environ["MLFLOW_TRACKING_URI"]
    client = mlflow.MlflowClient(store)
    try:
        found = None
        if _champion(client, name):
            found = f"models:/{name}@{CHAMPION}"
        elif trained := _trained(client, digest()):
            found = f"runs:/{trained}/model"
    except mlflow.exceptions.MlflowException as error:
        raise UserError(f"{store}: cannot be asked: {_short(error)}") from None
    if found is None:
        raise UserError(
            f"{store}: neither a registered {name} nor a run that stored models/main; "
            "run `dvc repro -f train` with tracking.log_model"
        )
    return {"MLFLOW_TRACKING_URI": store}, found


@contextmanager
def track(
    stage: str, params: Params, *, root: Path, workspace: Path, quiet: bool = False
) -> Iterator[Run]:
    """Open the MLflow run of a stage; it ends FAILED or KILLED if the stage does.

    root: the repository, where the default store lies; workspace: where this stage runs,
    which under `dvc exp run --temp` and in the queue is a temporary copy; quiet: log nothing,
    as all but one of several processes do.
    """
    logged = params.tracking.enabled and not quiet
    run = Run(_start(stage, params, root, workspace) if logged else None)
    status = "FINISHED"
    try:
        run.params(params.model_dump(mode="json"))
        yield run
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    except BaseException:
        status = "FAILED"
        raise
    finally:
        run._try(lambda mlflow: mlflow.end_run(status))


def _start(stage: str, params: Params, root: Path, workspace: Path) -> Any | None:
    """Import mlflow and start a run, or warn and return None."""
    _configure()
    try:
        import mlflow
    except ImportError:
        _warn("mlflow is not installed: this run is not tracked")
        return None
    try:
        _quiet_logs()
        _prepare_store(mlflow, params.tracking.experiment, root)
        name = os.environ.get("DVC_EXP_NAME") or "workspace"
        mlflow.start_run(
            run_name=f"{stage} {name}",
            tags=_tags(stage, workspace),
            description=_about(stage, params),
            log_system_metrics=stage == "train",
        )
    except Exception as error:  # no server, no disk, no schema: train all the same
        _warn(f"MLflow cannot be reached, this run is not tracked: {_short(error)}")
        return None
    return mlflow


def _configure() -> None:
    """Let mlflow be quiet, and quick to give up; it reads this when it is imported."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")


def _prepare_store(mlflow: Any, experiment: str, root: Path) -> None:
    """Point mlflow at its store and make the experiment if it is new.

    The local store is under the repository's root with an absolute artifact folder: MLflow
    fixes that folder for ever when it creates an experiment, and a temporary workspace goes.
    """
    database = local_database(os.environ.get("MLFLOW_TRACKING_URI"), root)
    if database is None:
        mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
        mlflow.set_experiment(experiment)
        return
    from filelock import FileLock

    mlflow.set_tracking_uri(f"sqlite:///{database}")
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock"):  # queue jobs may start at the same moment
        if mlflow.get_experiment_by_name(experiment) is None:
            folder = database.parent / ARTIFACTS
            mlflow.create_experiment(experiment, artifact_location=folder.as_uri())
    mlflow.set_experiment(experiment)


def local_database(uri: str | None, root: Path) -> Path | None:
    """The SQLite file that holds the runs, or None if a server does.

    A relative path in the URI starts at the repository's root, not where a stage runs.
    """
    if not uri:
        return root / DATABASE
    if not uri.startswith("sqlite:///"):
        return None
    return root / uri.removeprefix("sqlite:///")


def _about(stage: str, params: Params) -> str | None:
    told = {"model": params.model, "source": params.fetch.source,
            "classes": params.labels.classes, "scheme": params.labels.scheme}  # fmt: skip
    return ABOUT[stage].format(**told) if stage in ABOUT else None


def _tags(stage: str, workspace: Path) -> dict[str, str]:
    """What links this run to its code, its experiment and its data."""
    tags = {
        "stage": stage,
        "git.revision": git(workspace, "rev-parse", "HEAD") or "none",
        "git.dirty": str(bool(git(workspace, "status", "--porcelain"))).lower(),
    }
    for key in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "DVC_STAGE"):
        if os.environ.get(key):
            tags[key] = os.environ[key]
    dvc_stage = os.environ.get("DVC_STAGE", stage).split(":")[-1]
    return {**tags, **{f"dep.{p}": md5 for p, md5 in dependency_md5s(workspace, dvc_stage).items()}}


def dependency_md5s(workspace: Path, stage: str) -> dict[str, str]:
    """md5 of each data dependency of a stage, as dvc.lock has it now.

    The stage's own entry is still that of its last run; the stages before it have already
    written theirs, so their outputs are what this run reads.
    """
    try:
        lock = yaml.safe_load((workspace / "dvc.lock").read_text(encoding="utf-8"))
        pipeline = yaml.safe_load((workspace / "dvc.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}  # run by hand, outside a DVC repository
    definition = pipeline.get("stages", {}).get(stage.split("@")[0], {})
    wanted = {dep for dep in definition.get("deps", []) if isinstance(dep, str)}
    outs = {
        out["path"]: out.get("md5", "")
        for entry in (lock or {}).get("stages", {}).values()
        for out in entry.get("outs", [])
    }
    return {path: md5 for path, md5 in sorted(outs.items()) if _covers(wanted, path)}


def _covers(wanted: set[str], path: str) -> bool:
    return any(path == dep or path.startswith(f"{dep}/") for dep in wanted)


def make_served_model() -> Any:
    """The pyfunc model that MLflow serves: a frame with title and abstract to categories."""
    import mlflow

    class PaperClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
        def load_context(self, context: Any) -> None:
            from arxiv_hybrid.inference import checkpoint

            folder = Path(context.artifacts["classifier"])
            self._classifier = checkpoint.load(folder, device="auto", precision="auto")

        def predict(  # the signature is MLflow's
            self,
            context: Any,  # noqa: ARG002
            model_input: pd.DataFrame,
            params: Any = None,  # noqa: ARG002
        ) -> pd.DataFrame:
            try:
                return self._classifier.classify(model_input)
            except UserError as error:  # a client's mistake: 400 and the reason
                raise mlflow.exceptions.MlflowException.invalid_parameter_value(
                    str(error)
                ) from None

    return PaperClassifier()


def _legal(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values under names that MLflow accepts: other characters become `-`."""
    return {
        "".join(c if c.isalnum() or c in "_-. /" else "-" for c in name): value
        for name, value in values.items()
    }


def _quiet_logs() -> None:
    """Database migrations and model hints are no news to someone who trains a classifier."""
    import logging

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr, flush=True)


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:197] + "..."


def training_seconds(root: Path, digests: list[str]) -> float | None:
    """How long the runs took that trained the models of these digests.

    None if the run of one is not there: another store, tracking that was off, a server that
    does not answer.
    """
    _configure()
    try:
        import mlflow

        database = local_database(os.environ.get("MLFLOW_TRACKING_URI"), root)
        client = mlflow.MlflowClient(f"sqlite:///{database}" if database else None)
        experiments = [one.experiment_id for one in client.search_experiments()]
        total = 0.0
        for digest in digests:
            wanted = f"tags.`model.digest` = '{digest}' and tags.stage = 'train'"
            runs = client.search_runs(experiments, f"{wanted} and status = 'FINISHED'")
            if not runs:
                return None
            total += (runs[0].info.end_time - runs[0].info.start_time) / 1000
    except Exception as error:  # a table lacks a figure, no more
        _warn(f"MLflow cannot be asked how long trainings took: {_short(error)}")
        return None
    return total
