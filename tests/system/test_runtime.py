"""How many of DVC's queue jobs share the cores."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from arxiv_hybrid.system.errors import UserError, exit_on_user_error
from arxiv_hybrid.system.runtime import cores, queue_jobs


def test_workers_of_the_queue_are_counted_by_their_name() -> None:
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


def test_there_is_a_core() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("seed: -1 is not allowed"), 2, "error: seed: -1 is not allowed"),
        (KeyboardInterrupt(), 130, "stopped here"),
        (PermissionError(13, "Permission denied", "out.csv"), 2, "error: out.csv: cannot be"),
    ],
)
def test_mistakes_end_with_a_line_and_a_status(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, exit_on_user_error("stopped here"):
        raise error
    assert ended.value.code == code
    assert capsys.readouterr().err.startswith(line)


def test_a_defect_is_not_hidden() -> None:
    with pytest.raises(FileNotFoundError), exit_on_user_error("stopped"):
        raise FileNotFoundError(2, "No such file or directory", "x")
