"""Faults on purpose: what is lost, what answers wrongly, and how long the others hold a run up.

    python benchmarks/faults.py [--only kills,dvc,disk,mlflow,models,bombs]

Everything runs in temporary clones with small parameters; only processes started there are ended.
A part is as good as the last column says: it counts what should not have happened. Takes up to
15 minutes on two cores; the table goes to benchmarks/results/faults.md.
"""

import gzip
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import psutil
import requests
import yaml
from runner import ROOT, Stopwatch, markdown, new_parser, select

from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.sources import synthetic
from arxiv_hybrid.system import digests
from arxiv_hybrid.system.errors import UserError, exit_on_user_error
from arxiv_hybrid.system.files import write_text
from arxiv_hybrid.system.nested import deep_merge

SMALL = {
    "epochs": 3,
    "min_steps": 0,
    "batch_size": 16,
    "architecture": {"num_filters": 8, "lstm_hidden": 8},
    "fetch": {"papers": 300},
    "glove": {"dim": 12, "epochs": 1},
    "vocab": {"title_length": 12, "abstract_length": 40},
    "ensemble": {"members": [{"name": "other", "seed": 7}]},
    "evaluate": {"bootstrap": 200},
}
SMALL_ENCODER = {
    "dim": 12, "epochs": 4, "batch_size": 16, "num_filters": 4, "hidden": 8,
    "abstract_length": 40, "min_freq": 2, "min_papers": 10, "validation": 0.2,
    "texts": "texts.csv",
}  # fmt: skip
STAGES = (
    "resolve", "fetch", "split", "audit", "glove", "augment", "vocab", "baseline", "train",
    "evaluate", "train --member other", "ensemble",
)  # fmt: skip
OUTPUTS = ("data", "metrics", "models", "reports", "params.resolved.yaml")
MOMENTS = (0.3, 0.6, 0.9)  # of a command's duration, when it is killed
LEFTOVER = re.compile(r"\..+\.\d+\.tmp")
PATIENCE = 240  # seconds until a command counts as hanging
RANDOM = random.Random(0)
BIN = Path(sys.executable).parent


class Case(NamedTuple):
    """A line of the table; `wrong` lists what should not have happened."""

    what: str
    tried: int
    outcome: str
    wrong: list[str]


class Workspace:
    """A clone with small parameters, in which commands are run and killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_"))}
        identity = {f"GIT_{who}_{what}": "faults@example.org"
                    for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}  # fmt: skip
        self.environment = kept | identity | {
            "PATH": f"{BIN}{os.pathsep}{kept.get('PATH', '')}", "DVC_NO_ANALYTICS": "1",
            "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder / "src"),
        }  # fmt: skip

    def start(self, command: str, log: int = subprocess.DEVNULL, **more: str) -> subprocess.Popen:  # type: ignore[type-arg]
        """Start a command in a session of its own."""
        return subprocess.Popen(
            command.split(), cwd=self.folder, env=self.environment | more, stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def run(self, command: str, **more: str) -> tuple[int, str, float]:
        """Exit status, output and seconds; status -1 if it hangs."""
        with tempfile.TemporaryFile("w+") as log, Stopwatch() as watch:
            process = self.start(command, log.fileno(), **more)
            try:
                status = process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill_all()
                status = -1
            log.seek(0)
            output = log.read()
        return status, output, watch.seconds

    def must(self, command: str) -> float:
        """Seconds of a command that has to succeed."""
        status, output, seconds = self.run(command)
        if status:
            raise SystemExit(f"{command}: status {status}\n{output[-3000:]}")
        return seconds

    def kill_after(self, command: str, seconds: float) -> None:
        """Start a command and kill it, with all that it started, after some seconds."""
        process = self.start(command)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        self.kill_all()
        process.wait()

    def kill_all(self) -> None:
        """Kill every process that works in this clone."""
        for process in psutil.process_iter():
            try:
                if Path(process.cwd()).is_relative_to(self.folder):
                    process.send_signal(signal.SIGKILL)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue

    def files(self, outputs: Iterable[str] = OUTPUTS) -> dict[str, str]:
        """SHA-256 of each output, by path."""
        found = (
            path
            for name in outputs
            for path in [self.folder / name, *(self.folder / name).rglob("*")]
        )
        return {
            str(path.relative_to(self.folder)): digests.of_file(path)
            for path in found
            if path.is_file() and not LEFTOVER.fullmatch(path.name)
        }

    def leftovers(self) -> list[str]:
        """Temporary files that killed processes left."""
        return [
            str(p.relative_to(self.folder))
            for p in self.folder.rglob(".*.tmp")
            if LEFTOVER.fullmatch(p.name)
        ]


@contextmanager
def workspace() -> Iterator[Workspace]:
    """A temporary clone of this repository's code, after one `dvc repro` with small parameters."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve() / "project"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
        for part in ("src", "stages", "pretraining", "params.yaml", "dvc.yaml", ".gitignore"):
            subprocess.run(["cp", "-r", str(ROOT / part), str(folder)], check=True)
        path = folder / "params.yaml"
        path.write_text(yaml.safe_dump(deep_merge(yaml.safe_load(path.read_text()), SMALL)))
        made = Workspace(folder)
        made.must("dvc repro")
        made.must("git add -A")
        made.must("git commit -qm small")
        try:
            yield made
        finally:
            made.kill_all()


def damage(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Files whose content changed; a missing file is no damage, it is made again."""
    return [
        f"{name} changed" for name, digest in after.items() if before.get(name, digest) != digest
    ]


def kills(_: Namespace) -> Iterator[Case]:
    """Each stage's script, killed at three moments; outputs must stay as they were."""
    with workspace() as space:
        before = space.files()
        for stage in STAGES:
            script, *options = stage.split()
            command = " ".join(["python", f"stages/{script}.py", *options])
            seconds, wrong = space.must(command), []
            for moment in MOMENTS:
                space.kill_after(command, moment * seconds)
                wrong += damage(before, space.files())
            space.must(command)
            after = space.files()
            wrong += [] if after == before else ["the next run made other files"]
            wrong += [f"{name} left" for name in space.leftovers()]
            yield Case(f"kill -9: {stage}", len(MOMENTS), "rerun makes the same bytes", wrong)
        yield killed_prediction(space)


def killed_prediction(space: Workspace) -> Case:
    """`predict` killed while it writes over an older file."""
    papers, output = space.folder / "papers.csv", space.folder / "predictions.csv"
    rows = "".join(
        f"{n},Deep learning {n},We learn words about vision {n}.\n" for n in range(20_000)
    )
    papers.write_text("id,title,abstract\n" + rows)
    output.write_text("old\n")
    command = "python -m arxiv_hybrid predict --input papers.csv --output predictions.csv"
    wrong = []
    for seconds in (1, 2, 3, 4, 5):
        space.kill_after(command, seconds)
        wrong += [] if output.read_text() == "old\n" or lines(output) == 20_001 else ["half a file"]
    space.must(command)
    wrong += [] if lines(output) == 20_001 else ["rows are missing"]
    wrong += [f"{name} left" for name in space.leftovers()]
    return Case("kill -9: predict", 5, "the old file stays until the new one is whole", wrong)


def lines(path: Path) -> int:
    """The number of lines of a file."""
    return path.read_text().count("\n")


def dvc(_: Namespace) -> Iterator[Case]:
    """`dvc repro`, `dvc exp run` in all its forms, and the queue, killed at random moments."""
    with workspace() as space:
        before = space.files()
        for command, finish, times in (
            ("dvc repro -f", "dvc repro", 4),
            ("dvc exp run -f -S dropout=0.41", "dvc exp run -S dropout=0.41", 2),
            ("dvc exp run --temp -f -S dropout=0.43", "dvc exp run --temp -S dropout=0.43", 2),
            ("dvc queue start", "", 2),
        ):
            wrong: list[str] = []
            for number in range(times):
                if "queue" in command:
                    space.must(f"dvc exp run --queue -S dropout=0.5{number}")
                    space.must(command)
                    time.sleep(RANDOM.uniform(3, 15))
                    space.kill_all()
                else:
                    space.kill_after(command, RANDOM.uniform(1, 25))
                wrong += damage(before, space.files()) if "exp run -f" not in command else []
                if finish:
                    status, output, _seconds = space.run(finish)
                    wrong += [f"{finish}: {output[-300:]}"] if status else []
                space.run("git checkout -q -- .")
                status, output, _seconds = space.run("dvc checkout -q -f dvc.yaml")
                wrong += [f"dvc checkout: {output[-300:]}"] if status else []
                wrong += [] if space.files() == before else [f"{command}: other files"]
            wrong += [f"{name} left" for name in space.leftovers()]
            outcome = "goes on; the workspace is as committed"
            yield Case(f"kill -9: {command}", times, outcome, wrong)
        yield from killed_pretraining(space)
        yield killed_server(space)


def killed_pretraining(space: Workspace) -> Iterator[Case]:
    """Pre-training, killed at random moments, and its stage papers; each must end as a calm run."""
    papers = synthetic.generate(papers=300, label_noise=0.05, seed=3)[0].drop_duplicates("id")
    papers["id"] = papers["id"].str.replace("synthetic", "unlabelled")
    papers.to_csv(space.folder / "texts.csv", index=False)
    path = space.folder / "pretraining/params.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | SMALL_ENCODER))
    command, outputs, wrong = "dvc repro -f pretraining/dvc.yaml", ["pretraining/model"], []
    seconds = space.must(command)
    before = space.files(outputs)
    for _ in range(3):
        space.kill_after(command, RANDOM.uniform(0.1, 0.9) * seconds)
        space.must("dvc repro pretraining/dvc.yaml")
        wrong += [] if space.files(outputs) == before else ["other weights"]
    yield Case("kill -9: pre-training", 3, "ends with the same bytes", wrong)

    command, outputs, wrong = "python pretraining/papers.py", ["pretraining/papers"], []
    seconds = space.must(command)
    before = space.files(outputs)
    for moment in MOMENTS:
        space.kill_after(command, moment * seconds)
        wrong += damage(before, space.files(outputs))
    space.must(command)
    wrong += [] if space.files(outputs) == before else ["the next run made other files"]
    wrong += [f"{name} left" for name in space.leftovers() if "papers" in name]
    yield Case("kill -9: pre-training, papers", len(MOMENTS), "rerun makes the same bytes", wrong)


def killed_server(space: Workspace) -> Case:
    """`serve`, killed while it answers; the next one must answer the same."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    answers = set()
    for _ in range(4):
        process = space.start(f"python -m arxiv_hybrid serve --port {address.partition(':')[2]}")
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(requests.ConnectionError):
                paper = {"title": "Speech recognition", "abstract": "We present a corpus."}
                url, content = f"http://{address}/invocations", {"dataframe_records": [paper]}
                answers.add(requests.post(url, json=content, timeout=60).text)
                break
            time.sleep(0.5)
        space.kill_all()
        process.wait()
    wrong = [] if len(answers) == 1 and "category" in min(answers) else [f"{len(answers)} answers"]
    return Case("kill -9: serve", 4, "the next one gives the same answer", wrong)


LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
sys.argv = ["stages/{script}.py", *{options}]
sys.path.insert(0, "stages")
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def disk(_: Namespace) -> Iterator[Case]:
    """Each stage where no file may grow beyond a size, as on a full disk."""
    with workspace() as space:
        before = space.files()
        for limit in (1_000, 20_000):
            wrong, told = [], 0
            for stage in STAGES:
                script, *options = stage.split()
                code = LIMITED.format(limit=limit, script=script, options=options)
                process = subprocess.run(
                    [sys.executable, "-c", code], cwd=space.folder, capture_output=True, text=True,
                    env=space.environment | {"MLFLOW_TRACKING_URI": ""},
                )  # fmt: skip
                told += process.returncode == 2
                if "Traceback" in process.stderr or process.returncode not in (0, 2):
                    wrong.append(f"{stage}: status {process.returncode}: {process.stderr[-200:]}")
                wrong += damage(before, space.files())
            outcome = f"{told} stages end with one line, the others write less"
            yield Case(f"no file may exceed {limit:,} bytes", len(STAGES), outcome, wrong)


def answer(connection: socket.socket, how: str) -> None:
    """Answer one connection as a server in a bad state does."""
    with connection, suppress(OSError):
        connection.recv(65536)
        if how == "closes":
            return
        if how == "silent":
            time.sleep(PATIENCE)
        elif how == "trickles":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while True:
                connection.sendall(b" ")
                time.sleep(0.5)
        body = b"<html>sign in</html>"
        head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % (HTTP.get(how, how).encode(), len(body)) + body)


HTTP = {
    "web page": "200 OK\r\nContent-Type: text/html",
    "429": "429 Too Many Requests\r\nRetry-After: 3600",
    "500": "500 Internal Server Error",
    "401": "401 Unauthorized",
}


@contextmanager
def server(how: str) -> Iterator[str]:
    """The address of a local server in a bad state."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection = listener.accept()[0]
                    threading.Thread(target=answer, args=(connection, how), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def store(space: Workspace, how: str) -> Iterator[str]:
    """The URI of a database in a bad state."""
    path, holder = space.folder / "bad" / "mlflow.db", None
    path.parent.mkdir(exist_ok=True)
    if how == "folder":
        path.mkdir()
    elif how == "no database":
        path.write_text("These are notes.")
    elif how == "locked":
        code = "import sqlite3, time; c = sqlite3.connect('bad/mlflow.db', isolation_level=None); "
        code += "c.execute('begin exclusive'); print(flush=True); time.sleep(600)"
        holder = subprocess.Popen(
            [sys.executable, "-c", code], cwd=space.folder, stdout=subprocess.PIPE
        )
        assert holder.stdout
        holder.stdout.readline()
        holder.send_signal(signal.SIGSTOP)
    try:
        yield f"sqlite:///{path}"
    finally:
        if holder:
            holder.kill()
            holder.wait()
        shutil.rmtree(path.parent)


def mlflow(_: Namespace) -> Iterator[Case]:
    """Training and evaluation while MLflow is in a bad state: what it costs, in seconds."""
    command = "dvc repro -s -f train evaluate"
    with workspace() as space:
        before = space.files()
        usual = min(space.run(command, MLFLOW_TRACKING_URI="")[2] for _ in range(2))
        databases = ("folder", "no database", "locked")
        states: dict[str, AbstractContextManager[str]] = {
            "nobody listens": nullcontext("http://127.0.0.1:9"),
            **{how: server(how) for how in ("silent", "trickles", "closes", *HTTP)},
            **{f"database: {how}": store(space, how) for how in databases},
        }
        for how, state in states.items():
            with state as uri:
                status, output, seconds = space.run(command, MLFLOW_TRACKING_URI=uri)
            cost = seconds - usual
            told = [line for line in output.splitlines() if "MLflow" in line]
            wrong = [f"status {status}: {output[-300:]}"] if status else []
            wrong += damage(before, space.files())
            wrong += ["more than 30 s"] if cost > 30 else []
            wrong += [f"told in {len(told)} lines"] if len(told) != 1 else []
            wrong += ["a traceback"] if "Traceback" in output else []
            yield Case(f"MLflow: {how}", 1, f"costs {max(cost, 0):.0f} s", wrong)


def models(_: Namespace) -> Iterator[Case]:
    """Model folders with one damage each: none may answer as if it were sound."""
    sys.path.insert(0, str(ROOT / "tests"))
    from damaged_models import (  # type: ignore[import-not-found]
        compact_damages,
        model_damages,
        save,
    )

    with tempfile.TemporaryDirectory() as name:
        yield damaged(Path(name) / "exact", model_damages, save)
        compact = partial(save, compact=True)
        yield damaged(Path(name) / "compact", compact_damages, compact)


def damaged(
    parent: Path,
    damages: Callable[[Path], Iterator[tuple[str, Callable[[Path], None]]]],
    save: Callable[[Path, int, tuple[str, ...]], None],
) -> Case:
    """What becomes of a model that `save` writes, under each of the damages."""
    texts = ["deep learning", "words", "", "deep words x"]
    papers = pd.DataFrame({"title": texts, "abstract": texts[::-1]})
    sound, other, folder = (parent / kind for kind in ("sound", "other", "damaged"))
    save(sound, 0, ("deep", "learning", "words", "x"))
    save(other, 1, ("learning", "deep", "words", "y"))
    model = checkpoint.load(sound)
    expected, origin = model.classify(papers), model.origin
    outcomes: Counter[str] = Counter()
    for damage_name, damaging in damages(other):
        shutil.copytree(sound, folder)
        damaging(folder)
        try:
            model = checkpoint.load(folder)
            same = model.classify(papers).equals(expected) and model.origin == origin
            outcomes["answers as before" if same else f"answers wrongly: {damage_name}"] += 1
        except UserError:
            outcomes["refused"] += 1
        shutil.rmtree(folder)
    wrong = [name for name in outcomes if "wrongly" in name]
    outcome = f"{outcomes['refused']} refused, {outcomes['answers as before']} answer as before"
    return Case(f"damaged model folders, {parent.name}", outcomes.total(), outcome, wrong)


def bombs(_: Namespace) -> Iterator[Case]:
    """Small files that grow to 3 GB, or nest without end: one line, and little memory."""
    with workspace() as space:
        for name, write in BOMBS.items():
            path = space.folder / name
            write(path)
            for command in (
                f"python -m arxiv_hybrid predict --input {name} --output predictions.csv",
                f"python -m arxiv_hybrid data inspect {name}",
            ):
                status, output, gigabytes = peak(space, command)
                wrong = [f"status {status}: {output[-200:]}"] if status not in (0, 2) else []
                wrong += ["a traceback"] if "Traceback" in output else []
                wrong += [f"{gigabytes:.1f} GB"] if gigabytes > 1.5 else []
                size = f"{path.stat().st_size / 1e6:.1f} MB"
                what = f"{name}, {size}: {command.split()[3].removesuffix(' ' + name)}"
                yield Case(what, 1, f"status {status}, {gigabytes:.1f} GB", wrong)
            path.unlink()


def peak(space: Workspace, command: str) -> tuple[int, str, float]:
    """Exit status, output and peak memory in GB of a command."""
    with tempfile.TemporaryFile("w+") as log:
        process = space.start(command, log.fileno())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        return process.returncode, log.read(), usage.ru_maxrss / 1e6


def one_line(path: Path, start: str) -> None:
    """A gzip file that holds one line of 3 GB."""
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(start.encode())
        for _ in range(3000):
            file.write(b"a" * 1_000_000)


BOMBS: dict[str, Callable[[Path], None]] = {
    "line.csv.gz": lambda path: one_line(path, "title,abstract\nx,"),
    "line.jsonl.gz": lambda path: one_line(path, '{"title": "x", "abstract": "'),
    "deep.jsonl": lambda path: write_text(path, '{"title": ' + "[" * 10**6 + "\n"),
}


PARTS: dict[str, Callable[[Namespace], Iterator[Case]]] = {
    "kills": kills,
    "dvc": dvc,
    "disk": disk,
    "mlflow": mlflow,
    "models": models,
    "bombs": bombs,
}


def main() -> None:
    """Run the chosen parts, print the table and store it."""
    parser = new_parser(__doc__)
    parser.add_argument("--only", default="", help=f"some of {', '.join(PARTS)}")
    options = parser.parse_args()
    rows, failed = [], 0
    with Stopwatch() as watch:
        for name in select(options.only, list(PARTS), "only"):
            for case in PARTS[name](options):
                failed += bool(case.wrong)
                found = "; ".join(case.wrong)[:300] or "none"
                rows.append([case.what, str(case.tried), case.outcome, found])
                print(" | ".join(rows[-1]), flush=True)
    table = markdown(["fault", "times", "what happens", "what should not have happened"], rows)
    print(f"\n{table}\n\n{watch.seconds / 60:.0f} minutes")
    if not options.only:
        write_text(ROOT / "benchmarks/results/faults.md", table + "\n")
    sys.exit(bool(failed))


if __name__ == "__main__":
    with exit_on_user_error("stopped"):
        main()
