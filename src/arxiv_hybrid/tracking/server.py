"""MLflow's scoring server for a logged model, with status 400 for every malformed request."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.tracking.registry import ModelToServe
from arxiv_hybrid.tracking.store import import_mlflow, one_line

MAX_DEPTH = 16  # of nested lists and objects in a request; records need 4
_MEDIA_TYPE = "application/json"


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on an address; UserError if it is in use or not this machine's."""
    try:
        if not 0 <= port <= 65535:
            raise OverflowError("a port is a number from 1 to 65535")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError, UnicodeError) as error:
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else getattr(error, "strerror", None) or error
        raise UserError(
            f"{host}:{port}: cannot listen there: {reason}; use another --host or --port"
        ) from None


def serve(model: ModelToServe, listener: socket.socket) -> None:
    """Answer requests on `listener` until the process is told to stop.

    Raises UserError if the model cannot be loaded.
    """
    mlflow = import_mlflow()
    import uvicorn

    mlflow.set_tracking_uri(model.store)
    try:
        loaded = mlflow.pyfunc.load_model(model.uri)
    except Exception as error:  # files that are gone or damaged, a server that does not answer
        raise UserError(f"{model.uri}: cannot be loaded: {one_line(error)}") from None
    config = uvicorn.Config(scoring_app(loaded), log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


def scoring_app(model: Any) -> Any:
    """MLflow's ASGI application for a loaded model, behind a check of each request."""
    from fastapi import Request, Response
    from mlflow.pyfunc import scoring_server

    app = scoring_server.init(model)

    async def check(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        reason = None
        if request.method == "POST":
            kind = request.headers.get("content-type", "")
            reason = problem(kind, await request.body())
        try:
            if reason is None:
                return await answer(request)
        except (ValueError, OverflowError, RecursionError, TypeError, KeyError) as error:
            reason = f"the request cannot be read: {one_line(error)}"
        content = {"error_code": "BAD_REQUEST", "message": reason}
        return Response(json.dumps(content), status_code=400, media_type=_MEDIA_TYPE)

    app.middleware("http")(check)
    return app


def problem(content_type: str, body: bytes) -> str | None:
    """What is wrong with a request before its papers are looked at; None if nothing is."""
    kind = content_type.split(";")[0].strip()
    if not kind:
        return f"the header Content-Type is missing; use {_MEDIA_TYPE} or text/csv"
    if kind != _MEDIA_TYPE:
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
