"""Serve the champion, or the last trained model, by MLflow's scoring server; `make serve`."""

import os
from argparse import ArgumentParser

from _stage import MODEL, ROOT, run

from arxiv_hybrid.params import Params
from arxiv_hybrid.tracking.run import serving
from arxiv_hybrid.inference import checkpoint

NAME = "arxiv-hybrid"  # where tracking.register_as says no other


def digest() -> str:
    checkpoint.load(MODEL)  # a model that is missing or damaged is told before a server starts
    return checkpoint.digest(MODEL)


def main(params: Params, host: str, port: int) -> None:
    store, address = serving(ROOT, params.tracking.register_as or NAME, digest)
    print(f"{address} -> http://{host}:{port}/invocations", flush=True)
    command = ["mlflow", "models", "serve", "-m", address, "--env-manager", "local"]
    os.execvpe(  # noqa: S606 (MLflow's own server takes this process's place)
        command[0], [*command, "--host", host, "--port", str(port)], {**os.environ, **store}
    )


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5001)
    chosen = parser.parse_args()
    run(lambda params: main(params, chosen.host, chosen.port), quiet=True)
