"""`serve`: the champion, or the last trained model, behind MLflow's scoring server."""

from __future__ import annotations

import os
from argparse import Namespace

from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.params import load
from arxiv_hybrid.paths import MODEL, PARAMS, repository_root
from arxiv_hybrid.tracking import find_model_to_serve

REGISTERED_NAME = "arxiv-hybrid"  # unless tracking.register_as names another


def run(options: Namespace) -> None:
    """Replace this process with the server; UserError if there is no model to serve."""
    name = load(PARAMS).tracking.register_as or REGISTERED_NAME
    model = find_model_to_serve(repository_root(), name, _checked_digest)
    print(f"{model.uri} -> http://{options.host}:{options.port}/invocations", flush=True)
    command = model.command(options.host, options.port)
    os.execvpe(command[0], command, model.environment())  # noqa: S606 (MLflow's own server)


def _checked_digest() -> str:
    """The digest of the last trained model, after checking that the model can be loaded."""
    checkpoint.load(MODEL)
    return checkpoint.digest(MODEL)
