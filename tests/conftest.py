"""Shared fixtures: small parameters and a small synthetic corpus."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# with several workers a second thread would only wait; torch reads this when it is imported
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pandas as pd
import pytest
import torch
import yaml

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.data.labels import label_papers
from arxiv_hybrid.data.splits import split_documents
from arxiv_hybrid.data.table import texts_of
from arxiv_hybrid.models import characters
from arxiv_hybrid.ops import convolution, embedding, pooling, ragged
from arxiv_hybrid.params import Params, parse
from arxiv_hybrid.sources import synthetic
from arxiv_hybrid.system import ticker
from arxiv_hybrid.system.nested import deep_merge as merged
from arxiv_hybrid.text.tokenize import tokenize_all
from arxiv_hybrid.text.vocabulary import Vocabulary

ROOT = Path(__file__).resolve().parents[1]
# copies of the shipped parameter files: those of the workspace may hold a user's values
DEFAULTS = ROOT / "tests/defaults"
CPU = torch.device("cpu")
CLASSES = LabelSet(  # of the default parameters
    ("cs.AI-LG", "cs.CL", "cs.CV"),
    categories={"cs.AI-LG": ("cs.AI", "cs.LG"), "cs.CL": ("cs.CL",), "cs.CV": ("cs.CV",)},
)
SEVERAL = LabelSet(  # of labels.from=listed, labels.classes=4
    ("cs.AI", "cs.CL", "cs.CV", "cs.LG"),
    multi_label=True,
    categories={name: (name,) for name in ("cs.AI", "cs.CL", "cs.CV", "cs.LG")},
)
TINY: dict[str, Any] = {
    "epochs": 2,
    "min_steps": 0,
    "batch_size": 16,
    "architecture": {"num_filters": 8, "lstm_hidden": 8},
    "fetch": {"papers": 160},
    "augment": {"fraction": 0.3},
    "glove": {"dim": 12, "epochs": 1},
    "vocab": {"title_length": 12, "abstract_length": 40},
    "ensemble": {"members": [{"name": "other", "seed": 7}]},
    "evaluate": {"bootstrap": 200, "explain_papers": 1},
    "tracking": {"log_model": False},
}


# they start first: the longest files, and between them some that need not wait for `repo`
LONGEST = ("docs_of_parameters", "pretraining_pipeline", "two_machines", "examples", "docs",
           "team_server", "pipeline", "library", "search_postgres", "user_files")  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """So that no worker begins a long file when the others have nothing left to do."""
    places = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def with_model(content: dict[str, Any], model: str, **changes: Any) -> dict[str, Any]:
    """Parameters with another model; v6 has no LSTM, so no width of one."""
    widths = {"architecture": {"lstm_hidden": None}} if model == "v6" else {}
    return merged(content, {"model": model, **widths, **changes})


@pytest.fixture(scope="session")
def default_content() -> dict[str, Any]:
    """The shipped params.yaml."""
    text = (DEFAULTS / "params.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


@pytest.fixture(scope="session")
def tiny_content(default_content: dict[str, Any]) -> dict[str, Any]:
    """The shipped params.yaml, shrunk to what trains in a second."""
    return merged(default_content, TINY)


@pytest.fixture(scope="session")
def tiny_params(tiny_content: dict[str, Any]) -> Params:
    return parse(tiny_content, "tiny params")


@pytest.fixture(autouse=True)
def no_progress_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine prints nothing more than a fast one."""
    monkeypatch.setattr(ticker, "FIRST", 3600.0)


@pytest.fixture(autouse=True)
def no_store_of_another_test() -> Iterator[None]:
    """MLflow puts the store that a process uses into its environment, for child processes."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    yield
    if before is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = before


@pytest.fixture
def pretend_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """After this is called, models behave as if their ids were on a GPU."""

    def pretend() -> None:
        for module in (characters, convolution, embedding, pooling, ragged):
            monkeypatch.setattr(module, "host_knows_sizes", lambda _: False)

    return pretend


@pytest.fixture
def on_a_gpu(pretend_gpu: Callable[[], None]) -> None:
    """Models behave as if their ids were on a GPU."""
    pretend_gpu()


@pytest.fixture(params=["as on a CPU", "as on a GPU"])
def both_forms(request: pytest.FixtureRequest, pretend_gpu: Callable[[], None]) -> None:
    """The test runs twice: kernels as they are on a CPU, and as on a GPU."""
    if request.param == "as on a GPU":
        pretend_gpu()


@pytest.fixture(scope="session")
def papers() -> pd.DataFrame:
    """A synthetic table of 240 papers."""
    return synthetic.generate(papers=240, label_noise=0.05, seed=3)[0]


@pytest.fixture(scope="session")
def splits(papers: pd.DataFrame, tiny_params: Params) -> dict[str, pd.DataFrame]:
    labelled = label_papers(papers, tiny_params.labels)
    split = tiny_params.split.model_copy(update={"seed": 1})
    return split_documents(labelled.documents, split, labelled.label_set)


@pytest.fixture(scope="session")
def several_content(tiny_content: dict[str, Any]) -> dict[str, Any]:
    """Tiny parameters with several labels per paper: all that it lists of four categories."""
    return merged(tiny_content, {"labels": {"from": "listed", "classes": 4}})


@pytest.fixture(scope="session")
def several_splits(
    papers: pd.DataFrame, several_content: dict[str, Any]
) -> dict[str, pd.DataFrame]:
    params = parse(several_content, "tiny params")
    labelled = label_papers(papers, params.labels)
    assert labelled.label_set == SEVERAL
    return split_documents(labelled.documents, params.split, SEVERAL)


@pytest.fixture(scope="session")
def vocabulary(splits: dict[str, pd.DataFrame]) -> Vocabulary:
    """The words of the training papers."""
    texts = texts_of(splits["train"])
    return Vocabulary.build(tokenize_all(texts), max_size=5000, min_freq=2)


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A saved v1 of five words, untrained."""
    import torch

    from arxiv_hybrid.inference import checkpoint
    from arxiv_hybrid.models import registry
    from arxiv_hybrid.text.vocabulary import Vocabulary

    torch.manual_seed(0)
    arguments = {"vocab_size": 5, "embed_dim": 8, "num_classes": 3, "num_filters": 4,
                 "lstm_hidden": 4}  # fmt: skip
    words = Vocabulary(("<PAD>", "<UNK>", "deep", "learning", "words"))
    config = checkpoint.ModelConfig("v1", arguments, ["cs.AI-LG", "cs.CL", "cs.CV"], 30, 300, 0.5)
    folder = tmp_path / "model"
    checkpoint.save(folder, registry.build("v1", **arguments), words, config)
    return folder


@pytest.fixture
def outside_settings_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment variables of MLflow and DVC are not set."""
    names = ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME", "DVC_STAGE", "DVC_EXP_BASELINE_REV")
    for name in names:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with tiny parameters after its first `dvc repro`.

    For tests in pipeline/, which put back what they change. One worker of pytest makes it, and the
    others copy it.
    """
    from clones import first_run  # beside those tests
    from filelock import FileLock

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    first, made = shared / "first-run", shared / "first-run-made"
    with FileLock(shared / "first-run.lock"):
        if not made.exists():
            shutil.rmtree(first, ignore_errors=True)
            first_run(first)
            made.touch()
    folder = tmp_path_factory.mktemp("clone") / "project"
    shutil.copytree(first, folder, symlinks=True)
    return folder


@pytest.fixture(scope="session")
def prepared_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: MLflow takes seconds to make one."""
    from arxiv_hybrid.tracking.store import import_mlflow, sqlite_uri

    database = tmp_path_factory.mktemp("store") / "mlflow.db"
    import_mlflow().MlflowClient(sqlite_uri(database)).search_experiments()
    return database


@pytest.fixture
def prepare_store(
    prepared_database: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], None]:
    """Put an MLflow database into a folder, and wait for it however busy the machine is."""
    from arxiv_hybrid.tracking import budget

    for name in ("START", "TOTAL"):
        monkeypatch.setattr(budget, name, 120.0)

    def prepare(folder: Path) -> None:
        shutil.copy(prepared_database, folder / "mlflow.db")

    return prepare


@pytest.fixture
def store(tmp_path: Path, prepare_store: Callable[[Path], None]) -> Path:
    """A repository with an MLflow database."""
    prepare_store(tmp_path)
    return tmp_path
