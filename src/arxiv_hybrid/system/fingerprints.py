"""Digests of the files that users name in parameters, by which DVC notices that one has changed.

Only changed files are read again. Imports no large library: a stage that always runs uses it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from arxiv_hybrid.system import digests, fast_yaml
from arxiv_hybrid.system.errors import UserError

REMEMBERED = 1000  # digests
# a file that changed less than this many seconds ago may change again without a new time stamp
SETTLED = 2.0


def read_params(path: Path) -> dict[str, Any]:
    """The content of a YAML file, unchecked: other stages check it. UserError if it has none."""
    try:
        content = fast_yaml.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML: {error}") from None
    return content if isinstance(content, dict) else {}


def write_fingerprints(out: Path, names: Mapping[str, Any], root: Path, memory: Path) -> None:
    """Write the digest of each file, or of the files directly in a folder, as JSON.

    names: a path, relative to `root`, or a list of paths, by the parameter that names it, such as
    `fetch.path`. Its digest is null if there is no such file: the stage that needs it reports that.
    A list has the digests of its files, in their order. memory: a file
    for the digests, in a folder that exists; without it, files are only read more often.
    """
    known = _read(memory)
    before = dict(known)
    result: dict[str, Any] = {}
    for parameter, name in names.items():
        section, _, key = parameter.rpartition(".")
        part = result.setdefault(section, {}) if section else result
        part[key] = _fingerprint(root, name, known)
    out.parent.mkdir(parents=True, exist_ok=True)
    _write(out, result)
    if known != before and memory.parent.is_dir():
        try:
            _write(memory, dict(list(known.items())[-REMEMBERED:]))
        except OSError as error:
            print(f"{memory}: cannot be written: {error.strerror}; files are read again next time")


def _fingerprint(root: Path, name: Any, known: dict[str, Any]) -> str | list[Any] | None:
    if isinstance(name, list):
        return [_fingerprint(root, part, known) for part in name]
    if not isinstance(name, str):
        return None
    try:
        path = root / Path(name).expanduser()
        if not path.is_dir():
            return _digest(path, known)
        parts = sorted(path.glob("[!.]*"))
        listed = [f"{part.name}\0{_digest(part, known)}" for part in parts]
        return hashlib.sha256("\0".join(listed).encode("utf-8", "surrogateescape")).hexdigest()
    except (OSError, ValueError, RuntimeError):  # no permission, not a path, no such user
        return None


def _digest(path: Path, known: dict[str, Any]) -> str | None:
    """SHA-256 of a regular file: from `known` if the file has not changed since, else computed."""
    state = _state(path)
    if state is None:
        return None
    entry, remembered = known.get(str(path), (None, None))
    if entry == state:
        return str(remembered)
    digest = digests.of_file(path)
    if _state(path) == state and time.time() - state[-1] / 1e9 > SETTLED:
        known.pop(str(path), None)  # the newest are last
        known[str(path)] = [state, digest]
    return digest


def _state(path: Path) -> list[int] | None:
    """What changes with a file's content: ctime does even if size and mtime are restored."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None  # a device or pipe: reading it may never end
    return [status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns]


def _read(memory: Path) -> dict[str, Any]:
    try:
        content = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # the first run, or damaged: then every file is read
    entries = content.items() if isinstance(content, dict) else ()
    return {path: entry for path, entry in entries if isinstance(entry, list) and len(entry) == 2}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON atomically; `system.files` would import pandas."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
