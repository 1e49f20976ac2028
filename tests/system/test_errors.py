"""How a command ends on a user's mistake, on Ctrl-C and on a defect."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from arxiv_hybrid.system.errors import UserError, exit_on_user_error, shown


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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("short", "'short'"),
        (1.5, "1.5"),
        (None, "None"),
        ([1, "x", 2], "[1, 'x', 2]"),
        (10**12, "1000000000000"),
        (16**5000, "a number of 20,001 bits"),
        (-(16**5000), "a number of 20,001 bits"),
    ],
    ids=lambda _: "value",  # pytest cannot print the largest
)
def test_values_are_shown(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    "value", ["x" * 10**6, b"x" * 10**6, ["y" * 99] * 10**5, {"k" * 999: {"v": ["z"] * 999}},
              [[[["deep"] * 9] * 9] * 9] * 9, [16**5000]], ids=lambda _: "value"
)  # fmt: skip
def test_large_values_are_shown_in_short(value: object) -> None:
    assert 10 < len(shown(value)) <= 120


def test_a_message_has_one_line_of_bounded_length() -> None:
    assert str(UserError("a\n  b")) == "a b"
    message = str(UserError(f"start {'x' * 10**6} end"))
    assert len(message) < 2100
    assert (message[:7], message[-5:]) == ("start x", "x end")


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
