"""docs/mlflow-server.md: its commands, with PostgreSQL, an S3-compatible store and MLflow's server.

Two clients in two clones log at once; then come clients that the server refuses, a model served
from a third clone, and a server that dies.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import requests
from clones import environment, set_params, sh
from conftest import ROOT
from object_store import ObjectStore, running_object_store
from ports import free_port
from postgres import PASSWORD, USER, Postgres, running_postgres
from test_docs import blocks

import arxiv_hybrid
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.params import Params
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.tracking import budget, find_champion, track

pytestmark = pytest.mark.pipeline
PAGE = ROOT / "docs/mlflow-server.md"
PATIENCE = 240.0  # seconds
ADMIN = "correct-horse-battery"  # its password
SECRET_KEY = "of-the-server-in-a-test"
STAGES = ("train", "evaluate", "ensemble")
# bob runs the stages in one process, which takes less time than DVC
IN_ONE_PROCESS = (
    "import runpy, sys\n"
    "sys.path.insert(0, 'stages')\n"
    f"for stage in {('resolve', *STAGES)}:\n"
    "    sys.argv = [f'stages/{stage}.py']\n"
    "    runpy.run_path(sys.argv[0], run_name='__main__')"
)
PAPER = {"title": "Speech recognition", "abstract": "We present a corpus of read speech."}


@dataclass
class Team:
    """The services, and the blocks of the page in their order, with names of this machine."""

    postgres: Postgres
    store: ObjectStore
    folder: Path  # where the server runs
    port: int
    passwords: dict[str, str] = field(default_factory=lambda: {"admin": ADMIN})
    server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @cached_property
    def page(self) -> list[str]:
        """The blocks that are run; here are all the names that the test replaces."""
        names = {
            "-h db-host -U mlflow": f"-h 127.0.0.1 -p {self.postgres.port} -U {USER}",
            "mlflow@db-host": f"{USER}@127.0.0.1:{self.postgres.port}",
            "https://s3.example.org": self.store.url,
            "mlflow-host:5000,localhost:5000": f"127.0.0.1:{self.port}",
            "mlflow-host:5000": f"127.0.0.1:{self.port}",
            "--host 0.0.0.0 --port 5000": f"--host 127.0.0.1 --port {self.port}",
            "--workers 2": "--workers 1",  # starts faster
            "serve --model champion": f"serve --model champion --port {free_port()}",
        }
        texts = [
            block.text for block in blocks(PAGE) if block.kind in ("sh team", "text", "python")
        ]
        for name, value in names.items():
            assert any(name in text for text in texts), name
            texts = [text.replace(name, value) for text in texts]
        return texts

    def environment(self, user: str | None = None) -> dict[str, str]:
        """A process's environment; with the credentials of a user, if one is named."""
        kept, credentials = environment(warm=True), self.credentials(user) if user else {}
        path = f"{self.postgres.binaries}{os.pathsep}{kept['PATH']}"
        return {**kept, "PATH": path, **credentials}

    def credentials(self, user: str) -> dict[str, str]:
        return {
            "MLFLOW_TRACKING_URI": self.url,
            "MLFLOW_TRACKING_USERNAME": user,
            "MLFLOW_TRACKING_PASSWORD": self.passwords.get(user, ""),
        }

    def start(self, command: str) -> None:
        """Start the server and wait until it answers."""
        with self.log.open("ab") as log:
            self.server = subprocess.Popen(
                ["bash", "-euc", command], cwd=self.folder, env=self.environment(), stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        wait_for(f"{self.url}/health", self.server, self.log)

    def kill(self) -> None:
        if self.server is not None:
            os.killpg(self.server.pid, signal.SIGKILL)
            self.server.wait()
            self.server = None


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """The services of the page, with the users that it adds."""
    for module, package in (("flask_wtf", "flask-wtf"), ("psycopg", "psycopg[binary]")):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{package} is not installed; MLflow's server needs it for this page")
    folder = tmp_path_factory.mktemp("server")
    with ExitStack() as stack:
        store = stack.enter_context(running_object_store(folder / "store.log"))
        team = Team(stack.enter_context(running_postgres()), store, folder, free_port())
        stack.callback(team.kill)
        databases, auth, secrets, server, users = team.page[:5]
        store.client().create_bucket(Bucket="my-bucket")
        (folder / "auth.ini").write_text(auth)
        for value in (PASSWORD, store.key_id, store.secret, ADMIN, SECRET_KEY):
            secrets = secrets.replace("...", value, 1)
        assert "..." not in secrets
        (folder / "mlflow.env").write_text(secrets)
        with_password = {**team.environment(), **team.postgres.environment}
        subprocess.run(["bash", "-euc", databases], check=True, env=with_password)
        team.start(server)
        added = subprocess.run(
            ["python", "-c", users], env=team.environment("admin"), cwd=folder,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        team.passwords |= dict(re.findall(r"^(\w+) (\S{16})$", added.stdout, re.M))
        assert set(team.passwords) == {"admin", "ada", "bob", "guest"}, added.stdout
        yield team


@dataclass(frozen=True)
class Client:
    """A clone, what its commands printed, and the digest and accuracy of its model."""

    folder: Path
    output: str

    @property
    def digest(self) -> str:
        return checkpoint.digest(self.folder / "models/main")

    def metrics(self, name: str) -> Any:
        return json.loads((self.folder / f"metrics/{name}.json").read_text())


@pytest.fixture(scope="module")
def clients(team: Team, repo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Client]:
    """Clones of ada and bob, after both have trained at the same time. Ada has pushed hers."""
    parent = tmp_path_factory.mktemp("clients")
    ada, bob = parent / "ada", parent / "bob"
    shutil.copytree(repo, ada, symlinks=True)
    few = {"ensemble": {"members": []}, "evaluate": {"explain_papers": 1}}
    set_params(ada, {**few, "tracking": {"log_model": True}})
    path = ada / "src/arxiv_hybrid/tracking/budget.py"
    limits = "START, TOTAL = 12.0, 27.0"
    assert limits in path.read_text()
    path.write_text(path.read_text().replace(limits, "START, TOTAL = 120.0, 240.0"))  # busy machine
    sh(ada, "git", "commit", "-qam", "settings of the team")
    sh(parent, "git", "clone", "-q", "--bare", str(ada), "origin.git")
    sh(ada, "git", "remote", "add", "origin", str(parent / "origin.git"))
    sh(ada, "git", "push", "-q", "--set-upstream", "origin", "HEAD")
    shutil.copytree(ada, bob, symlinks=True)
    set_params(bob, {"epochs": 4, "tracking": {"register_as": "papers"}})
    log_in, train = team.page[5:7]
    # ada does as the page says; bob's password is in the URL
    at = {"MLFLOW_TRACKING_URI": f"http://bob:{team.passwords['bob']}@127.0.0.1:{team.port}"}
    commands = {
        ada: (["bash", "-euo", "pipefail", "-c", log_in + train], team.environment()),
        bob: (["python", "-c", IN_ONE_PROCESS], team.environment() | at),
    }
    running = {
        clone: subprocess.Popen(
            command, cwd=clone, env=variables, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for clone, (command, variables) in commands.items()
    }  # fmt: skip
    ended = {}
    for clone, process in running.items():
        output, _ = process.communicate(team.passwords["ada"] + "\n", timeout=2 * PATIENCE)
        assert process.returncode == 0, output
        ended[clone.name] = Client(clone, output)
    return ended


@contextmanager
def signed_in(team: Team, user: str, **changed: str) -> Iterator[Any]:
    """MLflow's client of a user, in this process; changed: other values of its variables."""
    from mlflow import MlflowClient, set_tracking_uri

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**team.credentials(user), **changed}.items():
            patch.setenv(name, value)
        set_tracking_uri(team.url)
        yield MlflowClient(team.url)


def runs(client: Any, query: str = "") -> list[Any]:
    experiment = client.get_experiment_by_name("arxiv-hybrid")
    return list(client.search_runs([experiment.experiment_id], query))


def test_two_clients_log_at_the_same_time_and_nothing_is_lost(
    team: Team, clients: dict[str, Client]
) -> None:
    with signed_in(team, "admin") as client:
        parents = runs(client, "tags.stage = 'pipeline'")
        assert len(parents) == 2
        assert len(runs(client)) == 2 * (1 + len(STAGES))
        assert {run.info.status for run in runs(client)} == {"FINISHED"}
        for user in clients.values():
            digest, accuracy = user.digest, user.metrics("evaluate")["accuracy"]
            (train,) = runs(client, f"tags.stage = 'train' and tags.`model.digest` = '{digest}'")
            parent = train.data.tags["mlflow.parentRunId"]
            (logged,) = [run for run in parents if run.info.run_id == parent]
            assert logged.data.tags["pipeline.finished"] == "train, evaluate, ensemble"
            assert logged.data.metrics["accuracy"] == pytest.approx(accuracy)
            assert "ensemble.accuracy" in logged.data.metrics
            epochs = client.get_metric_history(train.info.run_id, "val_accuracy")
            rows = (user.folder / "metrics/plots/learning_curves.csv").read_text().splitlines()
            assert len(epochs) == len(rows) - 1
            children = runs(client, f"tags.`mlflow.parentRunId` = '{parent}'")
            files = {
                file.path for run in children for file in client.list_artifacts(run.info.run_id)
            }
            assert files >= {"learning_curves.png", "evaluate.json", "classes.csv", "ensemble.json"}
            assert "warning" not in user.output
    assert not list(clients["ada"].folder.glob("mlruns")), "all files go to the server"


def test_models_are_in_the_bucket_without_pickles(team: Team, clients: dict[str, Client]) -> None:
    objects = team.store.objects("my-bucket")
    assert all(key.startswith("mlflow/") for key in objects)
    assert not [key for key in objects if key.endswith((".pkl", ".pickle", ".pt", ".bin"))]
    weights = [content for key, content in objects.items() if key.endswith("/model.safetensors")]
    for user in clients.values():
        assert (user.folder / "models/main/model.safetensors").read_bytes() in weights


def test_both_register_and_the_better_is_champion(team: Team, clients: dict[str, Client]) -> None:
    with signed_in(team, "guest") as client:
        versions = client.search_model_versions("name = 'papers'")
        assert {v.tags["model.digest"] for v in versions} == {u.digest for u in clients.values()}
        (alias,) = client.get_registered_model("papers").aliases.items()
        champion = client.get_model_version("papers", alias[1])
    assert alias[0] == "champion"
    best = max(user.metrics("evaluate")["accuracy"] for user in clients.values())
    assert float(champion.tags["accuracy"]) == best
    for user in clients.values():
        assert re.search(r"^registered as papers version [12], ", user.output, re.M), user.output


def test_no_password_is_printed_or_stored(team: Team, clients: dict[str, Client]) -> None:
    secrets = [*team.passwords.values(), PASSWORD, team.store.secret, SECRET_KEY]
    texts = {"the server's log": team.log.read_bytes()}
    texts |= {f"output of {name}": user.output.encode() for name, user in clients.items()}
    texts |= {f"s3://{key}": content for key, content in team.store.objects("my-bucket").items()}
    for user in clients.values():
        files = [path for path in user.folder.rglob("*") if path.is_file()]
        texts |= {str(path): path.read_bytes() for path in files}
    for database in ("mlflow", "mlflow_users"):
        where = ["-h", "127.0.0.1", "-p", str(team.postgres.port), "-U", USER, database]
        texts[database] = subprocess.run(
            [team.postgres.binaries / "pg_dump", *where], check=True, capture_output=True,
            env={**os.environ, **team.postgres.environment},
        ).stdout  # fmt: skip
    assert b"papers" in texts["mlflow"]
    assert b"guest" in texts["mlflow_users"]
    found = [
        f"{where}: {s}" for where, text in texts.items() for s in secrets if s.encode() in text
    ]
    assert found == []


@pytest.mark.usefixtures("clients")
@pytest.mark.parametrize(
    ("user", "changed", "host", "row"),
    [
        ("ada", {"MLFLOW_TRACKING_PASSWORD": "tr0ub4dor-and-3"}, "127.0.0.1", "wrong password"),
        ("", {"MLFLOW_TRACKING_PASSWORD": ""}, "127.0.0.1", "no password"),
        ("ada", {}, "localhost", "the client calls it by another name"),
        ("guest", {}, "127.0.0.1", "a user without the role"),
    ],
)
@pytest.mark.filterwarnings("default")
def test_a_client_that_the_server_refuses_gets_one_warning(
    user: str, changed: dict[str, str], host: str, row: str, team: Team, tiny_params: Params,
    tmp_path: Path, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    table = dict(re.findall(r"^\| (.*) \| `(.*)` \|$", PAGE.read_text(), re.M))
    with signed_in(team, "admin") as client:
        before = len(runs(client))
    url = f"http://{host}:{team.port}"
    with signed_in(team, user, MLFLOW_TRACKING_URI=url, **changed):
        with track("train", tiny_params, root=tmp_path, workspace=tmp_path) as run:
            run.metrics({"loss": 1.0})
        printed = capfd.readouterr()
        (line,) = printed.err.splitlines()
        assert line.startswith(f"warning: {table['cause'].split(': ', 1)[1][:-3]}{table[row]}")
        assert printed.out == ""
        if user != "guest":  # who may read
            with pytest.raises(UserError, match=re.escape(f"queried: the server {table[row]}")):
                find_champion(tmp_path, "papers", tmp_path)
    with signed_in(team, "admin") as client:
        assert len(runs(client)) == before


def test_a_version_promoted_by_hand_is_served_to_a_user_who_may_only_read(
    team: Team, clients: dict[str, Client]
) -> None:
    log_in, promote, serve = team.page[5], *team.page[7:]
    with signed_in(team, "admin") as client:
        champion = client.get_model_version_by_alias("papers", "champion")
        version = str(3 - int(champion.version))  # the other one
        (other,) = [
            user.folder for user in clients.values()
            if user.digest != champion.tags["model.digest"]
        ]  # fmt: skip
    sh(other.parent, "git", "clone", "-q", "origin.git", "served")
    assert '"1"' in promote
    promote = promote.replace('"1"', f'"{version}"')
    with signed_in(team, "bob"):
        exec(promote, {})
    log = team.folder / "serve.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", log_in.replace("ada", "guest") + serve],
            cwd=other.parent / "served", env=team.environment(), stdin=subprocess.PIPE,
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        assert server.stdin is not None
        server.stdin.write(f"{team.passwords['guest']}\n".encode())
        server.stdin.close()
        url = f"http://127.0.0.1:{serve.split()[-1]}"
        wait_for(f"{url}/ping", server, log)
        answer = requests.post(
            f"{url}/invocations", json={"dataframe_records": [PAPER]}, timeout=60
        )
    finally:
        with suppress(ProcessLookupError):  # it has ended, which is reported
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    assert answer.ok, answer.text
    (expected,) = arxiv_hybrid.load(other / "models/main").classify([PAPER]).to_dict("records")
    (given,) = answer.json()["predictions"]
    assert given["category"] == expected["category"]
    classes = [name for name, value in expected.items() if isinstance(value, float)]
    assert len(classes) == 3
    assert [given[name] for name in classes] == pytest.approx([expected[name] for name in classes])
    assert f"papers version {version}, the champion: v1" in log.read_text()
    assert team.passwords["guest"] not in log.read_text()


@pytest.mark.usefixtures("clients")
@pytest.mark.filterwarnings("default")
def test_a_server_that_dies_costs_a_warning_and_none_if_it_comes_back(
    team: Team, tiny_params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(budget, "START", PATIENCE)
    monkeypatch.setattr(budget, "TOTAL", PATIENCE)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    with signed_in(team, "ada") as client:
        with track("train", tiny_params, root=tmp_path, workspace=tmp_path) as run:
            run.metrics({"loss": 3.0}, 1)
            team.kill()
            run.metrics({"loss": 2.0}, 2)
            team.start(team.page[3])
            run.metrics({"loss": 1.0}, 3)
        assert capfd.readouterr().err == ""
        (logged,) = runs(client, "tags.stage = 'train' and metrics.loss > 0")
        history = client.get_metric_history(logged.info.run_id, "loss")
        assert [(metric.step, metric.value) for metric in history] == [(1, 3.0), (2, 2.0), (3, 1.0)]
        assert logged.info.status == "FINISHED"
        with track("train", tiny_params, root=tmp_path, workspace=tmp_path) as run:
            team.kill()
            run._budget.left = 0.5
            run.metrics({"loss": 3.0}, 1)
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith("warning: MLflow stopped logging this run: no answer within 0.5 s")
