"""The audit report: label noise, the ceiling it sets for every classifier, and leakage."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pandas as pd

from arxiv_hybrid.data.identifiers import text_key
from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.data.table import texts_of
from arxiv_hybrid.taxonomy.label_sets import PUBLISHED


def audit_report(
    papers: pd.DataFrame,
    splits: dict[str, pd.DataFrame],
    *,
    scheme: str,
    label_set: LabelSet,
    ceiling: dict[str, float] | None,
    pairs: pd.DataFrame,
) -> dict[str, Any]:
    """Describe papers.csv and its splits, for metrics/audit.json.

    papers: rows with the columns of `schema.COLUMNS`. splits: the same with `label`, by name,
    none of them empty. ceiling: the label ceiling by number of classes, if the source knows
    it. pairs: the result of `near_duplicates`.

    The oracle knows each row's paper and always predicts its most frequent label: no classifier
    that reads only the paper can be expected to do better over all rows.
    """
    return {
        "papers_csv": _describe_rows(papers),
        "task": _describe_task(papers, splits, scheme, label_set, ceiling),
        "leakage": {
            f"{first}_and_{second}": {
                **leakage(splits[first], splits[second]),
                "near_duplicates": _count_near_duplicates(pairs, first, second),
            }
            for first, second in combinations(splits, 2)
        },
    }


def _describe_rows(papers: pd.DataFrame) -> dict[str, Any]:
    return {
        "rows": len(papers),
        "papers": int(papers["id"].nunique()),
        "rows_contradicting": contradicting_share(papers["id"], papers["category"]),
        "oracle_accuracy": {
            str(classes): oracle_accuracy(papers["id"], _published_classes(papers, classes))
            for classes in PUBLISHED
        },
        "rows_per_category": _counts(papers["category"]),
        "papers_per_primary_category": _top(papers.drop_duplicates("id")["primary_category"]),
        "published": _range(papers["published"]),
        "median_title_words": float(papers["title"].str.split().str.len().median()),
        "median_abstract_words": float(papers["abstract"].str.split().str.len().median()),
    }


def _describe_task(
    papers: pd.DataFrame,
    splits: dict[str, pd.DataFrame],
    scheme: str,
    label_set: LabelSet,
    ceiling: dict[str, float] | None,
) -> dict[str, Any]:
    documents = pd.concat(splits.values(), ignore_index=True)
    return {
        "scheme": scheme,
        "classes": list(label_set.names),
        "documents": len(documents),
        "papers_left_out": int(papers["id"].nunique() - documents["id"].nunique()),
        "documents_contradicting": contradicting_share(documents["id"], documents["label"]),
        "oracle_accuracy": oracle_accuracy(documents["id"], documents["label"]),
        "label_ceiling": (ceiling or {}).get(str(len(label_set))) if scheme == "primary" else None,
        "majority_accuracy": float(documents["label"].value_counts(normalize=True).iloc[0]),
        "documents_per_class": {
            name: {part: int((frame["label"] == number).sum()) for part, frame in splits.items()}
            for number, name in enumerate(label_set.names)
        },
    }


def _published_classes(papers: pd.DataFrame, classes: int) -> pd.Series:
    """The class of each row's category query in a published set; empty outside it."""
    class_of = {part: name for name, parts in PUBLISHED[classes].items() for part in parts}
    return papers["category"].map(class_of).fillna("")


def contradicting_share(ids: pd.Series, labels: pd.Series) -> float:
    """Share of rows whose paper also has another label."""
    return float((labels.groupby(ids.to_numpy()).transform("nunique") > 1).mean())


def oracle_accuracy(ids: pd.Series, labels: pd.Series) -> float:
    """Accuracy of always predicting the most frequent label of the row's paper."""
    counts = pd.DataFrame({"id": ids.to_numpy(), "label": labels.to_numpy()}).value_counts()
    return float(counts.groupby(level="id").max().sum() / len(ids))


def best_possible(report: dict[str, Any]) -> float:
    """The lower of oracle accuracy and label ceiling; 1 means that no limit is known.

    If every paper has one label, the oracle is always right, even if the labels are wrong.
    """
    task = report["task"]
    limits = [task["oracle_accuracy"], task["label_ceiling"]]
    return min(float(limit) for limit in limits if limit is not None)


def leakage(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, float | int]:
    """Count the rows of `second` whose paper, or whose text under another id, is in `first`."""
    leaked = second["id"].isin(set(first["id"]))
    same_text = _text_keys(second).isin(set(_text_keys(first)))
    return {
        "rows": int(leaked.sum()),
        "share": float(leaked.mean()),
        "rows_with_same_text": int((same_text & ~leaked).sum()),
    }


def _count_near_duplicates(pairs: pd.DataFrame, first: str, second: str) -> int:
    """Number of papers in the split `second` with a near duplicate in `first`."""
    papers: set[str] = set()
    for side, other in (("first", "second"), ("second", "first")):
        here = pairs[f"{side}_splits"].str.split(",").map(lambda names: first in names)
        there = pairs[f"{other}_splits"].str.split(",").map(lambda names: second in names)
        papers |= set(pairs.loc[here.astype(bool) & there.astype(bool), other])
    return len(papers)


def _text_keys(papers: pd.DataFrame) -> pd.Series:
    return texts_of(papers).map(text_key)


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(key): int(count) for key, count in values.value_counts().items()}


def _top(values: pd.Series, number: int = 12) -> dict[str, int]:
    counts = values.value_counts()
    top = _counts(values[values.isin(counts.index[:number])])
    rest = len(values) - sum(top.values())
    return {**top, "other": rest} if rest else top


def _range(published: pd.Series) -> dict[str, str | None]:
    dates = published[published != ""]
    if dates.empty:
        return {"first": None, "last": None}
    return {"first": str(dates.min()), "last": str(dates.max())}
