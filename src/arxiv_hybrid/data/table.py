"""Read papers.csv, and derive the text and the digest of a table of papers."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import require

_NEEDED = ("id", "title", "abstract")


def read_papers(path: Path) -> pd.DataFrame:
    """Read papers.csv as strings; empty cells are empty strings.

    Raises UserError if it is missing, or damaged: its last line is complete when it is written.
    """
    require(path)
    try:
        papers = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
        _check_end(path)
    except (ValueError, OSError) as error:  # pandas' errors of parsing are ValueErrors
        raise _damaged(path, str(error)) from None
    if missing := [name for name in _NEEDED if name not in papers]:
        raise _damaged(path, f"no column {missing[0]}")
    return papers


def _check_end(path: Path) -> None:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        if file.read() != b"\n":
            raise ValueError("the last line is not complete")


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path}: is truncated or damaged: {reason}; `dvc repro` writes it again")


def texts_of(papers: pd.DataFrame) -> pd.Series:
    """Title and abstract of each paper joined by a space."""
    return papers["title"] + " " + papers["abstract"]


def labelled_digest(papers: pd.DataFrame) -> str:
    """Hash of the ids and labels, one or several each; the order of the papers does not matter."""
    lines = sorted(
        f"{name} {' '.join(map(str, np.atleast_1d(label)))}"
        for name, label in zip(papers["id"], papers["label"], strict=True)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
