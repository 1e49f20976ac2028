"""The set of classes of a run, and documents' classes as a matrix."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import read_json, write_json
from arxiv_hybrid.taxonomy.categories import name_of


@dataclass(frozen=True)
class LabelSet:
    """The classes of a run, in the order of the model's outputs.

    multi_label: a paper may have several. categories: the arXiv categories of each class; empty if
    classes are values of a user's column.
    """

    names: tuple[str, ...]
    multi_label: bool = False
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def titles(self) -> dict[str, str]:
        """The full names of classes: of a class's archive, or of its one or two categories."""
        names = {
            name: name_of(name) or ", ".join(map(name_of, parts[:2]))
            for name, parts in self.categories.items()
            if name_of(name) or len(parts) <= 2
        }
        return {name: title for name, title in names.items() if title}

    def write(self, path: Path) -> None:
        """Write the set as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> LabelSet:
        """Read a set that `write` wrote; UserError if the file is missing or no such set."""
        content = read_json(path)
        try:
            categories = {name: tuple(parts) for name, parts in content["categories"].items()}
            return cls(tuple(content["names"]), bool(content["multi_label"]), categories)
        except (LookupError, TypeError, AttributeError):
            raise UserError(
                f"{path}: is not a set of classes; `dvc repro` writes it again"
            ) from None


def multi_hot(labels: pd.Series, classes: int) -> npt.NDArray[np.bool_]:
    """The column `labels` of documents as a matrix, shape (documents, classes)."""
    matrix = np.zeros((len(labels), classes), dtype=bool)
    rows = np.repeat(np.arange(len(labels)), labels.map(len))
    if len(rows):
        matrix[rows, np.concatenate(labels.to_list()).astype(np.int64)] = True
    return matrix
