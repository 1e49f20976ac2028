"""Large files from the web: resumed where they broke off, checked, from whichever host answers."""

from __future__ import annotations

import hashlib
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
from typing import Any, NoReturn

import requests
from tqdm import tqdm

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import write_json, write_lines
from arxiv_hybrid.system.web import (
    PassingError,
    RetryPolicy,
    Tell,
    WebError,
    answer,
    chunks,
    file_lock,
    host,
    retry,
    session,
)

RETRY_POLICY = RetryPolicy(first_wait=2.0, tries=5, silence=30.0)
SPARE = 64 << 20  # bytes of disk to leave free
SLOWEST = 2048  # bytes a second, over `SLOW_FOR` seconds, before another host is tried
SLOW_FOR = 60.0
PROGRESS = 1 << 20  # a try that brought so many bytes does not count as a failed one
_BLOCK = 1 << 20
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(frozen=True)
class Remote:
    """A file that one or more hosts have; size in bytes and checksum where they are known."""

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    sha256: str | None = None


def download(
    remote: Remote,
    folder: Path,
    *,
    key: str,
    policy: RetryPolicy = RETRY_POLICY,
    tell: Tell = tqdm.write,
) -> Path:
    """Return the path of `remote` in `folder`, after getting what is not yet there.

    What broke off is kept as `NAME.part` and gone on with, from any host if the checksum is
    known. Without one, the checksum of the first download is kept and shown. key: the
    parameter that named the file, for messages. Raises UserError in one line if no host
    gives the file, or only a wrong one.
    """
    waiting = f"{remote.name}: another process is getting it; waiting"
    with file_lock(folder / f"{remote.name}.lock", tell, waiting):
        fetching = _Fetching(remote, folder, key, policy, tell)
        if fetching.is_there():
            return fetching.target
        fetching.check_room()
        with tqdm(
            total=remote.size, desc=remote.name, unit="B", unit_scale=True, disable=None
        ) as bar:
            fetching.run(bar)
        return fetching.target


def sha256_of(path: Path) -> str:
    """Checksum of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


@dataclass
class _Fetching:
    """One download: its files, the hosts that are left, and why others were given up."""

    remote: Remote
    folder: Path
    key: str
    policy: RetryPolicy
    tell: Tell
    given_up: dict[str, str] = field(default_factory=dict)
    connection: requests.Session = field(default_factory=session)

    @property
    def target(self) -> Path:
        return self.folder / self.remote.name

    @property
    def part(self) -> Path:
        return self.folder / f"{self.remote.name}.part"

    @property
    def origin(self) -> Path:
        """Beside a part whose checksum is unknown: where it is from, and which version."""
        return self.folder / f"{self.remote.name}.part.json"

    @property
    def kept_sum(self) -> Path:
        return self.folder / f"{self.remote.name}.sha256"

    def is_there(self) -> bool:
        """Whether the whole file is there; a damaged one is removed."""
        if not self.target.is_file():
            return False
        expected = self.remote.sha256
        if expected is None and self.kept_sum.is_file():
            expected = self.kept_sum.read_text(encoding="utf-8").strip()
        found = sha256_of(self.target)
        if expected in (None, found):
            return True
        if self.kept_sum.is_file() and found == self.kept_sum.read_text(encoding="utf-8").strip():
            raise UserError(
                f"{self.target}: sha256 is {found} as it was when it came, expected {expected}; "
                "put that right, or remove the file to get it again"
            )
        self.tell(f"{self.target}: sha256 is {found}, expected {expected}; getting it again")
        self.target.unlink()
        return False

    def check_room(self, missing: int | None = None) -> None:
        """Raise UserError if the disk cannot take what is missing, in bytes."""
        if missing is None:
            missing = max(0, (self.remote.size or 0) - self._have())
        needed = missing + SPARE
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise UserError(
                f"{self.folder}: {free >> 20:,} MiB are free, {self.remote.name} needs "
                f"{needed >> 20:,}; set ARXIV_HYBRID_CACHE to a folder with more ({self.key})"
            )

    def run(self, bar: Any) -> None:
        """Try one host after the other until the file is whole and its checksum right."""
        while urls := [url for url in self.remote.urls if url not in self.given_up]:
            url = urls[0]
            resumed = self._have() > 0
            try:
                self._get(url, bar)
            except WebError as error:
                self._give_up(url, str(error))
                continue
            if problem := self._problem():
                self._forget_part(bar)
                if resumed and self.remote.sha256:  # perhaps the part was wrong, not this host
                    self.tell(f"{self.remote.name}: {problem}; getting all of it again")
                else:
                    self._give_up(url, problem)
                continue
            self._finish()
            return
        reasons = "; ".join(f"{host(url)}: {why}" for url, why in self.given_up.items())
        size = f" of {self.remote.size >> 20:,}" if self.remote.size else ""
        raise UserError(
            f"{self.remote.name}: {self._have() >> 20:,}{size} MiB are here, no host gave the "
            f"rest ({reasons}); run the same command again to go on, or get the file by other "
            f"means and set {self.key} to its path"
        )

    def _give_up(self, url: str, why: str) -> None:
        self.given_up[url] = why
        self._say(url, why)

    def _say(self, url: str, line: str) -> None:
        self.tell(f"{self.remote.name}: {host(url)}: {line}")

    def _get(self, url: str, bar: Any) -> None:
        """All that is missing, from one host; WebError when it is no use to go on with it."""
        while True:
            before = self._have()
            try:
                retry(partial(self._stream, url, bar), self.policy, partial(self._say, url))
                return
            except PassingError:
                if self._have() < before + PROGRESS:
                    raise

    def _stream(self, url: str, bar: Any) -> None:
        """One request for what is missing, written as it comes."""
        have = self._have()
        if have and have == self.remote.size:
            return
        if self.remote.size is not None and have > self.remote.size:
            self.part.unlink(missing_ok=True)
            have = 0
        with answer(
            self.connection, url, self.policy, self._headers(url, have), (200, 206, 416)
        ) as response:
            start = self._start(response, have)
            if start is None:
                return
            if not start:  # before the origin: a part must never be of another one's
                self.part.unlink(missing_ok=True)
            if self.remote.sha256 is None:
                write_json(self.origin, {"url": url, "version": _version(response)})
            bar.n = start
            bar.refresh()
            self._append(_not_too_slow(chunks(response, decode=False)), bar)
        have = self._have()
        if self.remote.size is not None and have != self.remote.size:
            raise PassingError(f"the connection was cut at {have >> 20:,} MiB")

    def _append(self, stream: Iterator[bytes], bar: Any) -> None:
        try:
            with self.part.open("ab") as file:
                for chunk in stream:
                    file.write(chunk)
                    bar.update(len(chunk))
                    if self.remote.size is not None and file.tell() > self.remote.size:
                        raise WebError(f"has more than {self.remote.size:,} bytes")
        except OSError as error:
            error.filename = error.filename or str(self.part)
            raise

    def _headers(self, url: str, have: int) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity"}
        if not have:
            return headers
        if self.remote.sha256:
            return {**headers, "Range": f"bytes={have}-"}
        origin = self._origin()
        if origin.get("url") == url and origin.get("version"):
            return {**headers, "Range": f"bytes={have}-", "If-Range": origin["version"]}
        return headers

    def _origin(self) -> dict[str, str]:
        try:
            content: dict[str, str] = json.loads(self.origin.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _start(self, response: requests.Response, have: int) -> int | None:
        """Where the answer's bytes belong; None if there are none because all are here."""
        headers = response.headers
        if headers.get("Content-Type", "").lower().startswith("text/html"):
            raise WebError("sent a web page instead of the file")
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            raise WebError("packed the file once more")
        part = headers.get("Content-Range", "")
        if response.status_code == 416:
            if self.remote.size is None and have and part == f"bytes */{have}":
                return None
            self._start_again("has not the part that is missing")
        if response.status_code == 206:
            match = _RANGE.match(part)
            if match is None or int(match[1]) != have:
                self._start_again("sent another part than asked for")
            if self.remote.sha256 is None and _version(response) != self._origin().get("version"):
                self._start_again("sent a part of another version")
        start = have if response.status_code == 206 else 0
        length = headers.get("Content-Length", "")
        if length.isascii() and length.isdecimal():
            self._check_length(start, int(length))
        return start

    def _start_again(self, why: str) -> NoReturn:
        self.part.unlink(missing_ok=True)
        raise PassingError(f"{why}; starting again")

    def _check_length(self, start: int, length: int) -> None:
        if self.remote.size is not None and start + length != self.remote.size:
            raise WebError(f"has {start + length:,} bytes, expected {self.remote.size:,}")
        self.check_room(length)

    def _problem(self) -> str | None:
        """What is wrong with a file that has come whole."""
        if self.remote.sha256:
            found = sha256_of(self.part)
            if found != self.remote.sha256:
                return f"sha256 is {found}, expected {self.remote.sha256}"
        elif self.remote.name.endswith(".zip") and not _is_whole(self.part):
            return "is no whole .zip"
        return None

    def _finish(self) -> None:
        if self.remote.sha256 is None:
            found = sha256_of(self.part)
            write_lines(self.kept_sum, [found])
            self.tell(
                f"{self.remote.name}: sha256 is {found}; no published one is known here, so "
                "keep it with glove.sha256"
            )
        os.replace(self.part, self.target)
        self.origin.unlink(missing_ok=True)

    def _forget_part(self, bar: Any) -> None:
        self.part.unlink(missing_ok=True)
        self.origin.unlink(missing_ok=True)
        bar.n = 0
        bar.refresh()

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0


def _is_whole(path: Path) -> bool:
    """Whether a .zip has all its files and their checksums are right; nothing is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
        return False


def _not_too_slow(stream: Iterator[bytes]) -> Iterator[bytes]:
    since, count = time.monotonic(), 0
    for chunk in stream:
        yield chunk
        count += len(chunk)
        passed = time.monotonic() - since
        if passed > SLOW_FOR:
            if count < SLOWEST * passed:
                raise PassingError(f"sends less than {SLOWEST:,} bytes a second")
            since, count = time.monotonic(), 0


def _version(response: requests.Response) -> str | None:
    """What tells one version of the file from another; a weak tag does not (RFC 9110, 13.1.5)."""
    tag = response.headers.get("ETag", "")
    if tag and not tag.startswith("W/"):
        return tag
    return response.headers.get("Last-Modified")
