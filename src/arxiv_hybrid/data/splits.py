"""Train, validation and test sets: by row (as published, leaks), by paper, by time or by hash."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from arxiv_hybrid.data.identifiers import UNKNOWN_MONTH, month_of
from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.params import Split
from arxiv_hybrid.system.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_ARXIV_ID = re.compile(r"^\d{4}\.\d{4,5}(v\d+)?$")
_NEEDS_DATES = (
    "papers.parquet: split.by=time needs a published date in every row, or arXiv ids (YYMM.NNNNN); "
    "use split.by=paper"
)
_FEWEST = 5  # papers of a class, for splits with large shares
_ALL_SETS = 20  # with more classes, small ones may be missing from validation or test


def papers_needed(split: Split) -> int:
    """Papers that a class needs so that a stratified split has some of it in every set."""
    smaller = min(split.shares or (1.0,))
    return int(np.ceil(2 / smaller)) if smaller < 0.3 else _FEWEST


def split_documents(
    documents: pd.DataFrame, split: Split, label_set: LabelSet
) -> dict[str, pd.DataFrame]:
    """Split labelled documents into `train`, `val` and `test`.

    by `row`: stratified over rows; the rows of one paper can land in different sets.
    by `paper`: stratified over papers by their class, or by the rarest of their classes; all rows
    of a paper stay together.
    by `time`: the newest `test` share of papers is the test set, the next newest `val` share
    the validation set; or everything from the month `test` on, and from the month `val` on. Needs
    `published` dates or arXiv ids.
    by `hash`: h is the first 32 bits of the id's MD5 as a fraction; test if h < test, validation if
    h < test + val.

    Raises UserError if a set is empty or a class is missing from training; with one label per paper
    and at most `_ALL_SETS` classes, also if a class is missing from another set.
    """
    papers = documents if split.by == "row" else documents.drop_duplicates("id")
    if split.months:
        parts = _by_month(papers, *split.months)
    else:
        val, test = split.shares or (0.0, 0.0)
        if split.by in ("row", "paper"):
            keys = documents.index.to_series() if split.by == "row" else papers["id"]
            parts = _stratified(keys, _strata(papers, split, label_set), val, test, split.seed)
        elif split.by == "time":
            parts = _by_time(papers, val, test)
        else:
            parts = _by_hash(papers["id"], val, test)
    if split.by == "row":
        splits = {name: documents.loc[part] for name, part in parts.items()}
    else:
        splits = {name: documents[documents["id"].isin(part)] for name, part in parts.items()}
    _check(splits, split.by, label_set)
    return {name: part.reset_index(drop=True) for name, part in splits.items()}


def labels_table(documents: pd.DataFrame) -> pa.Table:
    """The columns `label` and `labels` of labelled documents, for `ordering.write_rows`."""
    import pyarrow as pa

    labels = pa.array(documents["labels"], pa.list_(pa.int64()))
    return pa.table({"label": documents["label"].to_numpy(), "labels": labels})


def absent_classes(documents: pd.DataFrame, label_set: LabelSet) -> list[str]:
    """The names of the classes that no document has."""
    column = "labels" if label_set.multi_label else "label"
    present = set(documents[column].explode())
    return [name for number, name in enumerate(label_set.names) if number not in present]


def _check(splits: dict[str, pd.DataFrame], by: str, label_set: LabelSet) -> None:
    every_set = not label_set.multi_label and len(label_set) <= _ALL_SETS
    for name, part in splits.items():
        if part.empty:
            raise UserError(f"split.by={by}: {name} has no papers")
        absent = absent_classes(part, label_set)
        if absent and (every_set or name == "train"):
            raise UserError(
                f"split.by={by}: no paper of {absent[0]} in {name}; fetch more papers, choose "
                "another split, or raise labels.min_papers"
            )


def _strata(papers: pd.DataFrame, split: Split, label_set: LabelSet) -> pd.Series:
    """The stratum of each document: its class, or with several the rarest of them.

    Classes too small to split share one stratum.
    """
    if not label_set.multi_label:
        return papers["label"]
    papers_of = papers["labels"].explode().value_counts().to_dict()
    rarest = papers["labels"].map(lambda numbers: min(numbers, key=lambda n: (papers_of[n], n)))
    sizes = rarest.map(rarest.value_counts())
    return rarest.where(sizes >= papers_needed(split), -1)


def _stratified(
    keys: pd.Series, strata: pd.Series, val: float, test: float, seed: int
) -> dict[str, pd.Series]:
    smallest = strata.value_counts().min()
    if smallest < max(2, np.ceil(2 / (val + test))):
        raise UserError(
            f"papers.parquet: a class has only {smallest} papers, too few for a split of "
            f"{1 - val - test:.0%}/{val:.0%}/{test:.0%}; raise labels.min_papers"
        )
    train, held_out, _, held_out_strata = train_test_split(
        keys, strata, test_size=val + test, random_state=seed, stratify=strata
    )
    val_keys, test_keys = train_test_split(
        held_out, test_size=test / (val + test), random_state=seed, stratify=held_out_strata
    )
    return {"train": train, "val": val_keys, "test": test_keys}


def _by_hash(ids: pd.Series, val: float, test: float) -> dict[str, pd.Series]:
    fraction = ids.map(_fraction)
    in_test, held_out = fraction < test, fraction < test + val
    return {"train": ids[~held_out], "val": ids[held_out & ~in_test], "test": ids[in_test]}


def in_test_by_hash(identifier: str, test: float) -> bool:
    """Whether a paper is a test paper of `split.by=hash` with this share of test papers."""
    return _fraction(identifier) < test


def _fraction(identifier: str) -> float:
    digest = hashlib.md5(identifier.encode()).hexdigest()  # noqa: S324
    return int(digest[:8], 16) / 2**32


def _by_month(papers: pd.DataFrame, val: str, test: str) -> dict[str, pd.Series]:
    days = zip(papers["id"], papers["published"], strict=True)
    month = pd.Series([month_of(*paper) for paper in days], index=papers.index)
    if (month == UNKNOWN_MONTH).any():
        raise UserError(_NEEDS_DATES)
    ids, in_test, held_out = papers["id"], month >= test, month >= val
    return {"train": ids[~held_out], "val": ids[held_out & ~in_test], "test": ids[in_test]}


def _by_time(papers: pd.DataFrame, val: float, test: float) -> dict[str, pd.Series]:
    if papers["published"].ne("").all():
        ordered = papers.sort_values(["published", "id"])["id"]
    elif papers["id"].str.match(_ARXIV_ID).all():
        ordered = papers["id"].sort_values()
    else:
        raise UserError(_NEEDS_DATES)
    train_end = round(len(ordered) * (1 - val - test))
    val_end = round(len(ordered) * (1 - test))
    return {
        "train": ordered.iloc[:train_end],
        "val": ordered.iloc[train_end:val_end],
        "test": ordered.iloc[val_end:],
    }
