"""A server that grows as arXiv does: announcements on weekdays, one to four days late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from fake_server import Entry, FakeServer

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.evaluation.predict import predict
from arxiv_hybrid.evaluation.reference import reference_of
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.classifier import TextClassifier
from arxiv_hybrid.inference.linear import LinearClassifier, Weights
from arxiv_hybrid.inference.model_config import LinearConfig
from arxiv_hybrid.inference.origin import Origin
from arxiv_hybrid.inference.tfidf import TOKEN_PATTERN, Tfidf
from arxiv_hybrid.system.files import write_json
from arxiv_hybrid.taxonomy.categories import split_categories
from arxiv_hybrid.text.vocabulary import Vocabulary

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
    start = datetime(first.year, first.month, first.day, tzinfo=UTC)
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
    noon = datetime(day.year, day.month, day.day, tzinfo=UTC) + NOON
    server.papers = [replace(paper) for paper in papers if announced(paper.published) <= noon]


WORDS = ("speech", "vision", "study", "model", "data", "we")
CLASSES = ("cs.CL", "cs.CV")
SHARE_RIGHT = 0.85  # of papers whose category is that of their word


def some_papers(count: int, seed: int, first: int = 1) -> pd.DataFrame:
    """Papers about speech or vision; every twentieth word is one that the model does not know."""
    random = np.random.default_rng(seed)
    topics = random.integers(0, 2, count)
    right = random.random(count) < SHARE_RIGHT
    names = [CLASSES[topic if ok else 1 - topic] for topic, ok in zip(topics, right, strict=True)]
    common = np.array([*WORDS[2:], "zeugma"])
    drawn = random.choice(common, (count, 12), p=[0.3, 0.25, 0.2, 0.2, 0.05])
    return pd.DataFrame(
        {
            "id": [f"2510.{first + n:05}" for n in range(count)],
            "title": [f"On {WORDS[topic]} {n}" for n, topic in enumerate(topics)],
            "abstract": [" ".join(words) for words in drawn],
            "all_categories": names,
        }
    )


def save_model(folder: Path, *, reference: int = 3000, strength: float = 6.0) -> TextClassifier:
    """A linear model that goes by the words speech and vision, with what it did on test papers.

    reference: the number of these; 0: there is no record.
    """
    columns = 2 + len(WORDS)
    dense = np.zeros((columns, 2), np.float32)
    dense[2, 0] = dense[3, 1] = strength
    stored = dense != 0
    weights = Weights(
        stored.sum(1).astype(np.uint16), np.nonzero(stored)[1].astype(np.uint16), dense[stored],
        np.zeros(2, np.float32),
    )  # fmt: skip
    vocabulary = Vocabulary(("<PAD>", "<UNK>", *WORDS))
    tfidf = Tfidf(vocabulary, np.zeros((0, 2), np.int32), np.ones(columns, np.float32))
    config = LinearConfig(list(CLASSES), "softmax", TOKEN_PATTERN)
    origin = Origin({"a.csv": 30}, 30, "2025-01", "2025-08", "2025-09-01")
    classifier = LinearClassifier(config, tfidf, weights, None, origin)
    classifier.save(folder)
    if reference:
        papers = some_papers(reference, seed=99)
        labels = LabelSet(CLASSES, categories={name: (name,) for name in CLASSES})
        digest = checkpoint.digest(folder)
        record = reference_of(classifier, papers, labels, predict(classifier, papers), digest)
        write_json(folder / "reference.json", record.to_json())
    return classifier
