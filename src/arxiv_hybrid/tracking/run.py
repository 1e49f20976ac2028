"""An MLflow run for each train, evaluate and ensemble stage, and for pre-training.

Tracking is a log, never a requirement: without mlflow, or with a server that does not answer, a
run prints one warning and continues, and the later stages of the pipeline do not try again. Where
DVC's files and MLflow disagree, DVC is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arxiv_hybrid.system.nested import deep_merge, flatten
from arxiv_hybrid.system.redaction import redact
from arxiv_hybrid.system.watched import trial_tags
from arxiv_hybrid.tracking.budget import Budget
from arxiv_hybrid.tracking.lineage import run_tags
from arxiv_hybrid.tracking.names import run_name
from arxiv_hybrid.tracking.parent import DATA, STAGES, Parent
from arxiv_hybrid.tracking.registry import Score, logged_model_id, register
from arxiv_hybrid.tracking.store import (
    import_mlflow,
    one_line,
    outlast_restarts,
    prepare_store,
    refusal,
    store_uri,
    warn,
)
from arxiv_hybrid.tracking.worker import Worker

if TYPE_CHECKING:
    import pandas as pd

    from arxiv_hybrid.data.table import PaperTable
    from arxiv_hybrid.params import Params
    from arxiv_hybrid.params.pretraining import PretrainingParams

    Tracked = Params | PretrainingParams

MAX_PARAM_LENGTH = 500
_STOPPED = "MLflow stopped logging this run"
_LONG = ("per_class", "members", "bias")  # parts of a report with a number for each class or model
_DETAILS = ("diversity.pairs.", "against_baseline.only_")
DESCRIPTIONS = {
    "train": "Training of `{model}`: papers from `{source}`, {classes} classes, {scheme} labels.",
    "evaluate": "`{model}` on the test papers, compared with TF-IDF and a linear model.",
    "ensemble": "The main model and the members of `ensemble.members`, voting on the test papers.",
}


class Run:
    """One MLflow run. No call raises or waits, but `register` and `end` wait within the budget.

    The calls are made in the background, in their order. The first that fails ends logging, with
    one warning. mlflow: None logs nothing.
    """

    def __init__(self, mlflow: Any | None, budget: Budget | None = None) -> None:
        self._mlflow = mlflow
        self._parent: Parent | None = None
        self._budget = budget or Budget(None)
        self._worker = Worker() if mlflow is not None else None

    @property
    def active(self) -> bool:
        """Whether anything is still logged."""
        return self._worker is not None and self._worker.running

    def _log(self, action: Callable[[Any], object]) -> None:
        if self._worker is not None:
            self._worker.submit(lambda: action(self._mlflow))

    def start(self, action: Callable[[Any], object]) -> None:
        """Open the run by `action`; if that fails or takes too long, nothing is logged."""
        self._log(action)
        self._log(lambda _: outlast_restarts())
        self._wait(self._budget.start, "MLflow does not log this run")
        if self._mlflow is not None and not self.active:
            self._budget.exhaust()

    def join(self, parent: Callable[[], Parent], tags: Mapping[str, str]) -> None:
        """Put this run under the parent run of its pipeline run."""

        def log(mlflow: Any) -> None:
            joined = parent()
            joined.join(mlflow, tags)
            self._parent = joined

        self._log(log)

    def _result(self, values: Mapping[str, float]) -> None:
        """Metrics of the whole pipeline run, for its parent run."""

        def keep(_: Any) -> None:
            if self._parent is not None:
                self._parent.results.update(values)

        self._log(keep)

    def _wait(self, seconds: float, failed: str) -> None:
        """Wait for the calls so far; warn and stop logging if one failed or takes too long."""
        worker = self._worker
        if worker is None:
            return
        answered = worker.wait(seconds)
        self._budget.left = max(0.0, self._budget.left - worker.waited)
        if answered and worker.error is None:
            return
        worker.stop(abandon=True)
        self._worker = None
        if worker.error is not None:
            warn(f"{failed}: {one_line(worker.error)}")
        else:
            warn(f"{failed}: no answer within {seconds:.2g} s; later stages do not try again")
            self._budget.exhaust()

    def metrics(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers; nested names are joined by dots, other values are ignored."""
        numbers = _numbers(values)
        self._log(lambda mlflow: mlflow.log_metrics(numbers, step=step))

    def training(self, report: Mapping[str, Any], *, model: str, main: bool) -> None:
        """Log the best epoch of a trained model with this digest; main: not that of a member."""
        best = {name: value for name, value in report.items() if name.startswith("val_")}
        self.tags({"model.digest": model})
        self.metrics({name: report[name] for name in ("best_epoch", "parameters")} | {"best": best})
        if main:
            scores = _numbers({name: best[name] for name in best if name != "val_loss"})
            self._result(scores)
            if trial_tags():
                self.tags({"search.score": str(next(iter(scores.values())))})

    def scores(
        self, report: Mapping[str, Any], papers: pd.DataFrame, *, model: str | None = None
    ) -> None:
        """Log the scores on test papers: to this run, its parent, and the logged model.

        report: of `evaluation.report.full_report`; its long parts are only in the metrics file.
        model: the digest of the model; None for an ensemble.
        """
        values = _numbers({name: part for name, part in report.items() if name not in _LONG})
        values = {name: value for name, value in values.items() if not name.startswith(_DETAILS)}

        def log(mlflow: Any) -> None:
            data = mlflow.data.from_pandas(papers, name="test", targets="label")
            mlflow.log_input(data, context="evaluation")
            logged = logged_model_id(mlflow.MlflowClient(), model) if model else None
            mlflow.log_metrics(values, model_id=logged, dataset=data)

        self._log(log)
        self._result(values if model else {f"ensemble.{name}": values[name] for name in values})

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters, once per run; nested names are joined by dots."""
        texts = {
            name: redact(str(value))[:MAX_PARAM_LENGTH]
            for name, value in _mlflow_names(flatten(values)).items()
        }
        self._log(lambda mlflow: mlflow.log_params(texts))

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        self._log(lambda mlflow: mlflow.set_tags(dict(values)))

    def file(self, path: Path, folder: str | None = None) -> None:
        """Log a file as an artifact, in `folder` of the run's artifacts."""
        self._log(lambda mlflow: mlflow.log_artifact(str(path), folder))

    def figure(self, figure: Any, name: str) -> None:
        """Log a matplotlib figure as an image artifact."""
        self._log(lambda mlflow: mlflow.log_figure(figure, name))

    def learning_curves(self, epochs: pd.DataFrame) -> None:
        """Draw and log learning_curves.png; see `reporting.figures.learning_curves`."""

        def log(mlflow: Any) -> None:
            from arxiv_hybrid.reporting import figures  # matplotlib takes a second to load

            mlflow.log_figure(figures.learning_curves(epochs), "learning_curves.png")

        self._log(log)

    def dataset(self, papers: PaperTable, name: str, context: str) -> None:
        """Log a dataset as an input of the run, with a digest of its rows; texts stay out of it."""
        from arxiv_hybrid.data.table import without_texts  # loads pandas

        table = without_texts(papers)

        def log(mlflow: Any) -> None:
            data = mlflow.data.from_pandas(table, name=name, targets="label")
            mlflow.log_input(data, context=context)

        self._log(log)

    def model(self, folder: Path, classes: list[str], *, multi_label: bool = False) -> None:
        """Log a classifier folder as a model that MLflow can serve; see `served_model`."""

        def log(mlflow: Any) -> None:
            from arxiv_hybrid.tracking.served_model import log_served_model

            log_served_model(mlflow, folder, classes, multi_label=multi_label)

        self._log(log)

    def register(
        self, name: str, digest: str, value: float, measured_on: str, *, metric: str = "accuracy"
    ) -> str | None:
        """Register the trained model of this digest under `name`; return one line about it.

        It becomes the champion if there is none, or if the value of its metric is above the
        champion's on the same test papers (`measured_on` is their digest). Values of another metric
        or on other papers cannot be compared, so the champion stays. Returns None if nothing is
        logged any more.
        """
        results: list[str] = []
        score = Score(metric, value, measured_on)

        def log(mlflow: Any) -> None:
            try:
                results.append(register(mlflow, name, digest, score))
            except Exception as error:
                if (reason := refusal(error)) is None:
                    raise
                results.append(f"not registered as {name}: {reason}")

        self._log(log)
        self._wait(self._budget.left, _STOPPED)
        return results[0] if results else None

    def end(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED, and its parent with it."""

        def log(mlflow: Any) -> None:
            if self._parent is not None:
                self._parent.leave(status)
            mlflow.end_run(status)

        self._log(log)
        self._wait(self._budget.left, _STOPPED)
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
            self._budget.save()


@contextmanager
def track(
    stage: str,
    params: Tracked,
    member: str | None = None,
    *,
    root: Path,
    workspace: Path,
    quiet: bool = False,
) -> Iterator[Run]:
    """Open the MLflow run of a stage; it ends FAILED or KILLED if the stage does.

    member: that the stage trains; None for the main model. root: the repository, which holds the
    default store. workspace: where this stage runs, which under `dvc exp run --temp` and in the
    queue is a temporary copy. quiet: log nothing, as all but one of several processes do.
    """
    enabled = params.tracking.enabled and not quiet
    run = _start(stage, member, params, root, workspace) if enabled else Run(None)
    status = "FINISHED"
    try:
        run.params(_logged(stage, params))
        yield run
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    except BaseException:
        status = "FAILED"
        raise
    finally:
        run.end(status)


def _start(stage: str, member: str | None, params: Tracked, root: Path, workspace: Path) -> Run:
    """Import mlflow and start a run; one that logs nothing if that fails, with a warning."""
    try:
        mlflow = import_mlflow()
    except ImportError:
        warn("mlflow is not installed: this run is not tracked")
        return Run(None)
    budget = Budget.of_pipeline(root, store_uri(root))
    if budget.left <= 0:  # an earlier stage has said so
        return Run(None)
    tags = {name: redact(value) for name, value in run_tags(stage, workspace).items()}
    tags |= {"member": member or "main"} if stage == "train" else {}

    def start(mlflow: Any) -> None:
        prepare_store(mlflow, params.tracking.experiment, root, lock_timeout=budget.start * 0.8)
        mlflow.start_run(
            run_name=redact(run_name(stage, member, workspace)),
            tags=tags,
            description=_description(stage, params),
            log_system_metrics=stage in ("train", "encoder") and gpu_metrics_available(),
        )

    run = Run(mlflow, budget)
    run.start(start)
    if stage in STAGES:
        name = f"{stage} {member}" if member else stage
        run.join(lambda: Parent(mlflow, name, root, workspace), tags)
    return run


def gpu_metrics_available() -> bool:
    """Whether nvidia-ml-py, which MLflow reads a GPU's metrics with, is installed and sees one."""
    try:
        import pynvml
    except ImportError:
        return False
    try:
        pynvml.nvmlInit()
        return bool(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return False


def _logged(stage: str, params: Any) -> dict[str, Any]:
    """The parameters that a run shows: those in force in training, and which papers and labels."""
    values: dict[str, Any] = params.model_dump(mode="json")
    if stage not in STAGES:
        return values
    from arxiv_hybrid.params import training_values  # loads pydantic

    data = {name: {key: values[name][key] for key in keys} for name, keys in DATA.items()}
    return deep_merge(training_values(params), data)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The numbers in nested mappings by MLflow's names."""
    return {
        name: float(value)
        for name, value in _mlflow_names(flatten(values)).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def _description(stage: str, params: Any) -> str | None:
    if stage not in DESCRIPTIONS:
        return None
    return DESCRIPTIONS[stage].format(
        model=params.model,
        source=params.fetch.source,
        classes=params.labels.classes,
        scheme=params.labels.from_,
    )


def _mlflow_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace characters that MLflow refuses in names by `-`."""
    return {
        "".join(c if c.isalnum() or c in "_-. /" else "-" for c in name): value
        for name, value in values.items()
    }
