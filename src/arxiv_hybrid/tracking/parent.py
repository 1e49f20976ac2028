"""The parent run: one for all stages of a pipeline run, whichever processes they run in.

A pipeline run is identified by its parameters, repository, host and user of the MLflow server. So a
stage that was interrupted or left out joins the runs of the others later. If it has already
finished there, it starts a new pipeline run.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arxiv_hybrid.system.identity import ProcessIdentity
from arxiv_hybrid.system.nested import flatten
from arxiv_hybrid.system.redaction import redact
from arxiv_hybrid.tracking.names import PARAMS, pipeline_name, read_params

STAGES = ("baseline", "train", "evaluate", "ensemble")  # of the main pipeline
_PARENT = "mlflow.parentRunId"  # MLflow's own tag
_KEY, _FINISHED = "pipeline.key", "pipeline.finished"  # tags of a parent
_RESOLVED = "params.resolved.yaml"
_TRAINING = ("model", "seed", "dropout", "learning_rate", "batch_size", "epochs", "pretrained")
DATA = {"fetch": ("source", "path"), "labels": ("from", "classes"), "split": ("by", "seed")}


class Parent:
    """The parent of the active MLflow run, which exists once `join` returns.

    results: the metrics of the whole pipeline run that its stage measured.
    """

    def __init__(self, mlflow: Any, stage: str, root: Path, workspace: Path) -> None:
        self._client, self._stage = mlflow.MlflowClient(), stage
        self._workspace, self._key = workspace, pipeline_key(root, workspace)
        self._run, self._finished = "", list[str]()
        self.results: dict[str, float] = {}

    def join(self, mlflow: Any, tags: Mapping[str, str]) -> None:
        """Put the active run, which has these tags, under its parent."""
        experiment = mlflow.active_run().info.experiment_id
        newest = self._client.search_runs(
            [experiment], f"tags.`{_KEY}` = '{self._key}'",
            order_by=["attributes.start_time DESC"], max_results=1,
        )  # fmt: skip
        self._finished = _finished(newest[0]) if newest else []
        process = ProcessIdentity.current().tags  # they show later whether it was killed
        if newest and self._stage not in self._finished:
            self._run = newest[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            self._log(tags=process)
        else:
            self._finished = []
            self._create(experiment, dict(tags) | process)
        mlflow.set_tag(_PARENT, self._run)

    def leave(self, status: str) -> None:
        """End the parent as its stage ended; a later stage opens it again."""
        if status == "FINISHED":
            tags = {_FINISHED: ", ".join([*self._finished, self._stage])}
            self._log(metrics=self.results, tags=tags)
        self._client.set_terminated(self._run, status)

    def _create(self, experiment: str, tags: dict[str, str]) -> None:
        shared = ("git.", "DVC_EXP_", "process.", "search.")
        kept = {k: v for k, v in tags.items() if k.startswith(shared)}
        kept |= {"stage": "pipeline", _KEY: self._key}
        name = redact(pipeline_name(self._workspace))
        run = self._client.create_run(experiment, run_name=name, tags=kept)
        self._run = run.info.run_id
        self._log(params=self._params())
        if (path := self._workspace / PARAMS).is_file():
            self._client.log_text(self._run, redact(path.read_text(encoding="utf-8")), PARAMS)

    def _params(self) -> dict[str, str]:
        """The parameters by which people tell pipeline runs apart."""
        training = read_params(self._workspace, _RESOLVED).get("train", {})
        written = flatten(read_params(self._workspace))
        values = {name: training[name] for name in _TRAINING if name in training}
        names = [f"{section}.{key}" for section, keys in DATA.items() for key in keys]
        values |= {name: written[name] for name in names if name in written}
        return {name: redact(str(value)) for name, value in values.items()}

    def _log(self, **kinds: Mapping[str, Any]) -> None:
        """Log metrics, params and tags in one request."""
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.utils.time import get_current_time_millis

        now = get_current_time_millis()
        self._client.log_batch(
            self._run,
            metrics=[Metric(k, float(v), now, 0) for k, v in kinds.get("metrics", {}).items()],
            params=[Param(k, v) for k, v in kinds.get("params", {}).items()],
            tags=[RunTag(k, v) for k, v in kinds.get("tags", {}).items()],
        )


def pipeline_key(root: Path, workspace: Path) -> str:
    """What the stages of a pipeline run share, also under `dvc exp run --temp` and in the queue."""
    params = {k: v for k, v in read_params(workspace).items() if k != "tracking"}
    # machines of the cloud may share a name and paths; the user tells those of a team apart
    user = [name for name in [os.environ.get("MLFLOW_TRACKING_USERNAME")] if name]
    text = json.dumps([params, str(root), socket.gethostname(), *user], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _finished(run: Any) -> list[str]:
    return [name for name in run.data.tags.get(_FINISHED, "").split(", ") if name]
