"""The audit report: label noise, the ceiling it sets for every classifier, and leakage."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from arxiv_hybrid.data.class_groups import FEW
from arxiv_hybrid.data.identifiers import text_key
from arxiv_hybrid.data.label_set import LabelSet, multi_hot
from arxiv_hybrid.data.table import PaperTable, Texts, batches, without_texts
from arxiv_hybrid.params import Labels
from arxiv_hybrid.taxonomy.label_sets import CATEGORIES, PUBLISHED

Hashes = npt.NDArray[np.int64]
Documents = Mapping[str, pd.DataFrame]  # without their texts, by the name of the split
PAIRS_KEPT = 12  # classes listed together most often
_PAPERS_AT_ONCE = 1 << 16  # whose classes are a matrix in memory


def audit_report(
    papers: PaperTable,
    splits: Mapping[str, PaperTable],
    labels: Labels,
    label_set: LabelSet,
    *,
    ceiling: dict[str, float] | None,
    pairs: pd.DataFrame,
) -> dict[str, Any]:
    """Describe papers.parquet and its splits, for metrics/audit.json.

    papers: rows with the columns of `schema.COLUMNS`. splits: the same with `label` and `labels`,
    by name, none of them empty. ceiling: the label ceiling by the number of published classes, if
    the source knows it. pairs: the result of `near_duplicates`.

    The oracle knows each row's paper and always predicts its most frequent label: no classifier
    that reads only the paper can be expected to do better over all rows. If papers may have several
    labels, they do not contradict each other, and the report counts them instead.
    """
    keys = {name: text_hashes(part) for name, part in splits.items()}
    rows = without_texts(papers)
    documents = {name: without_texts(part) for name, part in splits.items()}
    left_out = [name for name in labels.class_names or () if name not in label_set.names]
    return {
        "papers_csv": {**_describe_rows(rows, labels), **_median_words(papers)},
        "task": {
            "scheme": labels.from_,
            **_describe_classes(documents, label_set),
            **({"classes_left_out": left_out} if left_out else {}),
            "documents": sum(map(len, documents.values())),
            "papers_left_out": _left_out(rows, documents),
            **(
                _several_labels(documents, label_set)
                if label_set.multi_label
                else {**_one_label(documents), **_ceiling(ceiling, labels, label_set)}
            ),
        },
        "leakage": {
            f"{first}_and_{second}": {
                **leakage(
                    documents[first]["id"], documents[second]["id"], keys[first], keys[second]
                ),
                "near_duplicates": _count_near_duplicates(pairs, first, second),
            }
            for first, second in combinations(documents, 2)
        },
    }


def _describe_rows(papers: pd.DataFrame, labels: Labels) -> dict[str, Any]:
    """Counts of rows, and of categories where there are any."""
    report: dict[str, Any] = {
        "rows": len(papers),
        "papers": int(papers["id"].nunique()),
        "published": _range(papers["published"]),
    }
    if not labels.multi_label:
        column = papers["label"] if labels.from_ == "column" else papers["category"]
        report["rows_contradicting"] = contradicting_share(papers["id"], column)
    if (papers["category"] != "").any():
        few = papers["category"].nunique() <= FEW
        report["rows_per_category"] = (_counts if few else _top)(papers["category"])
        report["papers_per_primary_category"] = _top(
            papers.drop_duplicates("id")["primary_category"]
        )
        if not labels.multi_label and papers["category"].isin(CATEGORIES).all():
            report["oracle_accuracy"] = {
                str(classes): oracle_accuracy(papers["id"], _published_classes(papers, classes))
                for classes in PUBLISHED
            }
    return report


def _left_out(papers: pd.DataFrame, splits: Documents) -> int:
    """Number of papers that are in no split."""
    used = pd.concat([part["id"] for part in splits.values()]).nunique()
    return int(papers["id"].nunique() - used)


def _one_label(splits: Documents) -> dict[str, Any]:
    documents = pd.concat([part[["id", "label"]] for part in splits.values()], ignore_index=True)
    return {
        "documents_contradicting": contradicting_share(documents["id"], documents["label"]),
        "oracle_accuracy": oracle_accuracy(documents["id"], documents["label"]),
        "majority_accuracy": float(documents["label"].value_counts(normalize=True).iloc[0]),
    }


def _several_labels(splits: Documents, label_set: LabelSet) -> dict[str, Any]:
    per_paper = pd.concat([part["labels"].map(len) for part in splits.values()], ignore_index=True)
    together = listed_together(splits, label_set)
    return {
        "labels_per_paper": float(per_paper.mean()),
        "papers_with_several": float((per_paper > 1).mean()),
        "papers_by_labels": {str(n): int(count) for n, count in per_paper.value_counts().items()},
        "listed_together": {
            f"{label_set.names[first]} | {label_set.names[second]}": count
            for first, second, count in frequent_pairs(together, PAIRS_KEPT)
        },
    }


def class_sizes(splits: Documents, label_set: LabelSet) -> dict[str, dict[str, int]]:
    """Documents of each class in each split, by the names of both."""
    column = "labels" if label_set.multi_label else "label"
    counts = {part: frame[column].explode().value_counts() for part, frame in splits.items()}
    return {
        name: {part: int(sizes.get(number, 0)) for part, sizes in counts.items()}
        for number, name in enumerate(label_set.names)
    }


def _describe_classes(splits: Documents, label_set: LabelSet) -> dict[str, Any]:
    """The size of each class, or of many the largest and the smallest one."""
    sizes = class_sizes(splits, label_set)
    if len(label_set) <= FEW:
        return {"classes": list(label_set.names), "documents_per_class": sizes}
    totals = {name: sum(counts.values()) for name, counts in sizes.items()}
    largest, smallest = max(totals, key=totals.__getitem__), min(totals, key=totals.__getitem__)
    return {
        "largest_class": {"name": largest, "documents": totals[largest]},
        "smallest_class": {"name": smallest, "documents": totals[smallest]},
    }


def listed_together(splits: Documents, label_set: LabelSet) -> npt.NDArray[np.int64]:
    """Number of papers that list both of two classes, (C, C); the diagonal counts one class."""
    papers = pd.concat([part[["id", "labels"]] for part in splits.values()]).drop_duplicates("id")
    result = np.zeros((len(label_set), len(label_set)), dtype=np.int64)
    for start in range(0, len(papers), _PAPERS_AT_ONCE):
        part = papers["labels"].iloc[start : start + _PAPERS_AT_ONCE]
        listed = multi_hot(part, len(label_set)).astype(np.float32)  # counts exactly up to 2**24
        result += (listed.T @ listed).astype(np.int64)
    return result


def frequent_pairs(together: npt.NDArray[np.int64], number: int) -> list[tuple[int, int, int]]:
    """The pairs of classes with the most papers that list both, and that number, largest first."""
    first, second = np.triu_indices(len(together), 1)
    papers = together[first, second]
    order = np.argsort(-papers, kind="stable")[:number]
    return [(int(first[i]), int(second[i]), int(papers[i])) for i in order if papers[i]]


def _ceiling(
    ceiling: dict[str, float] | None, labels: Labels, label_set: LabelSet
) -> dict[str, float | None]:
    """What the source knows about wrong primary labels of the published sets."""
    known = labels.from_ == "primary" and PUBLISHED.get(len(label_set)) == label_set.categories
    return {"label_ceiling": (ceiling or {}).get(str(len(label_set))) if known else None}


def _published_classes(papers: pd.DataFrame, classes: int) -> pd.Series:
    """The class of each row's category query in a published set."""
    class_of = {part: name for name, parts in PUBLISHED[classes].items() for part in parts}
    return papers["category"].map(class_of)


def contradicting_share(ids: pd.Series, labels: pd.Series) -> float:
    """Share of rows whose paper also has another label."""
    return float((labels.groupby(ids.to_numpy()).transform("nunique") > 1).mean())


def oracle_accuracy(ids: pd.Series, labels: pd.Series) -> float:
    """Accuracy of always predicting the most frequent label of the row's paper."""
    counts = pd.DataFrame({"id": ids.to_numpy(), "label": labels.to_numpy()}).value_counts()
    return float(counts.groupby(level="id").max().sum() / len(ids))


def best_possible(report: dict[str, Any]) -> float | None:
    """The lower of oracle accuracy and label ceiling; None if no limit below 1 is known.

    If every paper has one label, the oracle is always right, even if the labels are wrong. If
    papers may have several, there is no oracle.
    """
    task = report["task"]
    limits = [task.get("oracle_accuracy"), task.get("label_ceiling")]
    best = min((float(limit) for limit in limits if limit is not None), default=1.0)
    return best if best < 1 else None


def leakage(
    first: pd.Series, second: pd.Series, first_hashes: Hashes, second_hashes: Hashes
) -> dict[str, float | int]:
    """Count the rows of the second part whose paper, or text under another id, is in the first.

    first, second: ids. first_hashes, second_hashes: see `text_hashes`.
    """
    leaked = second.isin(set(first)).to_numpy()
    same_text = np.isin(second_hashes, first_hashes)
    return {
        "rows": int(leaked.sum()),
        "share": float(leaked.mean()),
        "rows_with_same_text": int((same_text & ~leaked).sum()),
    }


def text_hashes(papers: PaperTable) -> Hashes:
    """A hash of the words of each paper, (N,); the same within a process."""
    hashes = (hash(text_key(text)) for text in Texts(papers))
    return np.fromiter(hashes, dtype=np.int64, count=len(papers))


def _median_words(papers: PaperTable) -> dict[str, float]:
    """The median numbers of words of titles and of abstracts."""
    counts: dict[str, list[npt.NDArray[np.int64]]] = {"title": [], "abstract": []}
    for part in batches(papers):
        for name, words in counts.items():
            words.append(part[name].map(lambda text: len(text.split())).to_numpy())
    return {f"median_{name}_words": float(np.median(np.concatenate(words)))
            for name, words in counts.items()}  # fmt: skip


def _count_near_duplicates(pairs: pd.DataFrame, first: str, second: str) -> int:
    """Number of papers in the split `second` with a near duplicate in `first`."""
    papers: set[str] = set()
    for side, other in (("first", "second"), ("second", "first")):
        here = pairs[f"{side}_splits"].str.split(",").map(lambda names: first in names)
        there = pairs[f"{other}_splits"].str.split(",").map(lambda names: second in names)
        papers |= set(pairs.loc[here.astype(bool) & there.astype(bool), other])
    return len(papers)


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
