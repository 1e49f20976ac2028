"""Two machines train one model as docs/gpu-box.md says; one goes down and comes back.

Each machine is a network namespace with its own host name and clone. Needs root on Linux.
"""

from __future__ import annotations

import os
import re
import runpy
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import forks
import psutil
import pytest
from clones import copy_project, digests, environment, set_params, sh
from conftest import ROOT, TINY, merged
from test_docs import blocks

pytestmark = pytest.mark.pipeline
FIRST, SECOND = "first-host", "second-host"
ADDRESSES = {FIRST: "10.213.97.1", SECOND: "10.213.97.2"}
EPOCHS = 12
PARAMS = {"model": "v5", "epochs": EPOCHS, "patience": EPOCHS, "ensemble": {"members": []}}
DEADLINE = 240.0  # seconds


@dataclass
class Machine:
    """A network namespace, in which commands see a host name and the names of both machines."""

    name: str
    namespace: str
    hosts: Path
    clone: Path

    def start(self, script: str) -> subprocess.Popen[bytes]:
        """Run a script in the clone; what it prints is added to the log."""
        enter = 'mount --bind "$0" /etc/hosts && hostname "$1" && exec bash -euc "$2"'
        inside = ["unshare", "--mount", "--uts", "bash", "-c", enter, str(self.hosts), self.name]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *inside, script],
                cwd=self.clone, env=environment(), stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def log(self) -> Path:
        return self.clone.with_suffix(".log")

    @property
    def printed(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    if not sys.platform.startswith("linux") or os.geteuid():
        pytest.skip("network namespaces need root on Linux")
    if not (shutil.which("ip") and shutil.which("unshare")):
        pytest.skip("network namespaces need the commands ip and unshare")
    hosts = tmp_path / "hosts"
    lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in ADDRESSES.items())]
    hosts.write_text("\n".join(lines) + "\n")
    names = [f"papers-{os.getpid()}-{number}" for number in (1, 2)]
    with ExitStack() as stack:
        for name in names:
            made = ip("netns", "add", name)
            if made.returncode:
                pytest.skip(f"ip netns add: {made.stderr.strip()}")
            stack.callback(ip, "netns", "del", name)
        ends = [f"veth{os.getpid()}{letter}"[-15:] for letter in "ab"]
        peer = ("type", "veth", "peer", "name", ends[1], "netns", names[1])
        commands = [("link", "add", ends[0], "netns", names[0], *peer)]
        for name, end, address in zip(names, ends, ADDRESSES.values(), strict=True):
            commands.append(("-n", name, "addr", "add", f"{address}/24", "dev", end))
            commands += [("-n", name, "link", "set", device, "up") for device in ("lo", end)]
        for command in commands:
            made = ip(*command)
            if made.returncode:
                pytest.skip(f"ip {' '.join(command)}: {made.stderr.strip()}")
        yield tuple(
            Machine(name, namespace, hosts, tmp_path / name)
            for name, namespace in zip(ADDRESSES, names, strict=True)
        )  # type: ignore[misc]


def ip(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *command], capture_output=True, text=True, check=False)


def documented() -> tuple[str, str, str]:
    """The commands for the first machine, for the others, and for all."""
    text = (ROOT / "docs/gpu-box.md").read_text(encoding="utf-8")
    section = text[text.index("## Several machines") : text.index("## Work from")]
    scripts = [b.text for b in blocks(ROOT / "docs/gpu-box.md") if b.text in section]
    first, others, every = (script for script in scripts if re.search(r"dvc|torchrun", script))
    assert "--nproc-per-node=4" in every
    return first, others, every.replace("--nproc-per-node=4", "--nproc-per-node=1")


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it has started, by their ids."""
    family = psutil.Process(process.pid)
    for member in [*family.children(recursive=True), family]:
        os.kill(member.pid, signal.SIGKILL)
    process.wait()


def wait(condition: Callable[[], object], *machines: Machine) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        logs = "\n".join(f"--- {machine.name}\n{machine.printed}" for machine in machines)
        assert time.monotonic() < deadline, logs
        time.sleep(0.02)


def train_with_two_processes(project: Path) -> None:
    """Train on one machine, in copies of this process and without MLflow: that saves time."""

    def train() -> None:
        os.chdir(project)
        sys.path.insert(0, "stages")
        sys.argv = ["stages/train.py"]
        runpy.run_path(sys.argv[0], run_name="__main__")

    shutil.rmtree(project / "models/main")
    set_params(project, {"tracking": {"enabled": False}})
    processes = forks.machines(project.parent, [0, 0], train)
    assert [process.wait() for process in processes] == [0, 0], processes[0].printed


def test_two_machines_train_one_model(machines: tuple[Machine, Machine], tmp_path: Path) -> None:
    first, second = machines
    prepare, fetch, train = documented()
    copy_project(first.clone)
    set_params(first.clone, merged(TINY, PARAMS))
    with (first.clone / ".dvc/config").open("a") as config:
        config.write(
            f"    remote = shared\n['remote \"shared\"']\n    url = {tmp_path / 'remote'}\n"
        )
    sh(first.clone, "git", "add", "-A")
    sh(first.clone, "git", "commit", "-qm", "project")
    sh(tmp_path, "git", "clone", "-q", "--bare", str(first.clone), "papers.git")
    sh(first.clone, "git", "remote", "add", "origin", str(tmp_path / "papers.git"))
    sh(first.clone, "git", "push", "-qu", "origin", "HEAD")
    sh(tmp_path, "git", "clone", "-q", str(tmp_path / "papers.git"), str(second.clone))
    sh(first.clone, "bash", "-euc", prepare)
    sh(second.clone, "bash", "-euc", fetch)

    states = [machine.clone / "checkpoints/main/progress.safetensors" for machine in machines]
    running = [machine.start(train) for machine in machines]
    try:
        wait(lambda: "epoch   2" in first.printed and all(map(Path.exists, states)), *machines)
        kill(running[1])
        states[1].unlink(missing_ok=True)  # as on a machine that was set up anew
        running[1] = second.start(train)
        wait(lambda: all(process.poll() is not None for process in running), *machines)
    finally:
        for process in running:
            if process.poll() is None:
                kill(process)
    logs = f"{first.printed}\n---\n{second.printed}"
    assert [process.returncode for process in running] == [0, 0], logs

    assert re.search(rf"resuming after epoch \d+ of {EPOCHS}\n", first.printed), logs
    assert "lost another process of this training: " in first.printed
    assert first.printed.count(f"epoch  {EPOCHS} ") == 1
    assert first.printed.count("machine 1 of 2, 2 processes\n") == 2
    assert second.printed.count("machine 2 of 2 trains along, first-host shows how far\n") == 2
    assert "epoch  " not in second.printed
    outputs = "models/main, metrics/plots/learning_curves.csv, metrics/train.json"
    assert f"{outputs}: copied from first-host\n" in second.printed
    for name in ("models/main", "metrics"):
        assert digests(first.clone / name) == digests(second.clone / name)
    assert (first.clone / "dvc.lock").read_bytes() == (second.clone / "dvc.lock").read_bytes()
    assert "up to date" in sh(second.clone, "dvc", "status", "train").stdout
    assert not [state for state in states if state.exists()]
    assert not (second.clone / "mlflow.db").exists(), "one machine logs"
    with closing(sqlite3.connect(first.clone / "mlflow.db")) as store:
        ended = store.execute("SELECT status FROM runs WHERE name LIKE 'train%'").fetchall()
    assert sorted(ended) == [("FAILED",), ("FINISHED",)], "the run that lost a machine, and the one"

    weights = digests(first.clone / "models/main")
    train_with_two_processes(first.clone)
    assert digests(first.clone / "models/main") == weights
