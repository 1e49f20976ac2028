"""Processes told apart over time: who wrote a file or opened a run, and whether it still runs."""

from __future__ import annotations

import math
import os
import re
import shutil
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path

_TEMPORARY = re.compile(r"\..+\.([1-9]\d*)\.tmp")  # see `files.atomic`
_CLOCK = 5.0  # seconds that the start time of a process may seem to move when a clock is set


@dataclass(frozen=True)
class ProcessIdentity:
    """A process: its host with the namespace of its pid, the host's boot, pid and start time.

    started: seconds since 1970.
    """

    host: str
    boot: str
    pid: int
    started: float

    @classmethod
    def current(cls) -> ProcessIdentity:
        """The identity of this process."""
        return cls(_host(), _boot(), os.getpid(), _started(os.getpid()) or 0.0)

    def is_dead(self) -> bool:
        """Whether the process has provably ended: on this host, and the pid is gone or reused."""
        if self.host != _host():
            return False
        if self.boot != _boot():
            return True
        started = _started(self.pid)
        return started is None or abs(started - self.started) > _CLOCK

    @property
    def tags(self) -> dict[str, str]:
        """The identity as texts."""
        return {f"process.{name}": str(value) for name, value in vars(self).items()}

    @classmethod
    def from_tags(cls, tags: dict[str, str]) -> ProcessIdentity | None:
        """The identity in `tags`; None if they have none."""
        try:
            return cls(
                tags["process.host"],
                tags["process.boot"],
                int(tags["process.pid"]),
                float(tags["process.started"]),
            )
        except (KeyError, ValueError):
            return None


def remove_leftovers(folders: Iterable[Path]) -> list[Path]:
    """Remove temporary files and folders of processes that were killed; return their paths.

    folders: searched with everything below them, except the folder `.`. Only what `files.atomic`
    and `ordering` name goes, if it is older than this process and its writer has ended: no process
    has its pid, or one that started after it was last written.
    """
    return [
        path
        for folder in folders
        for path in (folder.glob(".*.tmp") if folder == Path() else folder.rglob(".*.tmp"))
        if _remove_if_dead(path)
    ]


def remove_leftovers_of(target: Path) -> None:
    """Remove the temporary files of killed processes that were writing `target`."""
    for path in target.parent.glob(f".{escape(target.name)}.*.tmp"):
        _remove_if_dead(path)


def _remove_if_dead(path: Path) -> bool:
    """Remove a temporary file or folder if its writer has provably ended; whether it is removed."""
    match = _TEMPORARY.fullmatch(path.name)
    if not match or path.is_symlink() or not (path.is_file() or path.is_dir()):
        return False
    with suppress(FileNotFoundError, PermissionError):  # gone by now, or another user's
        written = path.stat().st_mtime
        writer = _started(int(match[1]))
        older = written < (_started(os.getpid()) or 0.0)
        if older and (writer is None or writer > written + _CLOCK):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
            return True
    return False


def _host() -> str:
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{socket.gethostname()} {namespace}".strip()


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        import psutil

        return str(round(psutil.boot_time()))


def _started(pid: int) -> float | None:
    """When a process started, in seconds since 1970; None if there is none with this pid.

    NaN if it cannot be told.
    """
    try:
        import psutil
    except ModuleNotFoundError:  # predicting does not need it
        return math.nan
    try:
        process = psutil.Process(pid)
        # one that has ended but was not waited for still has a pid
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except (psutil.NoSuchProcess, OverflowError):
        return None
    except psutil.AccessDenied:
        return math.nan  # it exists, and compares unequal with every time
