"""An MLflow run for each train, evaluate and ensemble stage, and for pre-training.

Tracking is a log, never a requirement: without mlflow, or with a server that does not answer, a
run prints one warning and continues, and the later stages of the pipeline do not try again. Where
DVC's files and MLflow disagree, DVC is right.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arxiv_hybrid.system.nested import flatten
from arxiv_hybrid.system.redaction import redact
from arxiv_hybrid.tracking.budget import Budget
from arxiv_hybrid.tracking.lineage import run_tags
from arxiv_hybrid.tracking.registry import Score, register
from arxiv_hybrid.tracking.store import import_mlflow, one_line, prepare_store, store_uri, warn
from arxiv_hybrid.tracking.worker import Worker

if TYPE_CHECKING:
    import pandas as pd

    from arxiv_hybrid.params import Params
    from arxiv_hybrid.params.pretraining import PretrainingParams

    Tracked = Params | PretrainingParams

MAX_PARAM_LENGTH = 500
_STOPPED = "MLflow stopped logging this run"
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
        self._wait(self._budget.start, "MLflow cannot be reached, this run is not tracked")
        if self._mlflow is not None and not self.active:
            self._budget.exhaust()

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
        numbers = {
            name: float(value)
            for name, value in _mlflow_names(flatten(values)).items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        }
        self._log(lambda mlflow: mlflow.log_metrics(numbers, step=step))

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

    def dataset(self, papers: pd.DataFrame, name: str, context: str) -> None:
        """Log a dataset as an input of the run, with a digest of its rows."""

        def log(mlflow: Any) -> None:
            data = mlflow.data.from_pandas(papers, name=name, targets="label")
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
        self._log(lambda mlflow: results.append(register(mlflow, name, digest, score)))
        self._wait(self._budget.left, _STOPPED)
        return results[0] if results else None

    def end(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED."""
        self._log(lambda mlflow: mlflow.end_run(status))
        self._wait(self._budget.left, _STOPPED)
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
            self._budget.save()


@contextmanager
def track(
    stage: str, params: Tracked, *, root: Path, workspace: Path, quiet: bool = False
) -> Iterator[Run]:
    """Open the MLflow run of a stage; it ends FAILED or KILLED if the stage does.

    root: the repository, which holds the default store. workspace: where this stage runs, which
    under `dvc exp run --temp` and in the queue is a temporary copy. quiet: log nothing, as all
    but one of several processes do.
    """
    enabled = params.tracking.enabled and not quiet
    run = _start(stage, params, root, workspace) if enabled else Run(None)
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
        run.end(status)


def _start(stage: str, params: Tracked, root: Path, workspace: Path) -> Run:
    """Import mlflow and start a run; one that logs nothing if that fails, with a warning."""
    try:
        mlflow = import_mlflow()
    except ImportError:
        warn("mlflow is not installed: this run is not tracked")
        return Run(None)
    budget = Budget.of_pipeline(root, store_uri(root))
    if budget.left <= 0:  # an earlier stage has said so
        return Run(None)
    experiment = os.environ.get("DVC_EXP_NAME") or "workspace"
    tags = {name: redact(value) for name, value in run_tags(stage, workspace).items()}

    def start(mlflow: Any) -> None:
        prepare_store(mlflow, params.tracking.experiment, root, lock_timeout=budget.start * 0.8)
        mlflow.start_run(
            run_name=redact(f"{stage} {experiment}"),
            tags=tags,
            description=_description(stage, params),
            log_system_metrics=stage in ("train", "encoder"),
        )

    run = Run(mlflow, budget)
    run.start(start)
    return run


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
