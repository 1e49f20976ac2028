"""Downloads of large files: resumable, verified, with several hosts to fall back on."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NoReturn

import requests

from arxiv_hybrid.system import digests
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import write_json, write_lines
from arxiv_hybrid.system.http import get, host_name, iter_body, new_session
from arxiv_hybrid.system.locks import file_lock
from arxiv_hybrid.system.retry import Log, RequestError, RetryPolicy, TransientError, retry
from arxiv_hybrid.system.ticker import Progress, print_line

RETRY_POLICY = RetryPolicy(first_wait=2.0, attempts=5, timeout=30.0)
DISK_RESERVE = 64 << 20  # bytes to leave free
MIN_SPEED = 2048  # bytes per second over `SPEED_WINDOW`; slower hosts are abandoned
SPEED_WINDOW = 60.0  # seconds
MIN_PROGRESS = 1 << 20  # an attempt that received this many bytes does not count as a failure
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(frozen=True)
class RemoteFile:
    """A file on one or more hosts; size in bytes and SHA-256 where they are known."""

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    sha256: str | None = None


def download(
    remote: RemoteFile,
    folder: Path,
    *,
    option: str,
    checksum_option: str,
    policy: RetryPolicy = RETRY_POLICY,
    log: Log = print_line,
) -> Path:
    """Return the path of `remote` in `folder`; download what is not there yet.

    An interrupted download is kept as `NAME.part` and resumes: from any host if the checksum
    is known, else from the same URL if its file has not changed. Without a known checksum,
    that of the first download is kept and printed, and no other file is accepted later.
    option, checksum_option: the options that name the file and its checksum, for messages.
    Raises UserError if no host provides the correct file.
    """
    waiting = f"{remote.name}: another process is downloading it; waiting"
    with file_lock(folder / f"{remote.name}.lock", log, waiting):
        kept = _kept_checksum(folder / f"{remote.name}.sha256")
        job = _Download(remote, kept, folder, option, checksum_option, policy, log)
        if job.is_complete():
            return job.target
        job.check_disk_space(max(0, (remote.size or 0) - job.part.size))
        with Progress(what=remote.name, total=remote.size, unit="B", leave=True) as bar:
            job.run(bar)
        return job.target


@dataclass(frozen=True)
class _PartialFile:
    """The bytes received so far; if no checksum is known, a second file has URL and version."""

    path: Path

    @property
    def _origin_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def write_origin(self, url: str, version: str | None) -> None:
        write_json(self._origin_path, {"url": url, "version": version})

    def origin(self) -> dict[str, str]:
        """`url` and `version` of the bytes; empty if unknown."""
        try:
            content: dict[str, str] = json.loads(self._origin_path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def append(self, chunks: Iterator[bytes], max_size: int | None, bar: Progress) -> None:
        """Write chunks as they arrive; RequestError if the file grows above `max_size`."""
        try:
            with self.path.open("ab") as file:
                for chunk in chunks:
                    file.write(chunk)
                    bar.update(len(chunk))
                    if max_size is not None and file.tell() > max_size:
                        raise RequestError(f"sent more than {max_size:,} bytes")
        except OSError as error:
            error.filename = error.filename or str(self.path)
            raise

    def move_to(self, target: Path) -> None:
        os.replace(self.path, target)
        self._origin_path.unlink(missing_ok=True)

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)
        self._origin_path.unlink(missing_ok=True)


@dataclass
class _Download:
    """One download: its files on disk, and the hosts that failed with the reason."""

    remote: RemoteFile
    kept: str | None  # SHA-256 of the first download
    folder: Path
    option: str
    checksum_option: str
    policy: RetryPolicy
    log: Log
    failed: dict[str, str] = field(default_factory=dict)  # reason by URL
    session: requests.Session = field(default_factory=new_session)

    @property
    def target(self) -> Path:
        return self.folder / self.remote.name

    @property
    def part(self) -> _PartialFile:
        return _PartialFile(self.folder / f"{self.remote.name}.part")

    @property
    def expected(self) -> str | None:
        """The checksum that the file must have: the known one, or that of the first download."""
        return self.remote.sha256 or self.kept

    def is_complete(self) -> bool:
        """Whether the target exists and matches its checksum; a damaged target is deleted."""
        if not self.target.is_file():
            return False
        expected, actual = self.expected, digests.of_file(self.target)
        if expected in (None, actual):
            return True
        if actual == self.kept:  # the file is intact: the expected checksum must be wrong
            raise UserError(
                f"{self.target}: sha256 is {actual}, unchanged since the download, expected "
                f"{expected}; correct {self.checksum_option}, or delete the file to download "
                "it again"
            )
        self.log(f"{self.target}: sha256 is {actual}, expected {expected}; downloading it again")
        self.target.unlink()
        return False

    def check_disk_space(self, missing: int) -> None:
        """Raise UserError if the disk has no room for `missing` bytes."""
        needed = missing + DISK_RESERVE
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise UserError(
                f"{self.folder}: {free >> 20:,} MiB free, {self.remote.name} needs "
                f"{needed >> 20:,} MiB; set ARXIV_HYBRID_CACHE to a folder with more space "
                f"({self.option})"
            )

    def run(self, bar: Progress) -> None:
        """Try one host after the other until the file is complete and correct."""
        while urls := [url for url in self.remote.urls if url not in self.failed]:
            url = urls[0]
            resumed = self.part.size > 0
            try:
                self._fetch(url, bar)
            except RequestError as error:
                self._give_up(url, str(error))
                continue
            problem = self._verify()
            if problem is None:
                self._finish()
                return
            self.part.delete()
            bar.restart()
            if resumed and self.expected:  # perhaps an earlier part was wrong, not this host
                self.log(f"{self.remote.name}: {problem}; downloading the whole file again")
            else:
                self._give_up(url, problem)
        reasons = "; ".join(f"{host_name(url)}: {reason}" for url, reason in self.failed.items())
        size = f" of {self.remote.size >> 20:,}" if self.remote.size else ""
        raise UserError(
            f"{self.remote.name}: {self.part.size >> 20:,}{size} MiB downloaded, then every host "
            f"failed ({reasons}); run the same command again to resume, or get the file by other "
            f"means and set {self.option} to its path"
        )

    def _give_up(self, url: str, reason: str) -> None:
        self.failed[url] = reason
        self._log_host(url, reason)

    def _log_host(self, url: str, line: str) -> None:
        self.log(f"{self.remote.name}: {host_name(url)}: {line}")

    def _fetch(self, url: str, bar: Progress) -> None:
        """Get all missing bytes from one host; RequestError if that host should be abandoned."""
        while True:
            before = self.part.size
            try:
                retry(partial(self._request, url, bar), self.policy, partial(self._log_host, url))
                return
            except TransientError:
                if self.part.size < before + MIN_PROGRESS:
                    raise

    def _request(self, url: str, bar: Progress) -> None:
        """Request the missing bytes once and append them as they arrive."""
        size = self.part.size
        if size and size == self.remote.size:
            return
        if self.remote.size is not None and size > self.remote.size:
            self.part.delete()
            size = 0
        headers = self._headers(url, size)
        with get(self.session, url, self.policy, headers, (200, 206, 416)) as response:
            start = self._start_offset(response, size)
            if start is None:
                return
            if start == 0:  # delete before writing the origin: the two must never mismatch
                self.part.delete()
            if self.expected is None:
                self.part.write_origin(url, _version(response))
            bar.restart(start)
            chunks = _reject_slow(iter_body(response, decode=False))
            self.part.append(chunks, self.remote.size, bar)
        size = self.part.size
        if self.remote.size is not None and size != self.remote.size:
            raise TransientError(f"the connection was lost after {size >> 20:,} MiB")

    def _headers(self, url: str, size: int) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity"}
        if not size:
            return headers
        if self.expected:
            return {**headers, "Range": f"bytes={size}-"}
        origin = self.part.origin()
        if origin.get("url") == url and origin.get("version"):
            return {**headers, "Range": f"bytes={size}-", "If-Range": origin["version"]}
        return headers

    def _start_offset(self, response: requests.Response, size: int) -> int | None:
        """Offset of the response's first byte in the file; None if no bytes are missing."""
        headers = response.headers
        if headers.get("Content-Type", "").lower().startswith("text/html"):
            raise RequestError("sent a web page instead of the file")
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            raise RequestError("sent the file with another compression")
        content_range = headers.get("Content-Range", "")
        if response.status_code == 416:
            if self.remote.size is None and size and content_range == f"bytes */{size}":
                return None
            self._restart("does not have the missing range")
        if response.status_code == 206:
            match = _CONTENT_RANGE.match(content_range)
            if match is None or int(match[1]) != size:
                self._restart("sent another range than requested")
            changed = _version(response) != self.part.origin().get("version")
            if self.expected is None and changed:
                self._restart("sent a range of another version")
        start = size if response.status_code == 206 else 0
        length = headers.get("Content-Length", "")
        if length.isascii() and length.isdecimal():
            self._check_length(start, int(length))
        return start

    def _restart(self, reason: str) -> NoReturn:
        self.part.delete()
        raise TransientError(f"{reason}; starting over")

    def _check_length(self, start: int, length: int) -> None:
        if self.remote.size is not None and start + length != self.remote.size:
            raise RequestError(f"has {start + length:,} bytes, expected {self.remote.size:,}")
        self.check_disk_space(length)

    def _verify(self) -> str | None:
        """What is wrong with the downloaded file; None if nothing is."""
        if self.expected:
            actual = digests.of_file(self.part.path)
            if actual == self.expected:
                return None
            if self.remote.sha256:
                return f"sha256 is {actual}, expected {self.remote.sha256}"
            return (
                f"sha256 is {actual}, that of the first download {self.kept}; to accept the new "
                f"file, delete {self.target}.sha256"
            )
        if self.remote.name.endswith(".zip") and not _is_intact_zip(self.part.path):
            return "is not a complete .zip"
        return None

    def _finish(self) -> None:
        if self.expected is None:
            checksum = digests.of_file(self.part.path)
            write_lines(self.target.with_name(f"{self.remote.name}.sha256"), [checksum])
            self.log(
                f"{self.remote.name}: sha256 is {checksum}; no published checksum is known, pin "
                f"this one with {self.checksum_option}"
            )
        self.part.move_to(self.target)


def _kept_checksum(path: Path) -> str | None:
    """The checksum of the first download; None before it. UserError if the file holds none."""
    if not path.is_file():
        return None
    content = path.read_text(encoding="utf-8", errors="replace").strip()
    if not _SHA256.fullmatch(content):
        raise UserError(
            f"{path}: does not contain a SHA-256; delete it to accept the next download"
        )
    return content


def _is_intact_zip(path: Path) -> bool:
    """Whether all members of a .zip match their checksums; nothing is extracted."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
        return False


def _reject_slow(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Pass chunks on; TransientError if they arrive slower than `MIN_SPEED`."""
    start, received = time.monotonic(), 0
    for chunk in chunks:
        yield chunk
        received += len(chunk)
        elapsed = time.monotonic() - start
        if elapsed > SPEED_WINDOW:
            if received < MIN_SPEED * elapsed:
                raise TransientError(f"sends less than {MIN_SPEED:,} bytes per second")
            start, received = time.monotonic(), 0


def _version(response: requests.Response) -> str | None:
    """Strong ETag or modification time; a weak ETag does not identify bytes (RFC 9110, 13.1.5)."""
    tag = response.headers.get("ETag", "")
    if tag and not tag.startswith("W/"):
        return tag
    return response.headers.get("Last-Modified")
