"""Train, validation and test sets: by row (as published, leaks), by paper, or by time."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from arxiv_hybrid.data.labels import CLASSES
from arxiv_hybrid.system.errors import UserError

_ARXIV_ID = re.compile(r"^\d{4}\.\d{4,5}(v\d+)?$")


def split_documents(
    documents: pd.DataFrame, *, by: str, val: float, test: float, seed: int, classes: int
) -> dict[str, pd.DataFrame]:
    """Split labelled documents into `train`, `val` and `test`.

    by `row`: stratified over rows; the rows of one paper can land in different sets.
    by `paper`: stratified over papers by their first label; all rows of a paper stay together.
    by `time`: the newest `test` share of papers is the test set, the next newest `val` share
    the validation set. Needs `published` dates or arXiv ids.

    Raises UserError if a class is missing from a set or too small for the split.
    """
    if by == "row":
        keys = documents.index.to_series()
        parts = _stratified(keys, documents["label"], val, test, seed, classes)
        splits = {name: documents.loc[part] for name, part in parts.items()}
    else:
        papers = documents.drop_duplicates("id")
        if by == "paper":
            ids = _stratified(papers["id"], papers["label"], val, test, seed, classes)
        else:
            ids = _by_time(papers, val, test)
        splits = {name: documents[documents["id"].isin(part)] for name, part in ids.items()}
    for name, part in splits.items():
        counts = np.bincount(part["label"], minlength=classes)
        if counts.min() == 0:
            raise UserError(
                f"split.by={by}: no paper of {CLASSES[classes][int(counts.argmin())]} in {name}; "
                "fetch more papers, or choose another split"
            )
    return {name: part.reset_index(drop=True) for name, part in splits.items()}


def _stratified(
    keys: pd.Series, labels: pd.Series, val: float, test: float, seed: int, classes: int
) -> dict[str, pd.Series]:
    counts = np.bincount(labels, minlength=classes)
    needed = int(np.ceil(2 / min(val, test))) if min(val, test) < 0.3 else 5
    if counts.min() < needed:
        smallest = int(counts.argmin())
        raise UserError(
            f"papers.csv: only {counts[smallest]} papers of {CLASSES[classes][smallest]}; a split "
            f"of {1 - val - test:.0%}/{val:.0%}/{test:.0%} needs at least {needed} per class"
        )
    train, held_out, _, held_out_labels = train_test_split(
        keys, labels, test_size=val + test, random_state=seed, stratify=labels
    )
    val_keys, test_keys = train_test_split(
        held_out, test_size=test / (val + test), random_state=seed, stratify=held_out_labels
    )
    return {"train": train, "val": val_keys, "test": test_keys}


def _by_time(papers: pd.DataFrame, val: float, test: float) -> dict[str, pd.Series]:
    if papers["published"].ne("").all():
        ordered = papers.sort_values(["published", "id"])["id"]
    elif papers["id"].str.match(_ARXIV_ID).all():
        ordered = papers["id"].sort_values()
    else:
        raise UserError(
            "papers.csv: split.by=time needs a published date in every row, or arXiv ids "
            "(YYMM.NNNNN); use split.by=paper"
        )
    train_end = round(len(ordered) * (1 - val - test))
    val_end = round(len(ordered) * (1 - test))
    return {
        "train": ordered.iloc[:train_end],
        "val": ordered.iloc[train_end:val_end],
        "test": ordered.iloc[val_end:],
    }
