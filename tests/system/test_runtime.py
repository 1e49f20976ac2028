"""How many cores there are, and how many experiments share them."""

from __future__ import annotations

import os
from types import SimpleNamespace

import psutil
import pytest

from arxiv_hybrid.system.runtime import cores, parallel_jobs


def temporary(number: int) -> list[str]:
    return ["python", "-m", "dvc", "exp", "run", "--temp", "--name", f"s-{number}", "train"]


@pytest.mark.parametrize(
    ("commands", "jobs"),
    [
        ([["python", "dvc-exp-1a2b3c-1@localhost"], ["dvc-exp-1a2b3c-1@localhost"],
          ["dvc-exp-1a2b3c-2@host"], ["other-exp-1@localhost"], None], 2),
        ([temporary(number) for number in range(3)], 3),
        ([temporary(1), ["dvc", "exp", "run"], ["dvc", "exp", "show"]], 0),
    ],
    ids=["a name of the queue is one worker", "several --temp", "a single --temp has all cores"],
)  # fmt: skip
def test_experiments_at_the_same_time_are_counted(
    commands: list[list[str] | None], jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = [SimpleNamespace(info={"cmdline": command}) for command in commands]
    monkeypatch.setattr(psutil, "process_iter", lambda _: listed)
    assert parallel_jobs() == jobs


def test_cores_are_those_of_the_affinity_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5}, raising=False)
    assert cores() == 3


@pytest.mark.parametrize(("count", "expected"), [(64, 64), (None, 1)])
def test_cores_without_an_affinity_mask(
    monkeypatch: pytest.MonkeyPatch, count: int | None, expected: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert cores() == expected
