"""The audit as a page: metrics/audit.json and the tables behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from arxiv_hybrid.audit.drift import RisingWords
from arxiv_hybrid.audit.duplicates import SIMILARITY_THRESHOLD
from arxiv_hybrid.audit.report import best_possible, class_sizes, listed_together
from arxiv_hybrid.data.class_groups import FEW, by_archive
from arxiv_hybrid.data.identifiers import UNKNOWN_MONTH
from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.reporting.page import render

TOGETHER_SHOWN = 12  # classes in the table of those listed together
MOST_LABELS = 6  # papers with more count together


def audit_page(
    report: dict[str, Any],
    splits: dict[str, pd.DataFrame],
    label_set: LabelSet,
    *,
    origin: dict[str, Any],
    pairs: pd.DataFrame,
    months: pd.DataFrame,
    rising: RisingWords,
) -> str:
    """HTML with the results of `audit`, `near_duplicates`, `by_month` and `rising_words`.

    origin: the source and what it counted, see `sources.fetch.FetchResult`.
    """
    names = [name for name in months.columns if name not in ("month", "unknown_words")]
    known = months[months["month"] != UNKNOWN_MONTH]
    task = report["task"]
    sizes = class_sizes(splits, label_set)
    largest = max(sum(counts.values()) for counts in sizes.values())
    content = {
        "report": report,
        "source": origin["source"],
        "counts": [
            f"{count:,} {name.replace('_', ' ')}"
            for name, count in origin.items()
            if isinstance(count, int) and count and name != "lines"
        ],
        "ceiling": best_possible(report),
        "together": _together(splits, label_set),
        "sizes": sizes,
        "groups": by_archive(label_set) if len(label_set) > FEW else None,
        "splits": names,
        "pairs": pairs,
        "similar": SIMILARITY_THRESHOLD,
        "months": months if len(known) else None,
        "period": f"{known['month'].min()} to {known['month'].max()}" if len(known) else None,
        "papers_by_labels": _papers_by_labels(task.get("papers_by_labels", {})),
        "bar_length": task["documents"] if len(label_set) <= FEW else largest,
        "unknown_words": float(months["unknown_words"].max()),
        "most": int(months[names].sum(axis=1).max()),
        "rising": rising,
    }
    return render("audit.html", content)


def _papers_by_labels(counts: dict[str, int]) -> list[tuple[str, int]]:
    """The numbers of labels, from 1 to `MOST_LABELS` or more, with the papers that have so many."""
    exact = {int(number): papers for number, papers in counts.items()}
    most = sum(papers for number, papers in exact.items() if number >= MOST_LABELS)
    rows = [(str(number), exact[number]) for number in sorted(exact) if number < MOST_LABELS]
    return [*rows, (f"{MOST_LABELS} or more", most)] if most else rows


def _together(splits: dict[str, pd.DataFrame], label_set: LabelSet) -> pd.DataFrame | None:
    """How many papers list two classes, for the ones most often listed with others."""
    counts = listed_together(splits, label_set)
    beside = counts.sum(1) - counts.diagonal()
    shown = sorted(np.argsort(-beside, kind="stable")[:TOGETHER_SHOWN])
    if not beside.any():
        return None
    names = [label_set.names[number] for number in shown]
    return pd.DataFrame(counts[np.ix_(shown, shown)], index=names, columns=names)
