"""The scoring server: MLflow's protocol, and a status and a reason for every other request."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import requests
from running_server import running
from untrained_model import CLASSES, save_untrained_model

from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.checkpoint import Classifier
from arxiv_hybrid.serving import app, batcher
from arxiv_hybrid.serving.app import App
from arxiv_hybrid.serving.server import SILENT_SECONDS, make_server

JSON = "application/json"
PAPER = {"title": "Deep speech", "abstract": "We present a corpus."}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    folder = tmp_path_factory.mktemp("served") / "model"
    save_untrained_model(folder, seed=0)
    return checkpoint.load(folder)


@pytest.fixture(scope="module")
def served(classifier: Classifier) -> Iterator[tuple[str, App]]:
    with running(classifier) as (root, application):
        yield root, application


@pytest.fixture
def url(served: tuple[str, App]) -> str:
    return f"{served[0]}/invocations"


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


@pytest.mark.filterwarnings("default")
def test_every_form_gets_the_answer_of_the_classifier(url: str, classifier: Classifier) -> None:
    texts = [(f"deep {'words ' * n}", "corpus " * n) for n in range(1, 20)]
    table = pd.DataFrame(texts, columns=["title", "abstract"])
    expected = json.loads(classifier.classify(table).to_json(orient="records", double_precision=15))
    rows = table.to_dict("records")
    columns = table.to_dict("list")
    split = {"columns": ["title", "abstract"], "data": [list(text) for text in texts]}
    bodies = [{"dataframe_records": rows}, {"instances": rows}, {"inputs": rows},
              {"inputs": columns}, {"dataframe_split": split}]  # fmt: skip
    answers = [post(url, json.dumps(body)) for body in bodies]
    answers.append(post(url, table.to_csv(index=False), "text/csv"))
    for answer in answers:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == JSON
        found = answer.json()
        assert found.keys() == {"predictions"}
        assert [list(row) for row in found["predictions"]] == [list(row) for row in expected]
        for row, wanted in zip(found["predictions"], expected, strict=True):
            assert row == pytest.approx(wanted, abs=1e-6)


@pytest.mark.filterwarnings("default")
def test_clients_at_the_same_time_get_their_own_answers(url: str, classifier: Classifier) -> None:
    texts = ["deep " * (n % 7) + "words" for n in range(60)]
    papers = [{"title": text, "abstract": ""} for text in texts]
    with ThreadPoolExecutor(12) as pool:
        bodies = [records(paper) if n % 10 else "{" for n, paper in enumerate(papers)]
        answers = list(pool.map(lambda body: post(url, body), bodies))
    direct = classifier.classify(pd.DataFrame(papers))
    for number, answer in enumerate(answers):
        if number % 10 == 0:
            assert answer.status_code == 400
            continue
        (row,) = answer.json()["predictions"]
        assert row["cs.CL"] == pytest.approx(direct["cs.CL"][number], abs=1e-6)


@pytest.mark.parametrize(
    ("method", "path", "status", "more"),
    [
        ("GET", "/ping", 200, {}),
        ("HEAD", "/ping", 200, {}),
        ("GET", "/version", 200, {}),
        ("GET", "/", 200, {"Content-Type": "text/html; charset=utf-8"}),
        ("GET", "/invocations", 405, {"allow": "POST"}),
        ("POST", "/ping", 405, {"allow": "GET"}),
        ("PUT", "/explain", 405, {"allow": "POST"}),
        ("GET", "/nothing", 404, {"Content-Type": JSON}),
        ("GET", "/../etc/passwd", 404, {}),
    ],
)
def test_other_addresses(
    served: tuple[str, App], method: str, path: str, status: int, more: dict[str, str]
) -> None:
    answer = requests.request(method, served[0] + path, timeout=60)
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in more} == more
    if status >= 400:
        assert answer.json()["message"]


def test_health_says_model_and_load(served: tuple[str, App], classifier: Classifier) -> None:
    def health() -> dict[str, Any]:
        content: dict[str, Any] = requests.get(f"{served[0]}/health", timeout=60).json()
        return content

    before = health()
    assert post(f"{served[0]}/invocations", records(PAPER, PAPER, PAPER)).status_code == 200
    after = health()
    assert after["papers"] == before["papers"] + 3
    assert after["requests"] == before["requests"] + 2
    assert after["uptime"] >= before["uptime"]
    assert after.items() >= {
        "status": "ok", "model": "tested", "origin": str(classifier), "classes": 3, "waiting": 0,
        "workers": 1, "ready": 1,
    }.items()  # fmt: skip


def test_limits_have_their_status(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    too_long = records({"title": "x" * 3000, "abstract": ""})
    monkeypatch.setattr(app, "MOST_BYTES", 2000)
    assert "2,000 bytes" in refused(post(url, too_long), 413)

    def parts() -> Iterator[bytes]:
        yield b"x" * 1500
        yield b"x" * 1500

    chunked = requests.post(url, data=parts(), headers={"Content-Type": JSON}, timeout=60)
    assert "2,000 bytes" in refused(chunked, 413)
    monkeypatch.setattr(app, "MOST_BYTES", 1 << 20)
    monkeypatch.setattr(app, "MOST_BYTES_HELD", 2000)
    assert "waiting" in refused(post(url, too_long), 503)
    monkeypatch.setattr(app, "MOST_BYTES_HELD", 1 << 20)
    monkeypatch.setattr(app, "MOST_PAPERS", 2)
    assert "2 papers" in refused(post(url, records(PAPER, PAPER, PAPER)), 413)
    monkeypatch.setattr(app, "MOST_PARSED", 0)
    assert "waiting" in refused(post(url, "{"), 503)
    monkeypatch.setattr(batcher, "MOST_WAITING", 1)
    busy = post(url, records(PAPER, PAPER))
    assert "waiting" in refused(busy, 503)
    assert busy.headers["Retry-After"] == "1"
    assert post(url, records(PAPER)).status_code == 200


def refused(answer: requests.Response, status: int) -> str:
    assert answer.status_code == status
    return str(answer.json()["message"])


def test_a_body_must_arrive_in_time_and_slow_clients_hold_up_no_one(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "READ_SECONDS", 0.2)
    host, port = url.split("/")[2].split(":")
    slow = []
    for start in (b"", b"POST /invoc", b"POST /invocations HTTP/1.1\r\nHost: x\r\n"):
        slow.append(socket.create_connection((host, int(port))))
        slow[-1].sendall(start)
    waiting = socket.create_connection((host, int(port)))
    waiting.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
    assert post(url, records(PAPER)).status_code == 200
    waiting.settimeout(30)
    answer = b""
    while part := waiting.recv(1 << 16):  # until the server closes the connection
        answer += part
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"within 0.2 seconds" in answer
    for connection in (*slow, waiting):
        connection.close()


@dataclass(eq=False)
class Connection:
    """A connection as uvicorn knows it: its last request, and whether it was cut."""

    cycle: Any = None
    cut: bool = False

    @property
    def transport(self) -> Any:
        return SimpleNamespace(abort=lambda: setattr(self, "cut", True))


def test_connections_without_a_request_are_closed(served: tuple[str, App]) -> None:
    answering, answered = (SimpleNamespace(response_complete=done) for done in (False, True))
    silent, busy, unread, active = (Connection(c) for c in (None, answering, answered, answered))
    uvicorn = make_server(served[1])
    uvicorn.server_state.connections = {silent, busy, unread, active}
    for second in range(0, 80, 10):
        active.cycle = SimpleNamespace(response_complete=True)  # the next request
        uvicorn._close_silent(float(second))
        assert not silent.cut or second > SILENT_SECONDS
    cut = [connection.cut for connection in (silent, busy, unread, active)]
    assert cut == [True, False, True, False]


def test_a_compressed_body_is_status_415(url: str) -> None:
    headers = {"Content-Type": JSON, "Content-Encoding": "gzip"}
    assert "Content-Encoding" in refused(requests.post(url, b"x", headers=headers, timeout=60), 415)


def test_a_model_that_fails_is_status_500_and_the_server_goes_on(
    tmp_path: Path,
) -> None:
    save_untrained_model(tmp_path, seed=0)
    damaged = checkpoint.load(tmp_path)
    bias = list(damaged.model.parameters())[-1]
    with running(damaged) as (root, _):
        ok = post(f"{root}/invocations", records(PAPER))
        bias.data[:] = float("nan")
        assert "not finite" in refused(post(f"{root}/invocations", records(PAPER)), 500)
        bias.data[:] = 0.0
        assert ok.status_code == post(f"{root}/invocations", records(PAPER)).status_code == 200


def test_when_it_stops_requests_are_answered_and_connections_closed(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    classify = Classifier.classify

    def slowly(self: Classifier, papers: pd.DataFrame) -> pd.DataFrame:
        assert gate.wait(20)
        return classify(self, papers)

    monkeypatch.setattr(Classifier, "classify", slowly)
    with ThreadPoolExecutor(8) as pool:
        with running(classifier) as (root, application):
            asked = [pool.submit(post, f"{root}/invocations", records(PAPER)) for _ in range(8)]
            while requests.get(f"{root}/health", timeout=60).json()["waiting"] < 8:
                pass
            threading.Timer(0.2, gate.set).start()  # after the server was told to stop
        answers = [request.result() for request in asked]
    assert application.draining
    assert [answer.status_code for answer in answers] == [200] * 8
    assert {answer.headers["Connection"] for answer in answers} == {"close"}
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{root}/ping", timeout=60)
