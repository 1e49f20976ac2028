"""Labels of papers: the category query that found them, or their primary category."""

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
    """Class number of each category; -1 for categories outside `CATEGORIES`."""
    names = CLASSES[classes]
    codes = {
        category: names.index(category if classes == 4 else MERGED.get(category, category))
        for category in CATEGORIES
    }
    numbers: npt.NDArray[np.int64] = categories.map(codes).fillna(-1).to_numpy().astype(np.int64)
    return numbers


def label_papers(papers: pd.DataFrame, *, scheme: str, classes: int) -> pd.DataFrame:
    """Turn rows of papers.csv into documents with an integer column `label`.

    scheme `query`: keep every row, labelled by the category query that found it; a
    cross-listed paper appears several times (the published protocol). scheme `primary`: one
    row per paper, labelled by its primary category; papers with any other primary category
    are left out. Raises UserError if a class has no paper.
    """
    if scheme == "query":
        labels = class_index(papers["category"], classes)
        documents = papers.assign(label=labels)
    else:
        unique = papers.drop_duplicates("id", keep="first")
        labels = class_index(unique["primary_category"], classes)
        documents = unique.assign(label=labels)[labels >= 0]
    counts = np.bincount(documents["label"], minlength=classes)
    if counts.min() == 0:
        missing = ", ".join(name for name, n in zip(CLASSES[classes], counts, strict=True) if not n)
        raise UserError(f"papers.csv: no paper has the label {missing} (labels.scheme={scheme})")
    return documents.reset_index(drop=True)


def listed_classes(all_categories: pd.Series, classes: int) -> npt.NDArray[np.bool_]:
    """Which classes each paper lists; boolean, shape (papers, classes)."""
    listed = np.zeros((len(all_categories), classes), dtype=bool)
    exploded = all_categories.reset_index(drop=True).str.split(",").explode().str.strip()
    numbers = class_index(exploded, classes)
    known = numbers >= 0
    listed[exploded.index.to_numpy()[known], numbers[known]] = True
    return listed
