"""The audit report: label noise, the ceiling it sets for every classifier, and leakage."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pandas as pd

from arxiv_hybrid.data.identifiers import text_key
from arxiv_hybrid.data.labels import CLASSES, class_index
from arxiv_hybrid.data.table import texts_of


def audit_report(
    papers: pd.DataFrame,
    splits: dict[str, pd.DataFrame],
    *,
    scheme: str,
    classes: int,
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
        "task": _describe_task(papers, splits, scheme, classes, ceiling),
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
            str(n): oracle_accuracy(papers["id"], pd.Series(class_index(papers["category"], n)))
            for n in CLASSES
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
    classes: int,
    ceiling: dict[str, float] | None,
) -> dict[str, Any]:
    documents = pd.concat(splits.values(), ignore_index=True)
    return {
        "scheme": scheme,
        "classes": list(CLASSES[classes]),
        "documents": len(documents),
        "papers_left_out": int(papers["id"].nunique() - documents["id"].nunique()),
        "documents_contradicting": contradicting_share(documents["id"], documents["label"]),
        "oracle_accuracy": oracle_accuracy(documents["id"], documents["label"]),
        "label_ceiling": (ceiling or {}).get(str(classes)) if scheme == "primary" else None,
        "majority_accuracy": float(documents["label"].value_counts(normalize=True).iloc[0]),
        "documents_per_class": {
            name: {part: int((frame["label"] == number).sum()) for part, frame in splits.items()}
            for number, name in enumerate(CLASSES[classes])
        },
    }


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
