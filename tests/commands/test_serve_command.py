"""Which model `serve` serves, and what it says about it before."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import DEFAULTS
from untrained_model import log_untrained_model, save_untrained_model

from arxiv_hybrid.__main__ import main
from arxiv_hybrid.commands import serve
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.params import Params
from arxiv_hybrid.paths import MODEL
from arxiv_hybrid.tracking import track

pytestmark = [
    pytest.mark.usefixtures("outside_settings_unset"),
    pytest.mark.filterwarnings("default"),
]
Serve = Callable[..., tuple[str, list[str]]]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with parameters, but without data, models or runs."""
    shutil.copy(DEFAULTS / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def served(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Serve:
    """Run the command with options: the digest of the model it would serve, and its lines."""
    del workspace
    digests: list[str] = []
    monkeypatch.setattr(
        serve, "serve", lambda model, *_: digests.append(checkpoint.digest(model.folder))
    )

    def run(*options: str) -> tuple[str, list[str]]:
        capsys.readouterr()
        handler = signal.getsignal(signal.SIGTERM)
        assert main(["serve", "--port", "0", *options]) == 0
        assert signal.getsignal(signal.SIGTERM) == handler, "the command's own is gone"
        return digests[-1], capsys.readouterr().out.splitlines()

    return run


@pytest.fixture(scope="module")
def logged(tiny_params: Params, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A repository with the runs of `job`, and its digest."""
    root = tmp_path_factory.mktemp("logged")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("DVC_EXP_NAME", "moody-gap")
        digest = log_untrained_model(tiny_params, root, seed=7)
        with track("evaluate", tiny_params, root=root, workspace=root) as run:
            run.tags({"model.digest": digest})
            run.metrics({"accuracy": 0.9, "papers": 1234})
    return root, digest


@pytest.fixture
def job(logged: tuple[Path, str], workspace: Path) -> str:
    """The digest of a model that a job of the queue has trained and evaluated, the newest run."""
    shutil.copytree(logged[0], workspace, dirs_exist_ok=True)
    return logged[1]


def trained(folder: Path, seed: int = 1, origin: Origin | None = None) -> str:
    """Save a model as stage train does; its digest."""
    save_untrained_model(folder, seed)
    checkpoint.load(folder).save(folder, origin)
    return checkpoint.digest(folder)


def test_right_after_cloning_the_shipped_model_is_served(workspace: Path, served: Serve) -> None:
    digest, lines = served()
    assert lines[0].startswith("model:      shipped: v6, 152 classes, digest ")
    assert digest in lines[0]
    assert "464,060 papers" in lines[2]
    assert "http://127.0.0.1:" in lines[-1]
    assert sorted(path.name for path in workspace.iterdir()) == ["params.yaml"], "no new files"
    (workspace / "params.yaml").unlink()
    assert served()[0] == digest, "the library alone suffices"


def test_the_model_of_the_last_run_is_served_and_never_that_of_a_job(
    job: str, served: Serve
) -> None:
    origin = Origin({"papers.csv": 10}, 10, "2024-01", "2024-03", "2026-11-26")
    digest = trained(MODEL, origin=origin)
    assert digest != job
    found, lines = served()
    assert found == digest
    assert lines[:4] == [
        f"model:      models/main: v1, 3 classes, digest {digest}",
        "experiment: unknown: no run in MLflow trained this model",
        "data:       trained on 10 papers of papers.csv, 2024-01 to 2024-03; on 2026-11-26",
        "score:      unknown",
    ]
    assert served("--model", "shipped")[0] not in (job, digest)


def test_the_lines_say_which_experiment_it_was(job: str, served: Serve) -> None:
    shutil.copytree("7", MODEL)  # as `dvc exp apply` does
    digest, lines = served("--model", "models/main")
    assert digest == job
    assert lines[1].startswith("experiment: moody-gap, MLflow run ")
    assert lines[2] == "data:       unknown: saved without a record of its papers"
    assert lines[3] == "score:      accuracy 90.0% on 1,234 test papers"


def test_the_champion_is_served_by_its_name_and_says_what_is_not_served(
    job: str, workspace: Path, served: Serve, tiny_params: Params
) -> None:
    digest = trained(MODEL)
    with track("evaluate", tiny_params, root=workspace, workspace=workspace) as run:
        assert run.register("arxiv-hybrid", job, 0.9, "same")
    for options in ((), ("--model", "champion")):
        found, lines = served(*options)
        assert found == job
        assert lines[0].startswith("model:      arxiv-hybrid version 1, the champion: v1")
        assert lines[1].startswith("experiment: moody-gap, ")
        assert lines[4].startswith("not served: models/main, ")
    for option in ("models/main", str(MODEL.resolve())):
        found, lines = served("--model", option)
        assert found == digest
        assert not [line for line in lines if line.startswith("not served")]


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("champion", "no champion is registered as arxiv-hybrid (--model)"),
        ("nowhere", "nowhere/model.safetensors: not found"),
        ("params.yaml", "params.yaml/model.safetensors: not found"),
    ],
)
def test_a_model_that_is_not_there_is_one_line(
    model: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--port", "0", "--model", model]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line


def test_without_an_answer_from_mlflow_only_a_named_model_is_served(
    served: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    digest = trained(MODEL)
    assert main(["serve", "--port", "0"]) == 2
    assert "--model FOLDER serves without it" in capsys.readouterr().err
    found, lines = served("--model", "models/main")
    assert found == digest
    assert lines[1].startswith("experiment: unknown: MLflow cannot tell: ")
