"""OpenMP's threads spin briefly, in every process that loads torch, unless the user decides."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
from conftest import ROOT

from arxiv_hybrid.system.runtime import SPINNING, limit_spinning

TURNS = "5000"
OURS = {"GOMP_SPINCOUNT": TURNS, "KMP_BLOCKTIME": "1"}
CHOICES = [*OURS, "OMP_WAIT_POLICY"]
COMMANDS = [f"arxiv_hybrid.commands.{name}" for name in ("predict", "explain", "serve", "similar")]
SCRIPTS = [
    str(path.relative_to(ROOT))
    for folder in ("stages", "pretraining", "examples/time_series", "benchmarks")
    for path in sorted((ROOT / folder).glob("*.py"))
    if not path.name.startswith(("_", "minilm", "workload"))
]

# Reports, for each script or module of argv, the variable when torch is first looked for. A fork
# for each one keeps them apart; what they share and what does not load torch is imported once.
WATCH = """
import os, runpy, sys
import numpy, pandas, dvc.utils.hydra, requests, matplotlib
class Torch:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "sklearn"):
            os.write(1, os.environ.get("GOMP_SPINCOUNT", "unset").encode() + b"\\n")
            os._exit(0)
sys.meta_path.insert(0, Torch())
for name in sys.argv[1:]:
    os.write(1, f"{name} ".encode())
    if not (child := os.fork()):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.stdout = sys.stderr
        sys.path.insert(0, os.path.dirname(name))
        run = runpy.run_path if name.endswith(".py") else runpy.run_module
        sys.argv = [name]
        run(name, run_name="imported")
        os.write(1, b"no torch\\n")
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        os.write(1, b"failed\\n")
"""


def environment(**changes: str) -> dict[str, str]:
    """The environment without what others may have set."""
    kept = {name: value for name, value in os.environ.items() if name not in CHOICES}
    return {**kept, "PYTHONPATH": str(ROOT / "src"), **changes}


@pytest.fixture
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CHOICES:
        monkeypatch.setenv(name, "")  # so that it is restored even if only the library set it
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("nothing_chosen")
@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"GOMP_SPINCOUNT": "5"},
        {"KMP_BLOCKTIME": "infinite"},
        {"GOMP_SPINCOUNT": "", "KMP_BLOCKTIME": "0"},
    ],
)
def test_what_the_user_has_set_stays(
    choice: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    for name, value in choice.items():
        monkeypatch.setenv(name, value)
    limit_spinning()
    assert {name: os.environ.get(name) for name in SPINNING} == {**OURS, **choice}


@pytest.mark.usefixtures("nothing_chosen")
@pytest.mark.parametrize("policy", ["active", "PASSIVE"])
def test_a_policy_of_the_user_decides(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    limit_spinning()
    assert not any(name in os.environ for name in SPINNING)


@pytest.mark.usefixtures("nothing_chosen")
@pytest.mark.parametrize("machine", ["aarch64", "ppc64le"])
def test_turns_are_set_only_where_their_length_is_known(
    machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    limit_spinning()
    assert {name for name in SPINNING if name in os.environ} == {"KMP_BLOCKTIME"}


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="torch's wheels for it"
)
def test_torch_reads_the_value() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import arxiv_hybrid, torch"],
        env=environment(OMP_DISPLAY_ENV="verbose"), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"GOMP_SPINCOUNT = '{TURNS}'" in done.stderr


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="another default")
def test_every_entry_point_sets_it_before_torch_is_loaded() -> None:
    names = [*SCRIPTS, *COMMANDS]
    done = subprocess.run([sys.executable, "-c", WATCH, *names], env=environment(), cwd=ROOT,
                          capture_output=True, text=True, check=True)  # fmt: skip
    seen = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert list(seen) == names
    assert {name: value for name, value in seen.items() if value not in (TURNS, "no torch")} == {}
    for name in ("stages/train.py", "pretraining/encoder.py", "examples/time_series/train.py",
                 "benchmarks/speed.py", "arxiv_hybrid.commands.predict"):  # fmt: skip
        assert seen[name] == TURNS, name


def test_child_processes_inherit_it() -> None:
    child = "import os; print(os.environ.get('KMP_BLOCKTIME'))"
    parent = "import arxiv_hybrid, subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]])"
    command = [sys.executable, "-c", parent, "-c", child]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == OURS["KMP_BLOCKTIME"]
