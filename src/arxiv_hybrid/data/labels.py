"""What a paper's label is: the query it was found by, or its primary category."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from arxiv_hybrid.system.errors import UserError

CATEGORIES = ("cs.AI", "cs.CL", "cs.CV", "cs.LG")
CLASSES: dict[int, tuple[str, ...]] = {
    3: ("cs.AI-LG", "cs.CL", "cs.CV"),
    4: CATEGORIES,
}
MERGED = {"cs.AI": "cs.AI-LG", "cs.LG": "cs.AI-LG"}


def class_index(categories: pd.Series, classes: int) -> npt.NDArray[np.int64]:
    """Class number of each category; -1 where it is none of cs.AI, cs.CL, cs.CV, cs.LG."""
    names = CLASSES[classes]
    lookup = {
        category: names.index(category if classes == 4 else MERGED.get(category, category))
        for category in CATEGORIES
    }
    numbers = categories.map(lookup).fillna(-1).to_numpy().astype(np.int64)
    return np.asarray(numbers, dtype=np.int64)


def label_papers(papers: pd.DataFrame, *, scheme: str, classes: int) -> pd.DataFrame:
    """Turn `papers.csv` rows into labelled documents with an integer column `label`.

    scheme `query`: every row stands, labelled by the category query that found it, so a
    cross-listed paper stands several times (the published protocol). scheme `primary`:
    one row a paper, labelled by its primary category; papers whose primary category is
    none of the four are left out.
    """
    if scheme == "query":
        labels = class_index(papers["category"], classes)
        documents = papers.assign(label=labels)
    else:
        once = papers.drop_duplicates("id", keep="first")
        labels = class_index(once["primary_category"], classes)
        documents = once.assign(label=labels)[labels >= 0]
    counts = np.bincount(documents["label"], minlength=classes)
    if counts.min() == 0:
        missing = ", ".join(name for name, n in zip(CLASSES[classes], counts, strict=True) if not n)
        raise UserError(f"papers.csv: no paper has the label {missing} (labels.scheme={scheme})")
    return documents.reset_index(drop=True)


def listed_classes(all_categories: pd.Series, classes: int) -> npt.NDArray[np.bool_]:
    """Which classes each paper's authors listed; shape (papers, classes)."""
    listed = np.zeros((len(all_categories), classes), dtype=bool)
    exploded = all_categories.reset_index(drop=True).str.split(",").explode().str.strip()
    numbers = class_index(exploded, classes)
    known = numbers >= 0
    listed[exploded.index.to_numpy()[known], numbers[known]] = True
    return listed
