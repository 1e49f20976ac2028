"""From rows of papers.parquet to documents with their classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.params import Labels
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.taxonomy.categories import split_categories, unaliased
from arxiv_hybrid.taxonomy.label_sets import OTHER

_SHOWN = 5  # classes named in a message
_COLUMNS = ("id", "label", "category", "categories", "unsure")  # of predictions, beside the classes


@dataclass(frozen=True)
class LabelledPapers:
    """Documents, their classes, and what was left out.

    documents: rows of papers.parquet with `label`, the number of the document's (main) class, and
    `labels`, the sorted numbers of all classes that the paper has or lists, `label` included.
    outside: rows of no class. unlabelled: rows with an empty label. small: the classes with fewer
    than `minimum` papers, with their counts. None of these are in the documents. repeated: rows of
    a paper that an earlier row has. not_classes: values of the label column that are no class, with
    the numbers of their rows; such a paper may have other labels. alike: classes that differ only
    in case.
    """

    documents: pd.DataFrame
    label_set: LabelSet
    minimum: int = 1
    outside: int = 0
    unlabelled: int = 0
    small: dict[str, int] = field(default_factory=dict)
    repeated: int = 0
    not_classes: dict[str, int] = field(default_factory=dict)
    alike: tuple[str, ...] = ()

    @property
    def left_out(self) -> str:
        """What was left out, in one line; empty if nothing was."""
        parts = []
        if self.outside:
            parts.append(f"{self.outside:,} papers of no class")
        if self.unlabelled:
            parts.append(f"{self.unlabelled:,} papers without a label")
        if self.small:
            classes = f"{len(self.small)} classes with fewer than {self.minimum} papers"
            parts.append(f"{classes}: {_counted(self.small)}")
        return "; ".join(parts)

    @property
    def remarks(self) -> list[str]:
        """What else the user should know, one line each."""
        lines = []
        if self.repeated:
            lines.append(f"rows of a paper that an earlier row has, left out: {self.repeated:,}")
        if self.not_classes:
            lines.append(f"labels that are no class, by rows: {_counted(self.not_classes)}")
        if self.alike:
            lines.append(
                f"classes that differ only in case: {', '.join(self.alike[:_SHOWN])}; "
                "labels.classes can join them"
            )
        return lines


def label_papers(papers: pd.DataFrame, labels: Labels, *, minimum: int = 1) -> LabelledPapers:
    """Give each row of papers.parquet its classes, as `labels` says; see `params.schema.Labels`.

    from `query`: every row is a document, labelled by the category query that found it; a
    cross-listed paper appears several times (the published protocol). Otherwise each paper is one
    document. minimum: papers that a class needs, at least 1. Raises UserError if a class has fewer,
    unless such classes are to be left out.
    """
    rows = papers if labels.from_ == "query" else papers.drop_duplicates("id", keep="first")
    rows = rows.reset_index(drop=True)
    not_classes: dict[str, int] = {}
    if labels.from_ == "column":
        names, every, not_classes = _column_classes(rows, labels)
        unlabelled = int((rows["label"].str.strip() == "").sum())
        main = [classes[0] if classes else "" for classes in every]
    else:
        names, every, unlabelled = *_listed_classes(rows, labels), 0
        main = _main_classes(rows, labels)
    kept, small = _large_enough(names, every if labels.multi_label else [[m] for m in main],
                                labels, minimum)  # fmt: skip
    if labels.outside == OTHER:
        kept = [*kept, OTHER]
    if taken := sorted({*kept} & {*_COLUMNS}):
        raise UserError(
            f"papers.parquet: a class cannot be called {taken[0]}, as a column of predictions is; "
            "rename it in the file, or map it to another name in labels.classes"
        )
    sets = labels.definitions or {}
    label_set = LabelSet(
        tuple(kept), labels.multi_label, {name: sets[name] for name in kept if name in sets}
    )
    documents = _numbered(rows, main, every, label_set)
    if documents.empty:
        raise UserError("papers.parquet: no paper has any of the classes")
    outside = len(rows) - len(documents) - (unlabelled if labels.outside != OTHER else 0)
    return LabelledPapers(
        documents, label_set, minimum, outside, unlabelled, small,
        len(papers) - len(rows), not_classes, _alike(label_set.names),
    )  # fmt: skip


def _alike(names: Sequence[str]) -> tuple[str, ...]:
    """The names that are equal to another one in lower case, those that are equal side by side."""
    counts = Counter(map(str.casefold, names))
    alike = [name for name in names if counts[name.casefold()] > 1]
    return tuple(sorted(alike, key=lambda name: (name.casefold(), name)))


def _listed_classes(rows: pd.DataFrame, labels: Labels) -> tuple[list[str], list[list[str]]]:
    """The names of the classes, and those that each row lists, in its order."""
    class_of = _class_of_category(labels)
    every = []
    for cell in rows["all_categories"]:
        listed = (class_of.get(unaliased(name), "") for name in split_categories(cell))
        every.append(list(dict.fromkeys(name for name in listed if name)))
    return list(labels.definitions or ()), every


def _main_classes(rows: pd.DataFrame, labels: Labels) -> list[str]:
    """The class of each row's primary category, or of its query; empty if it is outside the set."""
    class_of = _class_of_category(labels)
    column = "category" if labels.from_ == "query" else "primary_category"
    return [class_of.get(unaliased(name), "") for name in rows[column]]


def _class_of_category(labels: Labels) -> dict[str, str]:
    return {part: name for name, parts in (labels.definitions or {}).items() for part in parts}


def _column_classes(
    rows: pd.DataFrame, labels: Labels
) -> tuple[list[str], list[list[str]], dict[str, int]]:
    """The names of the classes, those of each row, and the values that are no class, counted."""
    if "label" not in rows:
        raise UserError(
            "labels.from=column: papers.parquet has no labels; it needs fetch.source=csv"
        )
    cells = [
        [part.strip() for part in (cell.split(labels.separator) if labels.separator else [cell])]
        for cell in rows["label"]
    ]
    values = [list(dict.fromkeys(part for part in cell if part)) for cell in cells]
    if isinstance(labels.classes, Mapping):
        class_of = {part: name for name, parts in labels.classes.items() for part in parts}
        names = list(labels.classes)
    else:
        found = sorted({value for cell in values for value in cell})
        names = found if isinstance(labels.classes, (str, int)) else list(labels.classes)
        class_of = {name: name for name in names}
    every = [
        list(dict.fromkeys(class_of[value] for value in cell if value in class_of))
        for cell in values
    ]
    others = Counter(value for cell in values for value in cell if value not in class_of)
    return names, every, dict(others.most_common())


def _large_enough(
    names: list[str], classes: list[list[str]], labels: Labels, minimum: int
) -> tuple[list[str], dict[str, int]]:
    """The classes with enough papers, and the counts of the others, if they may be left out."""
    counts = Counter(name for row in classes for name in row)
    small = {name: counts[name] for name in names if counts[name] < max(minimum, 1)}
    if small and not labels.leaves_out_small_classes:
        raise UserError(
            f"papers.parquet: too few papers of {_counted(small)}; every class needs at least "
            f"{minimum}: fetch more, change labels.classes, or set labels.too_few=leave_out"
        )
    kept = [name for name in names if name not in small]
    if len(kept) < 2:
        raise UserError(
            f"papers.parquet: {len(kept)} of {len(names)} classes have at least {minimum} papers; "
            "a classifier needs two"
        )
    return kept, small


def _counted(small: dict[str, int]) -> str:
    shown = ", ".join(f"{name} ({count})" for name, count in list(small.items())[:_SHOWN])
    return f"{shown} and {len(small) - _SHOWN} more" if len(small) > _SHOWN else shown


def _numbered(
    rows: pd.DataFrame, main: list[str], every: list[list[str]], label_set: LabelSet
) -> pd.DataFrame:
    """The rows of the set, with the columns `label` and `labels`."""
    number = {name: position for position, name in enumerate(label_set.names)}
    outside = number.get(OTHER, -1)
    label, numbers = [], []
    for first, names in zip(main, every, strict=True):
        listed = [number[name] for name in names if name in number]
        if first in number:
            own = number[first]
        else:  # with several labels, the first one of the set stands for the main one
            own = listed[0] if label_set.multi_label and listed else outside
        label.append(own)
        numbers.append(sorted({*listed, own}) if own >= 0 else [])
    documents = rows.assign(label=np.array(label, dtype=np.int64), labels=pd.Series(numbers))
    return documents[documents["label"] >= 0].reset_index(drop=True)
