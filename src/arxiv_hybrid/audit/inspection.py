"""What a file of papers holds, as tables for people: `python -m arxiv_hybrid data inspect`."""

from __future__ import annotations

import pandas as pd

from arxiv_hybrid.audit.drift import month_of
from arxiv_hybrid.audit.labels import contradicting_share
from arxiv_hybrid.data.identifiers import text_key
from arxiv_hybrid.data.labels import CATEGORIES, listed_classes
from arxiv_hybrid.data.table import texts_of

OVERVIEW = "papers"
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


def inspect(papers: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables by title for rows with the columns of `schema.COLUMNS`."""
    once = papers.drop_duplicates("id").reset_index(drop=True)
    return {
        OVERVIEW: _overview(papers, once),
        "categories": _categories(papers, once),
        "listed together (papers)": listed_together(once),
        "words": _lengths(once),
        "submitted": _dates(once),
    }


def render(tables: dict[str, pd.DataFrame]) -> str:
    """The tables below each other, numbers with thousands separators."""
    parts = []
    for title, table in tables.items():
        text = table.map(_number).to_string(header=title != OVERVIEW)
        parts.append(f"{title}\n{'-' * len(title)}\n{text}")
    return "\n\n".join(parts)


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _overview(papers: pd.DataFrame, once: pd.DataFrame) -> pd.DataFrame:
    text = texts_of(once).map(text_key)
    config = {
        "rows": f"{len(papers):,}",
        "papers": f"{len(once):,}",
        "rows of papers under several categories": (
            f"{contradicting_share(papers['id'], papers['category']):.1%}"
        ),
        "papers with the text of another": f"{int(text.duplicated(keep=False).sum()):,}",
        "papers without a date": f"{int((once['published'] == '').sum()):,}",
    }
    return pd.DataFrame({"": config})


def _categories(papers: pd.DataFrame, once: pd.DataFrame) -> pd.DataFrame:
    primary = once["primary_category"].value_counts()
    listed = listed_classes(once["all_categories"], len(CATEGORIES)).sum(0)
    table = pd.DataFrame(
        {
            "rows": papers["category"].value_counts().reindex(CATEGORIES, fill_value=0),
            "papers listing it": dict(zip(CATEGORIES, listed.tolist(), strict=True)),
            "primary": primary.reindex(CATEGORIES, fill_value=0),
        }
    )
    table.loc["others"] = [0, 0, int(primary.drop(list(CATEGORIES), errors="ignore").sum())]
    return table.astype(object)


def listed_together(once: pd.DataFrame) -> pd.DataFrame:
    """How many papers list both of two categories, by `all_categories`; one row a paper."""
    listed = listed_classes(once["all_categories"], len(CATEGORIES)).astype(int)
    return pd.DataFrame(listed.T @ listed, index=CATEGORIES, columns=CATEGORIES).astype(object)


def _lengths(once: pd.DataFrame) -> pd.DataFrame:
    words = pd.DataFrame({name: once[name].str.split().str.len() for name in ("title", "abstract")})
    table = words.quantile(list(QUANTILES)).T
    table.columns = pd.Index(["least", "quarter", "median", "three quarters", "most"])
    return table.astype(int).astype(object)


def _dates(once: pd.DataFrame) -> pd.DataFrame:
    """Papers a month, or a year where there are more than 24 months.

    Without a date the month that an arXiv id names counts.
    """
    known = pd.Series(list(map(month_of, once["id"], once["published"])))
    if known.nunique() > 24:
        known = known.str.replace(r"-\d\d$", "", regex=True)
    return (
        pd.DataFrame({"papers": known.value_counts().sort_index()}).rename_axis(None).astype(object)
    )
