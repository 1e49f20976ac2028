"""`serve`: the champion, or the last trained model, behind MLflow's scoring server."""

from __future__ import annotations

from argparse import Namespace

from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.params import load
from arxiv_hybrid.paths import MODEL, PARAMS, repository_root
from arxiv_hybrid.tracking import find_model_to_serve, server

REGISTERED_NAME = "arxiv-hybrid"  # unless tracking.register_as names another


def run(options: Namespace) -> None:
    """Serve until the process is stopped; UserError if there is no model, or the port is in use."""
    name = load(PARAMS).tracking.register_as or REGISTERED_NAME
    with server.listen(options.host, options.port) as listener:
        model = find_model_to_serve(repository_root(), name, _checked_digest)
        print(f"{model.uri} -> http://{options.host}:{options.port}/invocations", flush=True)
        server.serve(model, listener)


def _checked_digest() -> str:
    """The digest of the last trained model, after checking that the model can be loaded."""
    checkpoint.load(MODEL)
    return checkpoint.digest(MODEL)
