"""A real PostgreSQL server for tests, on a free port of 127.0.0.1 and with a password."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from ports import free_port

USER, PASSWORD = "team", "not-a-secret"  # of servers that live as long as a test


@dataclass(frozen=True)
class Postgres:
    """Where the server listens, and what a client has to know."""

    port: int
    binaries: Path

    @property
    def environment(self) -> dict[str, str]:
        """What clients that use libpq read: the password, which no URL here contains."""
        return {"PGPASSWORD": PASSWORD}

    def url(self, database: str = "postgres") -> str:
        """The SQLAlchemy URL of a database, without the password."""
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Create a database and return its URL."""
        command = [self.binaries / "createdb", "-h", "127.0.0.1", "-p", str(self.port)]
        subprocess.run(
            [*command, "-U", USER, database], check=True, env={**os.environ, **self.environment}
        )
        return self.url(database)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a server and stop it at the end; skip the test where PostgreSQL is not installed.

    PostgreSQL refuses to run as root: there it runs as the user postgres of the package.
    """
    binaries = _binaries()
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="arxiv-hybrid-postgres-"))
    if user:
        shutil.chown(folder, user, user)
    secret = folder / "password"
    secret.write_text(PASSWORD, encoding="utf-8")
    secret.chmod(0o644)
    port = free_port()
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"

    def run(name: str, *arguments: str) -> None:
        subprocess.run(
            [binaries / name, "-D", folder / "data", *arguments],
            check=True,
            user=user,
            group=user,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )

    try:
        run("initdb", "-U", USER, "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync")
        run("pg_ctl", "-w", "-o", f"{options} -c fsync=off", "-l", str(folder / "log"), "start")
        try:
            yield Postgres(port, binaries)
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def _binaries() -> Path:
    """The folder of PostgreSQL's programs; Debian keeps them outside of PATH."""
    on_path = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in [*on_path, *debian]:
        if all((folder / name).exists() for name in ("initdb", "pg_ctl", "postgres", "createdb")):
            return folder
    pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
