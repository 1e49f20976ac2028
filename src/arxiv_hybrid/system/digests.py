"""Files that belong together, bound by SHA-256: one of them holds the digests of all.

It holds its own digest, too, so that any damaged or exchanged file is noticed. A file's own digest
is taken with `BLANK` in the place of the digest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO, Any

KEY = "sha256"  # under which a file holds the digests
COMPUTED_FROM = "computed_from"  # under which a metrics file holds the result of `record`
OWN = "this file"
BLANK = f"{'SHA-256 of this file':_^64}"
_RECORDED = 16  # digits of a digest in a metrics file
_PART = 1 << 20  # bytes hashed at a time

Digests = dict[str, str]  # by path, relative to the folder of the file that holds them


def binding(path: Path, others: Iterable[Path]) -> Digests:
    """What the file `path` must hold: the digests of `others`, and `BLANK` until it is sealed."""
    folder = path.parent
    return {
        OWN: BLANK,
        **{Path(os.path.relpath(other, folder)).as_posix(): of_file(other) for other in others},
    }


def seal(path: Path) -> None:
    """Replace the last `BLANK` in a file, which need not fit into memory, by the file's digest."""
    with path.open("r+b") as file:
        place = _last(file, BLANK.encode())
        digest = _with_blank(file, place)
        file.seek(place)
        file.write(digest.encode())


def _last(file: IO[bytes], text: bytes) -> int:
    """Where `text` occurs last in a file, which is read from its end; -1 if nowhere."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(end - _PART, 0)
        file.seek(start)
        found = file.read(end - start + len(text) - 1).rfind(text)
        if found >= 0:
            return start + found
        end = start
    return -1


def _with_blank(file: IO[bytes], place: int) -> str:
    """The SHA-256 of a file in which `BLANK` stands at `place`."""
    digest = hashlib.sha256()
    file.seek(0)
    left = place
    while left and (part := file.read(min(left, _PART))):
        digest.update(part)
        left -= len(part)
    digest.update(BLANK.encode())
    file.seek(place + len(BLANK))
    while part := file.read(_PART):
        digest.update(part)
    return digest.hexdigest()


def of(content: bytes) -> str:
    """The SHA-256 of bytes, as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def of_file(path: Path, algorithm: str = "sha256") -> str:
    """The SHA-256 of a file, or DVC's `md5`; the file need not fit into memory."""
    new = partial(hashlib.new, algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        return hashlib.file_digest(file, new).hexdigest()


def record(paths: Iterable[Path]) -> list[str]:
    """A line for each file: the first 16 digits of its SHA-256, a space, and its path."""
    return [f"{of_file(path)[:_RECORDED]} {path.as_posix()}" for path in paths]


def differing(lines: list[str], folder: Path) -> list[str]:
    """The paths of a `record`, relative to `folder`, whose files are now others or gone."""
    return [
        path
        for digest, _, path in (line.partition(" ") for line in lines)
        if not (folder / path).is_file() or of_file(folder / path)[:_RECORDED] != digest
    ]


def check_own(content: bytes, held: Any) -> Digests:
    """Return the digests `held` by a file with this content, after checking its own.

    Raises ValueError if the content has changed since it was sealed.
    """
    return _check_own(BytesIO(content), held)


def _check_own(file: IO[bytes], held: Any) -> Digests:
    if not (isinstance(held, dict) and all(isinstance(value, str) for value in held.values())):
        raise ValueError("its digests are damaged")
    own = held.get(OWN, "")
    place = _last(file, own.encode()) if len(own) == len(BLANK) else -1
    if place < 0:
        raise ValueError("its digests are damaged")
    if _with_blank(file, place) != own:
        raise ValueError("changed since it was written")
    return held


def check_file(path: Path, held: Any) -> None:
    """Raise ValueError unless a file, and those beside it, are what its digests `held` say."""
    if not isinstance(held, dict):
        raise ValueError("has no digests: written by an older version or another program")
    with path.open("rb") as file:
        _check_own(file, held)
    for name in held.keys() - {OWN}:
        other = path.parent / name
        if not other.is_file() or of_file(other) != held[name]:
            raise ValueError(f"belongs to another {name}")
