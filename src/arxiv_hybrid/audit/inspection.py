"""Summary tables of a file of papers: `python -m arxiv_hybrid data inspect`."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from arxiv_hybrid.audit.report import contradicting_share
from arxiv_hybrid.data.identifiers import UNKNOWN_MONTH, month_of, text_key
from arxiv_hybrid.data.schema import LABEL
from arxiv_hybrid.data.table import texts_of
from arxiv_hybrid.taxonomy.categories import split_categories, unaliased, without_aliases

OVERVIEW = "papers"
QUANTILES = {"min": 0.0, "25%": 0.25, "median": 0.5, "75%": 0.75, "max": 1.0}
SHOWN = 12  # categories or labels with a row of their own, the most frequent
FEW_PAPERS = 14  # the default split needs as many of each class
_MAX_MONTHS = 24  # with more months, dates are counted by year


def inspect(papers: pd.DataFrame, *, separator: str | None = None) -> dict[str, pd.DataFrame]:
    """Summary tables by title; `papers` has the columns of `schema.COLUMNS`, or `label` as well.

    separator: what separates several labels in a cell.
    """
    unique = papers.drop_duplicates("id").reset_index(drop=True)
    if LABEL in papers:
        classes = [_parts(cell, separator) for cell in unique[LABEL]]
        own = _about_labels(unique, classes)
        tables = {"labels": _labels(classes)}
    else:
        classes = [_canonical(cell) for cell in unique["all_categories"]]
        own = {"papers under several categories": _count(len(names) > 1 for names in classes)}
        if len(papers) > len(unique):
            share = contradicting_share(papers["id"], papers["category"])
            own["rows of papers under several categories"] = f"{share:.1%}"
        tables = {"categories": _categories(papers, unique, classes)}
    together = _together(classes)
    if len(together) > 1 and any(len(names) > 1 for names in classes):
        tables["listed together (papers)"] = together
    tables["words"] = _lengths(unique)
    if len(dates := _dates(unique)):
        tables["submitted"] = dates
    return {OVERVIEW: _overview(papers, unique, own), **tables}


def render(tables: dict[str, pd.DataFrame]) -> str:
    """Format the tables as text, numbers with thousands separators."""
    parts = []
    for title, table in tables.items():
        text = table.map(_format).to_string(header=title != OVERVIEW)
        parts.append(f"{title}\n{'-' * len(title)}\n{text}")
    return "\n\n".join(parts)


def _format(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _count(cases: Iterable[bool]) -> str:
    return f"{sum(map(bool, cases)):,}"


def _overview(papers: pd.DataFrame, unique: pd.DataFrame, own: dict[str, str]) -> pd.DataFrame:
    keys = texts_of(unique).map(text_key)
    counts = {
        "rows": f"{len(papers):,}",
        "papers": f"{len(unique):,}",
        **own,
        "papers with duplicate text": _count(keys.duplicated(keep=False)),
        "papers without a date": _count(unique["published"] == ""),
    }
    return pd.DataFrame({"": counts})


def _parts(cell: str, separator: str | None) -> list[str]:
    parts = cell.split(separator) if separator else [cell]
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _canonical(cell: str) -> list[str]:
    return list(without_aliases(split_categories(cell)))


def _about_labels(unique: pd.DataFrame, labels: list[list[str]]) -> dict[str, str]:
    """Lines of the overview about labels of the user."""
    counts = pd.Series(labels).explode().value_counts()
    keys = texts_of(unique).map(text_key)
    clashing = unique.groupby(keys.to_numpy())[LABEL].transform("nunique") > 1
    return {
        "different labels": f"{len(counts):,}",
        f"labels with fewer than {FEW_PAPERS} papers": _count(counts < FEW_PAPERS),
        "papers without a label": _count(not names for names in labels),
        "papers with several labels": _count(len(names) > 1 for names in labels),
        "papers whose text has another label, too": _count(clashing),
    }


def _most_frequent(counts: pd.Series) -> list[str]:
    """The names with the largest counts, the largest first; names decide between equal ones."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [str(name) for name, _ in ranked[:SHOWN]]


def _labels(labels: list[list[str]]) -> pd.DataFrame:
    counts = pd.Series(labels).explode().value_counts()
    table = pd.DataFrame({"papers": counts.reindex(_most_frequent(counts))})
    if len(counts) > SHOWN:
        table.loc[f"{len(counts) - SHOWN:,} others"] = counts.sum() - table["papers"].sum()
    return table.rename_axis(None).astype(object)


def _categories(
    papers: pd.DataFrame, unique: pd.DataFrame, listed: list[list[str]]
) -> pd.DataFrame:
    counts = pd.DataFrame(
        {
            "rows": papers["category"].map(unaliased).value_counts(),
            "papers listing it": pd.Series(listed).explode().value_counts(),
            "primary": unique["primary_category"].map(unaliased).value_counts(),
        }
    )
    counts = counts.fillna(0).astype(int)
    shown = _most_frequent(counts["papers listing it"])
    table = counts.loc[shown]
    if len(counts) > SHOWN:
        others = set(counts.index) - set(shown)
        rest = counts.drop(shown).sum()
        rest["papers listing it"] = sum(not others.isdisjoint(names) for names in listed)
        table.loc[f"{len(others):,} others"] = rest
    return table.astype(object)


def listed_together(unique: pd.DataFrame) -> pd.DataFrame:
    """Number of papers that list both of two categories, for the most frequent ones.

    unique: one row per paper.
    """
    return _together([_canonical(cell) for cell in unique["all_categories"]])


def _together(listed: list[list[str]]) -> pd.DataFrame:
    names = _most_frequent(pd.Series(listed).explode().value_counts())
    cells = [set(cell) for cell in listed]
    matrix = np.array([[name in cell for name in names] for cell in cells], dtype=np.int64)
    return pd.DataFrame(matrix.T @ matrix, index=names, columns=names).astype(object)


def _lengths(unique: pd.DataFrame) -> pd.DataFrame:
    lengths = pd.DataFrame(
        {name: unique[name].map(lambda text: len(text.split())) for name in ("title", "abstract")}
    )
    table = lengths.quantile(list(QUANTILES.values())).T
    table.columns = pd.Index(list(QUANTILES))
    return table.astype(int).astype(object)


def _dates(unique: pd.DataFrame) -> pd.DataFrame:
    """Number of papers per month of the date or the arXiv id, or per year if there are many.

    Empty if no date is known.
    """
    months = pd.Series(list(map(month_of, unique["id"], unique["published"])), dtype=str)
    if (months == UNKNOWN_MONTH).all():
        return pd.DataFrame()
    if months.nunique() > _MAX_MONTHS:
        months = months.str.replace(r"-\d\d$", "", regex=True)
    counts = months.value_counts().sort_index()
    return pd.DataFrame({"papers": counts}).rename_axis(None).astype(object)
