"""A `python` that starts at once: a copy of a process that has loaded the libraries already.

With few papers, most of a stage's time goes into imports. The folder of `warm_python`, first in
PATH, has a `python` and a `dvc` that ask a server for a copy of its process. The copy gets the
command, folder, environment, files and signals of its client, and ends with it; what it starts by
`sys.executable` is a copy, too. Settings that libraries read when they are imported are the
server's. DVC's copies read its YAML files, a hundred times in each run, and write dvc.lock with
libyaml. Tests of those, of kills and of processes that start others use the real programs, and so
does the first run of the pipeline.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import re
import runpy
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
import weakref
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TextIO

import yaml
from filelock import FileLock

LIBRARIES = ("torch._dynamo", "pandas", "pandera.pandas", "pyarrow.parquet", "pyarrow.dataset",
             "sklearn.feature_extraction.text", "sklearn.linear_model", "sklearn.metrics",
             "safetensors.torch", "numba", "duckdb", "matplotlib.figure",
             "matplotlib.backends.backend_agg", "pydantic", "jinja2", "filelock",
             "email.policy", "mlflow.store.tracking.sqlalchemy_store", "alembic.command", "git",
             "networkx", "hydra", "ruamel.yaml", "celery", "kombu.transport.filesystem", "dvc.cli",
             "dvc.repo", "dvc.repo.experiments", "dvc.repo.experiments.queue.celery",
             "dvc.utils.hydra", "dvc.compare", "dvc_render.vega")  # fmt: skip
READ_OFTEN = ("dvc.yaml", "params.yaml", "params.resolved.yaml")
KEPT = ("null", "timestamp", "merge")  # as PyYAML resolves them
SETTINGS = {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
CLIENT = """\
#!{python} -IS
import json, os, signal, socket, sys
program, *arguments = sys.argv
if os.path.basename(program) == "dvc":
    arguments = ["-m", "dvc", *arguments]
elif not arguments or (arguments[0][0] == "-" and arguments[0] not in ("-m", "-c")):
    os.execv({python!r}, [{python!r}, *arguments])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
socket.send_fds(server, [b"f"], [0, 1, 2])
server.sendall(json.dumps([arguments, os.getcwd(), dict(os.environ)]).encode() + b"\\n")
copy = int.from_bytes(server.recv(4), "little")
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: os.kill(copy, number))
status = os.waitstatus_to_exitcode(int.from_bytes(server.recv(4), "little"))
if status < 0:
    signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
sys.exit(status)
"""


@cache
def warm_python() -> Path:
    """The folder of `python` and `dvc`, whose server is started first.

    All workers of pytest share one: it ends with the process that started them.
    """
    workers = "PYTEST_XDIST_WORKER" in os.environ
    run = os.environ["PYTEST_XDIST_TESTRUNUID"] if workers else os.getpid()
    folder = Path(tempfile.gettempdir(), f"warm-python-{run}")
    folder.mkdir(mode=stat.S_IRWXU, exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "python").exists():
            start_server(folder, os.getppid() if workers else os.getpid())
    return folder


def start_server(folder: Path, user: int) -> None:
    """Start a server that ends with the process `user`, and write its clients."""
    address = str(folder / "server")
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("DVC_", "MLFLOW_", "PYTHON"))}  # fmt: skip
    server = subprocess.Popen(
        [sys.executable, "-P", __file__, address, str(user)], env={**kept, **SETTINGS},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    atexit.register(server.poll)  # refers to it until this process ends: Python warns otherwise
    assert server.stdout is not None
    with server.stdout as printed:
        assert printed.readline() == b"ready\n"
    for name in ("dvc", "python"):
        client = folder / name
        client.write_text(CLIENT.format(python=sys.executable, address=address))
        client.chmod(stat.S_IRWXU)


def serve(address: str, user: int) -> list[str]:
    """Fork for each client, until `user` has ended; in the copy, return its arguments."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    ended = os.pidfd_open(user)
    print("ready", flush=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that watch copies
    while ended not in select.select([listener, ended], [], [])[0]:
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            os.close(ended)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return start_copy(client)
        client.close()
    shutil.rmtree(Path(address).parent, ignore_errors=True)
    os._exit(0)


def start_copy(client: socket.socket) -> list[str]:
    """Fork once more: this process watches the copy and its client; the copy returns."""
    client.setblocking(True)
    _, files, *_ = socket.recv_fds(client, 1, 3)
    with client.makefile("rb") as stream:
        arguments, folder, environment = json.loads(stream.readline())
    if copy := os.fork():
        watch(copy, client)
    os.setpgid(0, 0)
    client.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    sys.executable = str(Path(sys.argv[1]).with_name("python"))
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return arguments


def watch(copy: int, client: socket.socket) -> None:
    """Tell the client its copy's id and status; if the client is gone, kill the copy's group."""
    client.sendall(struct.pack("<i", copy))
    ended = os.pidfd_open(copy)
    readable, _, _ = select.select([ended, client], [], [])
    if ended not in readable:
        os.killpg(copy, signal.SIGKILL)
    _, status = os.waitpid(copy, 0)
    client.sendall(struct.pack("<i", status))
    os._exit(0)


def run(arguments: list[str]) -> NoReturn:
    """Do what `python` does with these arguments, and end without unloading the libraries."""
    status: object = 0
    try:
        run_main(arguments)
    except SystemExit as ended:
        status = ended.code or 0
    except BaseException as error:
        traceback.print_exc()
        status = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    if not isinstance(status, int):
        print(status, file=sys.stderr)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def run_main(arguments: list[str]) -> None:
    """Run the code, module or script that these arguments name, as `__main__`."""
    if path := os.environ.get("PYTHONPATH"):
        sys.path[:0] = path.split(os.pathsep)
    first, *rest = arguments
    if first == "-c":
        code, *rest = rest
        sys.argv, names = ["-c", *rest], {"__name__": "__main__"}
        sys.path.insert(0, "")
        exec(compile(code, "<string>", "exec"), names)
    elif first == "-m":
        sys.argv = rest
        sys.path.insert(0, os.getcwd())
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [first, *rest]
        sys.path.insert(0, str(Path(first).resolve().parent))
        runpy.run_path(first, run_name="__main__")


def read_yaml_fast() -> None:
    """Let DVC parse its files, and write dvc.lock, with libyaml: ten times as fast."""
    from dvc.utils import strictyaml
    from dvc.utils.serialize import _yaml

    class Loader(yaml.CSafeLoader):
        """Scalars as in YAML 1.2: `off` is a text, and 1e-05 a number."""

    class Dumper(yaml.CSafeDumper):
        """Quotes what `Loader` would take for something else."""

    prefix = "tag:yaml.org,2002:"
    digits, power = r"(\.[0-9]+|[0-9]+(\.[0-9]*)?)", r"([eE][-+]?[0-9]+)?"
    patterns = {
        "bool": ("true|True|TRUE|false|False|FALSE", "tTfF"),
        "int": ("[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
        "float": (rf"[-+]?({digits}{power}|\.(inf|Inf|INF))|\.(nan|NaN|NAN)", "-+.0123456789"),
    }
    for each in (Loader, Dumper):
        each.yaml_implicit_resolvers = {
            first: [(tag, pattern) for tag, pattern in found if tag.removeprefix(prefix) in KEPT]
            for first, found in each.yaml_implicit_resolvers.items()
        }
        for tag, (pattern, first) in patterns.items():
            each.add_implicit_resolver(prefix + tag, re.compile(rf"(?:{pattern})\Z"), list(first))
    for kind in (dict, list, str):
        represent = getattr(yaml.representer.SafeRepresenter, f"represent_{kind.__name__}")
        Dumper.add_multi_representer(kind, represent)
    Dumper.add_representer(type(None), lambda *_: yaml.ScalarNode("tag:yaml.org,2002:null", ""))
    parse, dump = _yaml.parse_yaml, _yaml._dump

    def fast_parse(text: str, path: str, typ: str = "safe") -> Any:
        name = os.path.basename(path)
        if name == "dvc.lock" or (name in READ_OFTEN and typ == "safe"):
            return yaml.load(text, Loader) or {}
        return parse(text, path, typ)

    def fast_dump(data: Any, stream: TextIO) -> Any:
        if os.path.basename(getattr(stream, "name", "")) != "dvc.lock":
            return dump(data, stream)
        return yaml.dump(data, stream, Dumper, default_flow_style=False, sort_keys=False)

    _yaml.parse_yaml = strictyaml.parse_yaml = fast_parse
    _yaml._dump = fast_dump


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    import numba
    import PIL.Image

    numba.njit(lambda number: number + 1)(1.0)  # loads what compiles
    PIL.Image.init()
    read_yaml_fast()
    for finalizer in [*weakref.finalize._registry]:  # type: ignore[attr-defined]
        finalizer.atexit = False  # torch would unload its operators at the end of each copy
    gc.collect()
    gc.freeze()
    run(serve(sys.argv[1], int(sys.argv[2])))
