"""What commands have in common: papers given by id or as text, and the model that answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from arxiv_hybrid.data.identifiers import canonical
from arxiv_hybrid.data.table import PaperFile, batches
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import require
from arxiv_hybrid.text.tokenize import tokenize

if TYPE_CHECKING:
    from arxiv_hybrid.inference.classifier import TextClassifier


def papers_by_id(path: Path, ids: list[str]) -> pd.DataFrame:
    """Papers of the data set at `path`, in the order of `ids`; UserError if one is missing.

    The data set is a table that stage fetch wrote, or a CSV.
    """
    require(path)
    papers = PaperFile(path) if path.suffix == ".parquet" else _of_csv(path)
    if not len(papers):
        raise UserError(f"{path}: has no rows (--papers)")
    wanted = [canonical(identifier) for identifier in ids]
    found = [part[part["id"].isin(wanted)] for part in batches(papers)]
    known = pd.concat(found).drop_duplicates("id").set_index("id")
    if missing := [identifier for identifier in wanted if identifier not in known.index]:
        first = next(batches(papers))["id"].iloc[0]
        raise UserError(f"{path}: no paper {missing[0]}; the first is {first}")
    return known.loc[wanted].reset_index()


def _of_csv(path: Path) -> pd.DataFrame:
    from arxiv_hybrid.sources.csv_source import read_texts  # half a second, for pandera

    return read_texts(path, option="--papers")


def answering(folder: Path, classifier: TextClassifier) -> str:
    """One line: which model answers, and where it comes from."""
    return f"model: {folder.name}, {classifier}"


def typed_paper(title: str, abstract: str) -> pd.DataFrame:
    """A table of one paper, whose id is built from its first tokens.

    Raises UserError if the text has no token, that is, no Latin letters or digits.
    """
    # an argument may hold bytes that are not UTF-8; they become `?`
    title, abstract = (text.encode("utf-8", "replace").decode() for text in (title, abstract))
    tokens = tokenize(f"{title} {abstract}")
    if not tokens:
        raise UserError("--title and --abstract need at least one word in Latin letters or digits")
    return pd.DataFrame({"id": ["-".join(tokens[:6])[:60]], "title": title, "abstract": abstract})
