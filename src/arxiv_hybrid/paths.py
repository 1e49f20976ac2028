"""Where the pipeline's files are, relative to the workspace: shared by stages and commands.

The library itself gets paths as arguments.
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.shipped import is_shipped

PARAMS = Path("params.yaml")
RESOLVED = Path("params.resolved.yaml")
INPUTS = Path("data/inputs.json")
FINGERPRINTS = Path(".dvc/tmp/fingerprints.json")  # in the repository, also for temporary copies
PAPERS = Path("data/raw/papers.parquet")
ORIGIN = Path("data/raw/origin.json")
SPLITS = Path("data/splits")
LABELS = Path("data/splits/labels.json")
SPLIT_NAMES = ("train", "val", "test")
AUGMENTED = Path("data/processed/train.parquet")
VECTORS = Path("data/processed/vectors")
VOCABULARY = Path("data/processed/vocab.txt")
EMBEDDINGS = Path("data/processed/embeddings.safetensors")
BASELINE = Path("models/baseline")
MODEL = Path("models/main")
MEMBERS = Path("models/members")
METRICS = Path("metrics")
PLOTS = Path("metrics/plots")
REPORTS = Path("reports")
REFERENCE = Path("reports/reference.json")
DAILY = Path("data/daily")
CHECKPOINTS = Path("checkpoints")  # outside the outputs: DVC deletes those before a stage runs
EXPLAINED = Path("reports/explained")
REVIEW = Path("reports/labels.csv")
WRITTEN = (Path(), Path("data"), Path("models"), METRICS, REPORTS)  # where stages write
NEXT_WORD_MODEL = Path("examples/next_word/models/cnn_lstm")


def default_model() -> Path:
    """The model that answers if none is named: the one shipped with the library, if there is one.

    Otherwise that of the last run.
    """
    return shipped_model() if is_shipped() else MODEL


def shipped_model() -> Path:
    """The folder of the model shipped with the library, which may be missing."""
    return Path(str(files("arxiv_hybrid") / "shipped"))


class TrainingInputs(NamedTuple):
    """What training reads, besides parameters and an encoder."""

    train: Path = AUGMENTED
    val: Path = SPLITS / "val.parquet"
    labels: Path = LABELS
    vocabulary: Path = VOCABULARY
    embeddings: Path = EMBEDDINGS


class ModelPaths(NamedTuple):
    """Where training writes: the model, its metrics and curves, and its state while unfinished."""

    folder: Path
    metrics: Path
    curves: Path
    unfinished: Path


def model_paths(member: str | None) -> ModelPaths:
    """The paths of an ensemble member, or of the main model."""
    folder, metrics, plots, unfinished = MODEL, METRICS, PLOTS, CHECKPOINTS / "main"
    if member:
        metrics = plots = METRICS / "members" / member
        folder, unfinished = MEMBERS / member, CHECKPOINTS / f"member-{member}"
    return ModelPaths(folder, metrics / "train.json", plots / "learning_curves.csv", unfinished)


def repository_root() -> Path:
    """The repository, as an absolute path.

    DVC sets DVC_ROOT, because `dvc exp run --temp` and the queue run stages in a temporary copy.
    Without DVC it is the working directory.
    """
    return Path(os.environ.get("DVC_ROOT", Path.cwd())).resolve()


def download_cache() -> Path:
    """The folder for downloads and unfinished work, shared by all clones of a user.

    Raises UserError if it cannot be created.
    """
    name = os.environ.get("ARXIV_HYBRID_CACHE") or "~/.cache/arxiv-hybrid"
    try:
        folder = Path(name).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{name}: cannot create the folder for downloads: {reason} (ARXIV_HYBRID_CACHE)"
        ) from None
    return folder
