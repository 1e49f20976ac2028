"""No password, token or signature gets into a message, a log or a traceback."""

from __future__ import annotations

import io
import logging
import subprocess
import sys

import pytest

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.redaction import RedactingFilter, redact

HIDDEN = "hunter2hunter2"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("http://me:{}@host:5000/api", "http://***@host:5000/api"),
        ("http://{}@host", "http://***@host"),
        ("postgresql+psycopg2://u:{}@db/x", "postgresql+psycopg2://***@db/x"),
        ("http://me:a/{}@host/x", "http://***@host/x"),
        ("two http://a:{}@x and https://b:{}@y.", "two http://***@x and https://***@y."),
        ("GET /x?page=2&token={}&n=1", "GET /x?page=2&token=***&n=1"),
        ("https://s3/x?X-Amz-Signature={}&X-Amz-Date=1", None),
        ("?access_token={}", "?access_token=***"),
        ("https://blob/x?sv=1&sig={}", "https://blob/x?sv=1&sig=***"),
        ("Authorization: Basic {}", "Authorization: ***"),
        ("{{'Authorization': 'Bearer {}', 'Accept': 'x'}}", None),
        ("sent Bearer {} to it", "sent Bearer *** to it"),
        ('{{"password": "{}", "user": "me"}}', '{{"password": "***", "user": "me"}}'),
        ("Cookie: session={}; a=b", "Cookie: ***"),
        ("password='{}'", "password='***'"),
    ],
)
def test_secrets_are_hidden(text: str, clean: str | None) -> None:
    result = redact(text.format(*[HIDDEN] * text.count("{}")))
    assert HIDDEN not in result
    assert "***" in result
    assert clean is None or result == clean.replace("{{", "{").replace("}}", "}")


@pytest.mark.parametrize(
    "name",
    ["MLFLOW_TRACKING_PASSWORD", "DATABRICKS_TOKEN", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN",
     "AZURE_STORAGE_CONNECTION_STRING", "SOME_API_KEY"],
)  # fmt: skip
def test_values_of_secret_variables_are_hidden(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "p&ss wörd")
    assert redact("login p&ss wörd failed") == "login *** failed"
    assert redact("login p%26ss%20w%C3%B6rd failed") == "login *** failed"


def test_the_password_of_a_tracking_uri_is_hidden_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{HIDDEN}@host")
    assert redact(f"no access for me with {HIDDEN}") == "no access for me with ***"


@pytest.mark.parametrize(
    "text",
    [
        "http://host:5000/api/2.0/mlflow?max_results=5",
        "labels.from=listed, title_tokens=30, design=x, seed: 42",
        "papers.csv: line 3: mail me@example.org",
        "data/raw: cannot be written: No space left on device",
        "the basic idea and the bearer of bad news",
    ],
)
def test_other_texts_stay(text: str) -> None:
    assert redact(text) == text


def test_user_errors_are_clean() -> None:
    assert str(UserError(f"http://me:{HIDDEN}@host: refused")) == "http://***@host: refused"


def test_log_lines_and_their_tracebacks_are_clean() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactingFilter())
    logger = logging.Logger("any")
    logger.addHandler(handler)
    try:
        raise ValueError(f"at http://me:{HIDDEN}@host")
    except ValueError:
        logger.exception("token=%s", HIDDEN)
    text = stream.getvalue()
    assert "token=***" in text
    assert "ValueError: at http://***@host" in text
    assert HIDDEN not in text


def test_tracebacks_of_a_stage_are_clean() -> None:
    code = (
        "from arxiv_hybrid.system.process import prepare_process\nprepare_process()\n"
        f"raise ValueError('http://me:' + '{HIDDEN[:7]}' * 2 + '@host')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: http://***@host\n")
    assert HIDDEN not in done.stderr
