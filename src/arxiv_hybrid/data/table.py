"""The papers.csv that the fetch stage wrote and checked, and the text of a paper."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd

from arxiv_hybrid.system.files import require


def read_papers(path: Path) -> pd.DataFrame:
    """All columns as text, empty cells as empty strings."""
    require(path)
    return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")


def texts_of(papers: pd.DataFrame) -> pd.Series:
    """Title and abstract of each paper as one running text, in the papers' order."""
    return papers["title"] + " " + papers["abstract"]


def labelled_digest(papers: pd.DataFrame) -> str:
    """A digest of which papers these are and how they are labelled, in any order."""
    told = sorted(
        f"{name} {label}" for name, label in zip(papers["id"], papers["label"], strict=True)
    )
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]
