"""The papers in a request, and the answers, in the usual forms of MLflow's protocol.

Only plain requests are read here, without pandas. Everything else is left to MLflow's own parser
(`tracking.scoring`), so that each odd request is answered as MLflow does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson
import pandas as pd

from arxiv_hybrid.inference.classifier import TextClassifier
from arxiv_hybrid.serving.batcher import Paper

TEXTS = ("title", "abstract")
_LISTS = ("dataframe_records", "instances", "inputs")
_SPLIT = {"columns", "data", "index"}
_KEYS = set(TEXTS)


def plain_papers(body: bytes) -> list[Paper] | None:
    """The papers in a JSON body; None if it is malformed, or has another form than usual."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(content, dict) or len(content) != 1:
        return None
    ((kind, value),) = content.items()
    if kind in _LISTS and isinstance(value, list):
        return _of_records(value, more=kind == "dataframe_records")
    if kind == "dataframe_split" and isinstance(value, dict):
        return _of_split(value)
    if kind == "inputs" and isinstance(value, dict) and value.keys() == _KEYS:
        return _of_columns(*(value[name] for name in TEXTS))
    return None


def _of_records(rows: list[Any], *, more: bool) -> list[Paper] | None:
    """The papers of JSON objects; more: whether they may have more keys, which are ignored."""
    for row in rows:
        if not (isinstance(row, dict) and row.keys() >= _KEYS and (more or len(row) == len(TEXTS))):
            return None
    return _of_columns([row["title"] for row in rows], [row["abstract"] for row in rows])


def _of_split(table: dict[str, Any]) -> list[Paper] | None:
    columns, rows = table.get("columns"), table.get("data")
    if not (isinstance(columns, list) and isinstance(rows, list)):
        return None
    if not (all(type(name) is str for name in columns) and set(columns) >= _KEYS):
        return None
    index = table.get("index", rows)
    if not (isinstance(index, list) and len(index) == len(rows) and table.keys() <= _SPLIT):
        return None
    places = [columns.index(name) for name in TEXTS]
    if len(set(columns)) < len(columns):
        return None
    if not all(isinstance(row, list) and len(row) == len(columns) for row in rows):
        return None
    return _of_columns(*([row[place] for row in rows] for place in places))


def _of_columns(titles: Any, abstracts: Any) -> list[Paper] | None:
    """The papers of two equally long lists of texts."""
    if not (isinstance(titles, list) and isinstance(abstracts, list)):
        return None
    if not titles or len(titles) != len(abstracts):
        return None
    papers = list(zip(titles, abstracts, strict=True))
    return papers if all(type(text) is str for paper in papers for text in paper) else None


def answering(classifier: TextClassifier) -> Callable[[list[Paper]], list[bytes]]:
    """A function that classifies papers and returns the JSON object of each."""

    def classify(papers: list[Paper]) -> list[bytes]:
        table = classifier.classify(pd.DataFrame(papers, columns=list(TEXTS)))
        names = table.columns.tolist()
        columns = (table[name].tolist() for name in names)
        return [
            orjson.dumps(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)
        ]

    return classify


def predictions(answers: Iterable[bytes]) -> bytes:
    """The body of a response: `{"predictions": [...]}`."""
    return b'{"predictions":[' + b",".join(answers) + b"]}"
