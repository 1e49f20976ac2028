"""Read papers.csv, and derive the text and the digest of a table of papers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from arxiv_hybrid.system.files import require


def read_papers(path: Path) -> pd.DataFrame:
    """Read papers.csv as strings; empty cells are empty strings."""
    require(path)
    return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")


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
