from __future__ import annotations

import builtins
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.params import Params
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.nested import flatten
from arxiv_hybrid.text.tokenize import tokenize_all
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.tracking import run as tracking
from arxiv_hybrid.training.classifier import train_classifier

LOCK = """\
schema: '2.0'
stages:
  vocab:
    outs:
    - path: data/processed/vocab.txt
      md5: aaa
    - path: data/other.txt
      md5: bbb
  split:
    outs:
    - path: data/splits/val.parquet
      md5: ccc
    - path: data/splits/test.parquet
      md5: ddd
"""
PIPELINE = """\
stages:
  train:
    deps: [data/processed/vocab.txt, data/splits/val.parquet, stages/train.py]
"""


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DVC_EXP_NAME", "DVC_STAGE", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)


def test_flatten_dots_names() -> None:
    nested = {"a": {"b": 1, "c|d": 0.1234567891}, "list": [1, 2]}
    assert flatten(nested) == {"a.b": 1, "a.c|d": 0.123457, "list": [1, 2]}


def test_dependencies_come_from_the_stages_before(tmp_path: Path) -> None:
    assert tracking.dependency_md5s(tmp_path, "train") == {}
    (tmp_path / "dvc.lock").write_text(LOCK)
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    wanted = {"data/processed/vocab.txt": "aaa", "data/splits/val.parquet": "ccc"}
    assert tracking.dependency_md5s(tmp_path, "train") == wanted


def test_without_mlflow_a_run_goes_on(
    tiny_params: Params,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = builtins.__import__

    def no_mlflow(name: str, *args: object, **kwargs: object) -> object:
        if name.split(".")[0] == "mlflow":
            raise ImportError(name)
        return real(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", no_mlflow)
    with tracking.track("train", tiny_params, root=tmp_path, workspace=tmp_path) as run:
        run.metrics({"loss": 1.0}, step=1)
        assert not run.active
    assert "mlflow is not installed" in capsys.readouterr().err


def test_a_server_that_is_down_costs_a_warning(
    tiny_params: Params,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with tracking.track("train", tiny_params, root=tmp_path, workspace=tmp_path) as run:
        run.metrics({"loss": 1.0})
    warning = capsys.readouterr().err
    assert "MLflow cannot be reached" in warning
    assert len(warning.splitlines()) == 1


def test_a_call_that_fails_stops_logging_once(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken:
        def log_metrics(self, *_: object, **__: object) -> None:
            raise RuntimeError("disk full")

    run = tracking.Run(Broken())
    run.metrics({"a": 1.0})
    run.metrics({"a": 2.0})
    assert capsys.readouterr().err.count("disk full") == 1


def test_tracking_can_be_switched_off(tiny_params: Params, tmp_path: Path) -> None:
    off = tiny_params.model_copy(
        update={"tracking": tiny_params.tracking.model_copy(update={"enabled": False})}
    )
    with tracking.track("train", off, root=tmp_path, workspace=tmp_path) as run:
        assert not run.active
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "wanted"),
    [
        (None, "/repo/mlflow.db"),
        ("sqlite:///runs/log.db", "/repo/runs/log.db"),
        ("sqlite:////var/log.db", "/var/log.db"),
        ("http://127.0.0.1:5000", None),
    ],
)
def test_local_stores_start_at_the_root(uri: str | None, wanted: str | None) -> None:
    found = tracking.local_database(uri, Path("/repo"))
    assert (str(found) if found else None) == wanted


@pytest.mark.filterwarnings("default")
def test_the_logged_model_classifies_titles_and_abstracts(
    tiny_params: Params,
    splits: dict[str, pd.DataFrame],
    tmp_path: Path,
    recwarn: pytest.WarningsRecorder,
) -> None:
    import mlflow

    words = Vocabulary.build(tokenize_all(splits["train"]["abstract"]), max_size=5000, min_freq=2)
    trained, _ = train_classifier(tiny_params, splits["train"], splits["val"], words, None)
    checkpoint.save(tmp_path / "model", trained.model, words, trained.config)
    with tracking.track("train", tiny_params, root=tmp_path, workspace=tmp_path) as run:
        run.tags({"model.digest": checkpoint.digest(tmp_path / "model")})
        run.model(tmp_path / "model", trained.config.classes)
        assert run.active
    assert not [w for w in recwarn if "predict" in str(w.message)]
    stored = list((tmp_path / "mlartifacts").rglob("MLmodel"))
    assert len(stored) == 1
    assert not list(stored[0].parent.rglob("*.pkl"))
    served = mlflow.pyfunc.load_model(str(stored[0].parent))
    test = splits["test"]
    answer = served.predict(test[["title", "abstract"]])
    direct = trained.classify(test)
    assert answer["category"].tolist() == direct["category"].tolist()
    np.testing.assert_allclose(answer[trained.config.classes], direct[trained.config.classes])
    assert served.metadata.signature.outputs.input_names() == answer.columns.tolist()
    assert served.input_example.columns.tolist() == ["title", "abstract"]


@pytest.mark.filterwarnings("default")
def test_a_run_is_stored_under_the_root_whatever_the_workspace(
    tiny_params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    root, workspace = tmp_path / "root", tmp_path / "temporary"
    root.mkdir()
    workspace.mkdir()
    (workspace / "dvc.lock").write_text(LOCK)
    (workspace / "dvc.yaml").write_text(PIPELINE)
    monkeypatch.setenv("DVC_EXP_NAME", "gusty-dawn")
    monkeypatch.chdir(workspace)
    papers = pd.DataFrame({"title": ["t"], "label": [1]})
    with tracking.track("train", tiny_params, root=root, workspace=workspace) as run:
        run.metrics({"loss": 0.5, "nested": {"f1": 0.25}, "word": "x"}, step=3)
        run.tags({"model.digest": "abc"})
        run.dataset(papers, "train", "training")
        (workspace / "note.txt").write_text("hello")
        run.file(workspace / "note.txt")
        assert run.active
    with (
        pytest.raises(KeyboardInterrupt),
        tracking.track("evaluate", tiny_params, root=root, workspace=workspace),
    ):
        raise KeyboardInterrupt
    assert not (workspace / "mlflow.db").exists()
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("arxiv-hybrid")
    runs = {r.data.tags["stage"]: r for r in client.search_runs([experiment.experiment_id])}
    train = runs["train"]
    assert train.info.status == "FINISHED"
    assert runs["evaluate"].info.status == "KILLED"
    assert train.data.metrics == {"loss": 0.5, "nested.f1": 0.25}
    assert train.data.params["dropout"] == "0.5"
    assert train.data.params["architecture.lstm_hidden"] == "8"
    assert train.data.tags["DVC_EXP_NAME"] == "gusty-dawn"
    assert train.data.tags["dep.data/processed/vocab.txt"] == "aaa"
    assert train.info.artifact_uri.startswith((root / "mlartifacts").as_uri())
    assert [a.path for a in client.list_artifacts(train.info.run_id)] == ["note.txt"]
    assert train.inputs.dataset_inputs[0].dataset.name == "train"


def test_a_registry_that_does_not_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9: cannot be asked: "):
        tracking.serving(tmp_path, "papers", lambda: "any")


@pytest.mark.filterwarnings("default")
def test_the_champion_is_the_best_on_the_same_papers(tiny_params: Params, tmp_path: Path) -> None:
    import mlflow

    from arxiv_hybrid.models import registry

    words = Vocabulary(("<PAD>", "<UNK>", "deep"))
    classes = ["cs.AI-LG", "cs.CL", "cs.CV"]

    def trained(seed: int) -> str:
        torch.manual_seed(seed)
        arguments = {"vocab_size": 3, "embed_dim": 4, "num_filters": 4, "lstm_hidden": 4}
        model, folder = registry.build("v1", **arguments), tmp_path / str(seed)
        checkpoint.save(
            folder, model, words, checkpoint.ModelConfig("v1", arguments, classes, 9, 9)
        )
        digest = checkpoint.digest(folder)
        with tracking.track("train", tiny_params, root=tmp_path, workspace=tmp_path) as run:
            run.tags({"model.digest": digest})
            run.model(folder, classes)
        return digest

    def registered(digest: str, accuracy: float, papers: str = "same") -> str:
        with tracking.track("evaluate", tiny_params, root=tmp_path, workspace=tmp_path) as run:
            told = run.register("papers", digest, accuracy, papers)
        assert told is not None
        return told

    first, second = trained(1), trained(2)
    with pytest.raises(UserError, match="neither a registered papers nor a run"):
        tracking.serving(tmp_path, "papers", lambda: "of no run")
    store, address = tracking.serving(tmp_path, "papers", lambda: first)
    assert address.startswith("runs:/")
    assert "no run here has stored" in registered("of no run", 0.9)
    assert registered(first, 0.80).endswith("version 1, 80.00%: champion")
    assert "other test papers" in registered(second, 0.99, "others")
    assert "version 1 stays champion with 80.00%" in registered(second, 0.80)
    assert registered(second, 0.81).endswith("version 2, 81.00%: champion")
    assert registered(second, 0.81).endswith("version 2, 81.00%: champion"), "once is enough"
    store, address = tracking.serving(tmp_path, "papers", lambda: pytest.fail("not asked"))
    assert address == "models:/papers@champion"
    client = mlflow.MlflowClient(store["MLFLOW_TRACKING_URI"])
    assert client.get_model_version_by_alias("papers", "champion").version in (2, "2")
    assert len(client.search_model_versions("name = 'papers'")) == 2
