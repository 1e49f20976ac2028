"""Which storage a search uses, and what it says of one that it cannot use."""

from __future__ import annotations

from pathlib import Path

import pytest

from arxiv_hybrid.search.storage import checked_url, open_storage, storage_errors
from arxiv_hybrid.system.errors import UserError

SECRET = "hunter2-and-more"


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_the_driver_is_chosen_here(scheme: str) -> None:
    assert checked_url(f"{scheme}://team@db/sweeps") == "postgresql+psycopg://team@db/sweeps"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (f"postgresql://team:{SECRET}@db/sweeps", "leave it out and set PGPASSWORD"),
        (f"postgresql://team@db/sweeps?password={SECRET}", "leave it out and set PGPASSWORD"),
        (f"postgresql://team@db/sweeps?sslpassword={SECRET}", "leave it out and set PGPASSWORD"),
        (f"mysql://team:{SECRET}@db/sweeps", "leave it out"),
        ("sqlite:///sweeps.db", "sqlite is not supported; expected postgresql+psycopg://HOST"),
        ("://db", "not a URL"),
    ],
)
def test_a_url_with_a_password_or_of_another_kind_is_refused(url: str, message: str) -> None:
    with pytest.raises(UserError, match="--storage: ") as refused:
        open_storage(url, Path())
    assert message in str(refused.value)
    assert SECRET not in str(refused.value)


def test_a_server_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", SECRET)
    with pytest.raises(UserError, match=r"^--storage: .*port 1 ") as refused:
        open_storage("postgresql://team@127.0.0.1:1/sweeps", Path())
    assert SECRET not in str(refused.value)


def test_without_the_driver_the_error_says_what_to_install() -> None:
    with (
        pytest.raises(UserError, match=r"pip install 'arxiv-hybrid\[postgres\]'"),
        storage_errors(),
    ):
        raise ImportError("No module named 'psycopg'")


def test_a_journal_file_of_ones_own(tmp_path: Path) -> None:
    open_storage("shared/sweeps.journal", tmp_path)
    assert (tmp_path / "shared/sweeps.journal").is_file()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        open_storage("file/sweeps.journal", tmp_path)
