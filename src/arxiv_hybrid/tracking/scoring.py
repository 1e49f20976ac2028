"""MLflow's own parser, for the requests that `serving.papers` leaves to it."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from arxiv_hybrid.inference.texts import texts
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.tracking.store import import_mlflow, one_line

MAX_DEPTH = 16  # of nested lists and objects in a request; records need 4
JSON = "application/json"

Papers = list[tuple[str, str]]


class MalformedError(Exception):
    """A request that cannot be answered: the reason, in one line, and the HTTP status."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(" ".join(reason.split()))
        self.status = status


class _Reader:
    """What MLflow calls with the table that it has read and checked."""

    def __init__(self) -> None:
        self.papers: Papers = []

    def predict(self, table: pd.DataFrame) -> list[Any]:
        """Keep the papers of the table; UserError if a title or abstract is not a text."""
        self.papers = list(zip(texts(table, "title"), texts(table, "abstract"), strict=True))
        return []


class MlflowParser:
    """Reads requests as MLflow's scoring server does for a model of titles and abstracts.

    Its forms are `dataframe_split`, `dataframe_records`, `instances`, `inputs`, CSV and Parquet.
    """

    def __init__(self) -> None:
        mlflow = import_mlflow()
        from mlflow.models import Model, ModelSignature
        from mlflow.pyfunc import scoring_server
        from mlflow.types import ColSpec, DataType, Schema

        columns: list[Any] = [ColSpec(DataType.string, name) for name in ("title", "abstract")]
        self._mlflow = mlflow
        self._invocations = scoring_server.invocations
        self._schema = Schema(columns)
        self._model = Model(signature=ModelSignature(inputs=self._schema))

    def papers(self, body: bytes, content_type: str) -> Papers:
        """The titles and abstracts in a request; MalformedError if MLflow refuses it."""
        if reason := problem(content_type, body):
            raise MalformedError(reason)
        reader = _Reader()
        model = self._mlflow.pyfunc.PyFuncModel(self._model, reader)
        try:
            answer = self._invocations(body, content_type, model, self._schema)
        except self._mlflow.exceptions.MlflowException as error:
            raise MalformedError(_reason(error)) from None
        except (ValueError, OverflowError, RecursionError, TypeError, KeyError) as error:
            raise MalformedError(f"the request cannot be read: {one_line(error)}") from None
        if answer.status != 200:
            raise MalformedError(answer.response, answer.status)
        return reader.papers


def _reason(error: Any) -> str:
    """MLflow's message without the data, which stands before it."""
    cause = error.__context__
    if isinstance(cause, UserError):
        return str(cause)
    return str(error.message).rpartition("\nError: ")[-1][:2000]


def problem(content_type: str, body: bytes) -> str | None:
    """What is wrong with a request before its papers are looked at; None if nothing is."""
    kind = content_type.split(";")[0].strip()
    if not kind:
        return f"the header Content-Type is missing; use {JSON} or text/csv"
    if kind != JSON:
        return None
    try:
        content = json.loads(body)
    except RecursionError:
        return f"the JSON is nested deeper than {MAX_DEPTH} levels"
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        return f"the body is not valid JSON: {one_line(error)}"
    except ValueError:  # Python's limit
        return "a number in the JSON has too many digits"
    level = [content]
    for _ in range(MAX_DEPTH):
        level = [item for value in level for item in _items(value)]
    return f"the JSON is nested deeper than {MAX_DEPTH} levels" if level else None


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
