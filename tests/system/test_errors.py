"""How a command ends on a user's mistake, on Ctrl-C and on a defect."""

from __future__ import annotations

import pytest

from arxiv_hybrid.system.errors import UserError, exit_on_user_error


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("seed: -1 is not allowed"), 2, "error: seed: -1 is not allowed"),
        (KeyboardInterrupt(), 130, "stopped here"),
        (PermissionError(13, "Permission denied", "out.csv"), 2, "error: out.csv: cannot be"),
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
