"""The files of a saved classifier: bytes, each bound to the configuration by its digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arxiv_hybrid.inference.model_config import CONFIG, FAMILIARITY, ORIGIN, PAPERS, WEIGHTS, WORDS
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.system import digests
from arxiv_hybrid.system.files import read_bound, require, write_bytes, write_json


def write_model(
    folder: Path, config: dict[str, Any], files: dict[str, bytes | None], origin: Origin | None
) -> None:
    """Replace each file atomically, the configuration with the digests last.

    files: content by name; None removes a file of another model.
    """
    for name, content in files.items():
        if content is None:
            (folder / name).unlink(missing_ok=True)
        else:
            write_bytes(folder / name, content)
    described = config if origin is None else {**config, ORIGIN: origin.to_json()}
    bound = [folder / name for name, content in files.items() if content is not None]
    write_json(folder / CONFIG, described, bind=bound)


def read_model(folder: Path) -> tuple[dict[str, Any], dict[str, bytes], Origin | None]:
    """The configuration without the origin, the content of each file by its name, and the origin.

    Raises ValueError or TypeError if a file is missing or damaged.
    """
    config, files = read_bound(folder / CONFIG, (WEIGHTS, WORDS), (FAMILIARITY, PAPERS))
    origin = Origin.from_json(config.pop(ORIGIN)) if ORIGIN in config else None
    return config, files, origin


def digest(folder: Path) -> str:
    """The first 16 hex digits of the weights' SHA-256, which identify a model in MLflow."""
    require(folder / WEIGHTS)
    return digests.of_file(folder / WEIGHTS)[:16]
