"""Plain requests are read without MLflow, and mean the same as by MLflow's parser."""

from __future__ import annotations

import json
from typing import Any

import pytest

from arxiv_hybrid.serving.papers import plain_papers
from arxiv_hybrid.tracking.scoring import JSON, MalformedError, MlflowParser

PAPER = {"title": "Speech", "abstract": "We present"}
SPLIT = {"columns": ["abstract", "title"], "data": [["We present", "Speech"]]}
PLAIN = [
    {"dataframe_records": [PAPER]},
    {"dataframe_records": [PAPER, {**PAPER, "title": ""}]},
    {"dataframe_records": [{**PAPER, "id": 7, "authors": ["x", {"y": None}]}]},
    {"dataframe_records": [{"title": "NaN", "abstract": "2020-01-01"}]},
    {"dataframe_records": [{"title": "\u4e2d\u6587 \U0001f600", "abstract": "a\tb\nc"}]},
    {"instances": [PAPER, PAPER]},
    {"inputs": [PAPER]},
    {"inputs": {"title": ["a", "b"], "abstract": ["c", ""]}},
    {"dataframe_split": SPLIT},
    {"dataframe_split": {**SPLIT, "index": [7]}},
    {"dataframe_split": {"columns": ["id", "title", "abstract"], "data": [[1, "a", "b"]]}},
]
ODD = [  # legal for MLflow
    {"dataframe_records": [PAPER], "params": {}},
    {"dataframe_records": [PAPER], "more": 1},
    {"instances": [{**PAPER, "id": 1}]},
    {"inputs": {"title": "a", "abstract": "b"}},
    {"inputs": {"title": ["a"], "abstract": ["b"], "id": [1]}},
    {"dataframe_split": {**SPLIT, "index": None}},
    {"dataframe_split": {**SPLIT, "index": [7, 8]}},
    {"dataframe_split": {**SPLIT, "data": []}},
    {"inputs": {"title": [], "abstract": []}},
]
MALFORMED = [
    {},
    [],
    3,
    None,
    {"dataframe_records": []},
    {"dataframe_records": [3]},
    {"dataframe_records": PAPER},
    {"dataframe_records": [{"title": "a"}]},
    {"dataframe_records": [{**PAPER, "title": None}]},
    {"dataframe_records": [{**PAPER, "abstract": 3}]},
    {"dataframe_records": [PAPER, {"title": "a"}]},
    {"dataframe_records": [PAPER], "instances": [PAPER]},
    {"dataframe_split": {**SPLIT, "data": [["a"]]}},
    {"dataframe_split": {**SPLIT, "data": [[1, "a"]]}},
    {"dataframe_split": {"columns": ["title", "title", "abstract"], "data": [["a", "b", "c"]]}},
    {"dataframe_split": {"data": [["a", "b"]]}},
    {"inputs": {"title": ["a", "b"], "abstract": ["c"]}},
    {"inputs": {"title": ["a"]}},
    {"papers": [PAPER]},
]


@pytest.fixture(scope="module")
def parser() -> MlflowParser:
    return MlflowParser()


def encoded(content: Any) -> bytes:
    return json.dumps(content).encode()


@pytest.mark.parametrize("content", PLAIN, ids=encoded)
@pytest.mark.filterwarnings("default")
def test_plain_requests_are_read_as_mlflow_reads_them(content: Any, parser: MlflowParser) -> None:
    papers = plain_papers(encoded(content))
    assert papers
    assert papers == parser.papers(encoded(content), JSON)


@pytest.mark.parametrize("content", ODD, ids=encoded)
@pytest.mark.filterwarnings("default")
def test_odd_requests_are_left_to_mlflow(content: Any, parser: MlflowParser) -> None:
    assert plain_papers(encoded(content)) is None
    assert isinstance(parser.papers(encoded(content), JSON), list)


@pytest.mark.parametrize("content", MALFORMED, ids=encoded)
@pytest.mark.filterwarnings("default")
def test_malformed_requests_are_refused_with_one_line(content: Any, parser: MlflowParser) -> None:
    assert plain_papers(encoded(content)) is None
    with pytest.raises(MalformedError) as error:
        parser.papers(encoded(content), JSON)
    assert error.value.status == 400
    assert str(error.value)
    assert "\n" not in str(error.value)
    assert "Traceback" not in str(error.value)
