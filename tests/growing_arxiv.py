"""A server that grows as arXiv does: announcements on weekdays, one to four days late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
from fake_server import Entry, FakeServer

from arxiv_hybrid.taxonomy.categories import split_categories

NOON = timedelta(hours=12)  # when `update` runs


def announced(published: datetime) -> datetime:
    """When a paper appears: midnight after the deadline of its day, Monday for Friday's."""
    deadline = published.replace(hour=18, minute=0, second=0, microsecond=0)
    if published > deadline:
        deadline += timedelta(days=1)
    while deadline.weekday() > 4:
        deadline += timedelta(days=1)
    days = 3 if deadline.weekday() == 4 else 1
    return (deadline + timedelta(days=days)).replace(hour=0)


def submitted(papers: pd.DataFrame, first: date, days: int, seed: int = 0) -> list[Entry]:
    """Papers with id, title, abstract and all_categories, in their order, over some days.

    On a weekend a third as many are submitted.
    """
    start = datetime(first.year, first.month, first.day, tzinfo=timezone.utc)
    weights = [1 / 3 if (first + timedelta(days=n)).weekday() > 4 else 1.0 for n in range(days)]
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(days, len(papers), p=np.array(weights) / sum(weights)))
    moments = [start + timedelta(days=int(n), seconds=int(random.integers(86_400))) for n in chosen]
    moments.sort()
    rows = papers[["id", "title", "abstract", "all_categories"]].itertuples(index=False)
    return [
        Entry(id=row[0], published=moment, categories=split_categories(row[3]), title=row[1],
              summary=row[2], updated=moment)
        for row, moment in zip(rows, moments, strict=True)
    ]  # fmt: skip


def show(server: FakeServer, papers: Sequence[Entry], day: date) -> None:
    """Let the server have what arXiv has announced at noon of a day."""
    noon = datetime(day.year, day.month, day.day, tzinfo=timezone.utc) + NOON
    server.papers = [replace(paper) for paper in papers if announced(paper.published) <= noon]
