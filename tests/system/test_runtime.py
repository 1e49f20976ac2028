"""How many cores there are, and how many DVC queue jobs share them."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from arxiv_hybrid.system.runtime import cores, queue_jobs


def test_queue_workers_are_counted_by_name() -> None:
    before = queue_jobs()
    sleep = "import time; time.sleep(60)"
    names = ["dvc-exp-1a2b3c-1@localhost", "dvc-exp-1a2b3c-1@localhost", "dvc-exp-1a2b3c-2@host",
             "other-exp-1@localhost"]  # fmt: skip
    started = [subprocess.Popen([sys.executable, "-c", sleep, name]) for name in names]
    try:
        deadline = time.monotonic() + 20
        while queue_jobs() < before + 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert queue_jobs() == before + 2, "a name is one worker, however many processes it has"
    finally:
        for process in started:
            process.kill()
            process.wait()


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
