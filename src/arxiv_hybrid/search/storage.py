"""Where a study is kept: a journal file for one machine, a PostgreSQL server for several."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy import exc, make_url

from arxiv_hybrid.search import JOURNAL
from arxiv_hybrid.system.errors import UserError

_DRIVER = "postgresql+psycopg"
_EXAMPLE = f"{_DRIVER}://HOST/DATABASE"
_ATTEMPTS = 5  # to create the tables, which another worker may be doing
_TIMEOUT = 15  # seconds to reach the server


def open_storage(name: str | None, root: Path) -> BaseStorage:
    """The storage that a URL or the path of a journal file names; None: the repository's journal.

    Passwords come from PGPASSWORD or from ~/.pgpass, as with all of PostgreSQL's clients. Raises
    UserError if the URL contains one, or if the server cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if name is None or "://" not in name:
        path = root / (name or JOURNAL)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return JournalStorage(JournalFileBackend(str(path)))
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from None
    url = checked_url(name)
    with storage_errors():
        for attempt in range(_ATTEMPTS):
            try:
                options = {"pool_pre_ping": True, "connect_args": {"connect_timeout": _TIMEOUT}}
                return RDBStorage(url, engine_kwargs=options)
            except (exc.IntegrityError, exc.ProgrammingError):
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(0.5)  # until the other worker has made the tables
    raise AssertionError("the loop returns or raises")


def checked_url(name: str) -> str:
    """The URL of a PostgreSQL database with its driver; UserError if it is no such URL."""
    try:
        url = make_url(name)
    except exc.ArgumentError:
        raise UserError(f"--storage: not a URL; expected {_EXAMPLE}") from None
    if url.password is not None or any("password" in key.lower() for key in url.query):
        raise UserError(
            "--storage: contains a password, which other users of this machine can see; leave it "
            "out and set PGPASSWORD"
        )
    if url.get_backend_name() != "postgresql":
        raise UserError(
            f"--storage: {url.drivername} is not supported; expected {_EXAMPLE}, or the path of a "
            "journal file"
        )
    return url.set(drivername=_DRIVER).render_as_string()


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn errors of the server into a UserError with the reason in one line."""
    try:
        yield
    except (exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise UserError(f"--storage: {cause}") from None
    except ImportError:
        raise UserError(
            "--storage: PostgreSQL needs psycopg, which is not installed; run "
            "`pip install 'arxiv-hybrid[postgres]'`"
        ) from None
