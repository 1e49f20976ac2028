"""Summary tables of a file of papers: `python -m arxiv_hybrid data inspect`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from arxiv_hybrid.audit.report import contradicting_share
from arxiv_hybrid.data.identifiers import month_of, text_key
from arxiv_hybrid.data.table import texts_of
from arxiv_hybrid.taxonomy.categories import split_categories
from arxiv_hybrid.taxonomy.label_sets import CATEGORIES

OVERVIEW = "papers"
QUANTILES = {"min": 0.0, "25%": 0.25, "median": 0.5, "75%": 0.75, "max": 1.0}
_MAX_MONTHS = 24  # with more months, dates are counted by year


def inspect(papers: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Summary tables by title; `papers` has the columns of `schema.COLUMNS`."""
    unique = papers.drop_duplicates("id").reset_index(drop=True)
    return {
        OVERVIEW: _overview(papers, unique),
        "categories": _categories(papers, unique),
        "listed together (papers)": listed_together(unique),
        "words": _lengths(unique),
        "submitted": _dates(unique),
    }


def render(tables: dict[str, pd.DataFrame]) -> str:
    """Format the tables as text, numbers with thousands separators."""
    parts = []
    for title, table in tables.items():
        text = table.map(_format).to_string(header=title != OVERVIEW)
        parts.append(f"{title}\n{'-' * len(title)}\n{text}")
    return "\n\n".join(parts)


def _format(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _overview(papers: pd.DataFrame, unique: pd.DataFrame) -> pd.DataFrame:
    keys = texts_of(unique).map(text_key)
    counts = {
        "rows": f"{len(papers):,}",
        "papers": f"{len(unique):,}",
        "rows of papers under several categories": (
            f"{contradicting_share(papers['id'], papers['category']):.1%}"
        ),
        "papers with duplicate text": f"{int(keys.duplicated(keep=False).sum()):,}",
        "papers without a date": f"{int((unique['published'] == '').sum()):,}",
    }
    return pd.DataFrame({"": counts})


def _categories(papers: pd.DataFrame, unique: pd.DataFrame) -> pd.DataFrame:
    primary = unique["primary_category"].value_counts()
    listed = _listed(unique).sum(0)
    table = pd.DataFrame(
        {
            "rows": papers["category"].value_counts().reindex(CATEGORIES, fill_value=0),
            "papers listing it": dict(zip(CATEGORIES, listed.tolist(), strict=True)),
            "primary": primary.reindex(CATEGORIES, fill_value=0),
        }
    )
    table.loc["others"] = [0, 0, int(primary.drop(list(CATEGORIES), errors="ignore").sum())]
    return table.astype(object)


def listed_together(unique: pd.DataFrame) -> pd.DataFrame:
    """Number of papers that list both of two categories; `unique` has one row per paper."""
    listed = _listed(unique)
    return pd.DataFrame(listed.T @ listed, index=CATEGORIES, columns=CATEGORIES).astype(object)


def _lengths(unique: pd.DataFrame) -> pd.DataFrame:
    lengths = pd.DataFrame(
        {name: unique[name].str.split().str.len() for name in ("title", "abstract")}
    )
    table = lengths.quantile(list(QUANTILES.values())).T
    table.columns = pd.Index(list(QUANTILES))
    return table.astype(int).astype(object)


def _dates(unique: pd.DataFrame) -> pd.DataFrame:
    """Number of papers per month of the date or the arXiv id, or per year if there are many."""
    months = pd.Series(list(map(month_of, unique["id"], unique["published"])))
    if months.nunique() > _MAX_MONTHS:
        months = months.str.replace(r"-\d\d$", "", regex=True)
    counts = months.value_counts().sort_index()
    return pd.DataFrame({"papers": counts}).rename_axis(None).astype(object)


def _listed(unique: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Which of the categories each paper lists, shape (papers, categories)."""
    cells = [set(split_categories(cell)) for cell in unique["all_categories"]]
    return np.array([[name in cell for name in CATEGORIES] for cell in cells], dtype=np.int64)
