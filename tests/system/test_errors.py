"""How a command ends on a user's mistake, on Ctrl-C and on a defect."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from arxiv_hybrid.system.errors import UserError, exit_on_user_error


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("seed: -1 is not allowed"), 2, "error: seed: -1 is not allowed"),
        (KeyboardInterrupt(), 130, "stopped here"),
        (PermissionError(13, "Permission denied", "out.csv"), 2, "error: out.csv: cannot be"),
        *[
            (OSError(number, "reason", "out.csv"), 2, "error: out.csv: cannot be written: reason")
            for number in (errno.EFBIG, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOSPC)
        ],
    ],
)
def test_mistakes_end_with_one_line_and_a_status(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, exit_on_user_error("stopped here"):
        raise error
    assert ended.value.code == status
    assert capsys.readouterr().err.startswith(line)


def test_a_defect_is_not_hidden() -> None:
    with pytest.raises(FileNotFoundError), exit_on_user_error("stopped"):
        raise FileNotFoundError(2, "No such file or directory", "x")


def test_a_file_that_grows_too_large_is_one_line(tmp_path: Path) -> None:
    code = (
        "import resource\nfrom pathlib import Path\n"
        "from arxiv_hybrid.system.errors import exit_on_user_error\n"
        "from arxiv_hybrid.system.files import write_bytes\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "with exit_on_user_error('stopped'): write_bytes(Path('out.bin'), bytes(5000))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "error: out.bin: cannot be written: File too large\n"
    assert list(tmp_path.iterdir()) == []
