"""The audit as a page: metrics/audit.json and the tables behind it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from arxiv_hybrid.audit.drift import RisingWords
from arxiv_hybrid.audit.duplicates import SIMILARITY_THRESHOLD
from arxiv_hybrid.audit.inspection import listed_together
from arxiv_hybrid.audit.report import best_possible
from arxiv_hybrid.reporting.page import render


def audit_page(
    report: dict[str, Any],
    papers: pd.DataFrame,
    *,
    source: str,
    pairs: pd.DataFrame,
    months: pd.DataFrame,
    rising: RisingWords,
) -> str:
    """HTML with the results of `audit`, `near_duplicates`, `by_month` and `rising_words`."""
    splits = [name for name in months.columns if name not in ("month", "unknown_words")]
    content = {
        "report": report,
        "source": source,
        "ceiling": best_possible(report),
        "together": listed_together(papers.drop_duplicates("id")),
        "splits": splits,
        "pairs": pairs,
        "similar": SIMILARITY_THRESHOLD,
        "months": months,
        "most": int(months[splits].sum(axis=1).max()),
        "rising": rising,
    }
    return render("audit.html", content)
