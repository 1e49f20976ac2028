"""The scoring server: status 400 and a reason for every request that is not one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from untrained_model import CLASSES, log_untrained_model

from arxiv_hybrid.params import Params
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.tracking import ModelToServe, server

JSON = "application/json"
PAPER = {"title": "Speech", "abstract": "We present a corpus."}


@pytest.fixture(scope="module")
def url(tiny_params: Params, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server for a small model."""
    import mlflow
    import uvicorn

    root = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        log_untrained_model(tiny_params, root, seed=0)
    (description,) = (root / "mlartifacts").rglob("MLmodel")
    app = server.scoring_app(mlflow.pyfunc.load_model(str(description.parent)))
    with server.listen("127.0.0.1", 0) as listener:
        running = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/invocations"
        running.should_exit = True
        thread.join()


def post(url: str, body: str | bytes, kind: str | None = JSON) -> requests.Response:
    headers = {"Content-Type": kind} if kind else {}
    return requests.post(url, data=body, headers=headers, timeout=60)


def records(*papers: Any) -> str:
    return json.dumps({"dataframe_records": papers})


@pytest.mark.filterwarnings("default")
def test_papers_are_classified(url: str) -> None:
    answer = post(url, records(PAPER, PAPER))
    assert answer.status_code == 200
    assert [row["category"] in CLASSES for row in answer.json()["predictions"]] == [True, True]
    csv = post(url, "title,abstract\nSpeech,We present a corpus.\n", "text/csv")
    assert csv.json()["predictions"][0]["category"] == answer.json()["predictions"][0]["category"]
    assert requests.get(url.replace("invocations", "ping"), timeout=60).status_code == 200


DEEP = "[" * 100_000 + "]" * 100_000
DIGITS = "9" * 5_000


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (DEEP, "nested deeper"),
        (f'{{"dataframe_records": {DEEP[99_950:100_050]}}}', "nested deeper"),
        ('{"a":' * 900 + "1" + "}" * 900, "nested deeper"),
        (f'{{"dataframe_records": [{{"title": {DIGITS}, "abstract": "x"}}]}}', "digits"),
        (f'{{"dataframe_records": [{{"title": "x", "abstract": {DIGITS[:4000]}}}]}}', ""),
        ('{"dataframe_records": [{"title": 1e999, "abstract": "x"}]}', ""),
        ('{"dataframe_records": [{"title": NaN, "abstract": "x"}]}', ""),
        ('{"dataframe_records": [{"title": ["x"], "abstract": {"y": 1}}]}', ""),
        ('{"dataframe_records": [1, 2]}', ""),
        ('{"dataframe_records": 3}', ""),
        ('{"dataframe_records": "x"}', ""),
        ('{"dataframe_records": null}', ""),
        ('{"dataframe_records": {}}', ""),
        ('{"dataframe_split": {"columns": ["title"], "data": [[1, 2]]}}', ""),
        ('{"dataframe_split": [1]}', ""),
        ('{"instances": [[1], [1, 2]]}', ""),
        ('{"inputs": {"title": ["a", "b"], "abstract": ["c"]}}', ""),
        ("[]", ""),
        ("null", ""),
        ("1", ""),
        ("", "JSON"),
        ("{", "JSON"),
        (b"\xff\xfe{}", ""),
        (b'{"dataframe_records": [{"title": "\xff", "abstract": "x"}]}', "JSON"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.filterwarnings("default")
def test_malformed_json_is_status_400(url: str, body: str | bytes, reason: str) -> None:
    answer = post(url, body)
    assert answer.status_code == 400, answer.text[:500]
    assert reason in answer.json()["message"]


@pytest.mark.parametrize(
    ("body", "kind", "statuses"),
    [
        (records(PAPER), None, {400}),
        (records(PAPER), ";", {400}),
        (records(PAPER), "text/plain", {415}),
        (records(PAPER), "application/json; charset=latin-1", {415}),
        ("", "text/csv", {400}),
        (b"\xff\xfe", "text/csv", {400}),
        ('title,abstract\n"a,b\n', "text/csv", {400}),
        (b"no parquet", "application/vnd.apache.parquet", {400}),
    ],
)
@pytest.mark.filterwarnings("default")
def test_other_malformed_requests_are_refused(
    url: str, body: str | bytes, kind: str | None, statuses: set[int]
) -> None:
    answer = post(url, body, kind)
    assert answer.status_code in statuses, answer.text[:500]


@pytest.mark.filterwarnings("default")
def test_a_surrogate_is_a_character_like_any_other(url: str) -> None:
    body = '{"dataframe_records": [{"title": "\\ud800 speech", "abstract": "x"}]}'
    assert post(url, body).status_code in {200, 400}


def test_a_model_whose_files_are_gone_is_one_line(tmp_path: Path) -> None:
    model = ModelToServe(f"runs:/{'0' * 32}/model", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with (
        server.listen("127.0.0.1", 0) as listener,
        pytest.raises(UserError, match=r"runs:/0+/model: cannot be loaded: "),
    ):
        server.serve(model, listener)
