"""Logging a classifier as a pyfunc model that MLflow can serve: its code and requirements."""

from __future__ import annotations

import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

# what predicting needs: libraries, and packages of arxiv_hybrid
REQUIREMENTS = ("mlflow", "numpy", "pandas", "safetensors", "torch")
PACKAGES = ("data", "inference", "models", "ops", "system", "text")
EXAMPLE = {
    "title": "Speech recognition for small languages",
    "abstract": "We present a corpus of read speech and a recogniser trained on it.",
}
_HERE = Path(__file__).resolve().parent


def log_served_model(
    mlflow: Any, folder: Path, classes: list[str], *, multi_label: bool = False
) -> None:
    """Log a classifier folder as the pyfunc model `model` of the active run.

    The model takes the columns title and abstract. It returns category, categories if it is
    `multi_label`, unsure, and the probability of each of `classes`.
    """
    with tempfile.TemporaryDirectory() as temporary:
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(_HERE / "model_code.py"),
            artifacts={"classifier": str(folder)},
            code_paths=[str(_copy_packages(Path(temporary)))],
            signature=_signature(classes, multi_label=multi_label),
            input_example=pd.DataFrame([EXAMPLE]),
            pip_requirements=[f"{name}=={_public_version(name)}" for name in REQUIREMENTS],
        )


def _signature(classes: list[str], *, multi_label: bool) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    inputs: list[Any] = [ColSpec(DataType.string, name) for name in EXAMPLE]
    names = ["category", *(["categories"] if multi_label else [])]
    outputs: list[Any] = [ColSpec(DataType.string, name) for name in names]
    outputs.append(ColSpec(DataType.boolean, "unsure"))
    outputs += [ColSpec(DataType.double, name) for name in classes]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))


def _copy_packages(target: Path) -> Path:
    """Copy the part of this library that predicting needs into `target`."""
    source, copy = _HERE.parent, target / _HERE.parent.name
    copy.mkdir()
    shutil.copy(source / "__init__.py", copy)
    for name in PACKAGES:
        shutil.copytree(source / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def _public_version(package: str) -> str:
    """The installed version, without a local part such as `+cpu`, which no registry has."""
    return version(package).split("+")[0]
