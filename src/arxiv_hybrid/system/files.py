"""Files in and out. Writes are atomic: a crash never leaves a partial file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.nested import DECIMALS, rounded


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; rename it to `path` on success.

    On any failure, Ctrl-C included, the temporary file is removed and `path` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # "disk full" comes without a file name
        raise
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def user_file(root: Path, name: str) -> Path:
    """Path of a file that a param names; a relative path starts at `root`, the repository.

    Raises UserError for `~name` if there is no such user.
    """
    try:
        return root / Path(name).expanduser()
    except RuntimeError:
        raise UserError(f"{name}: there is no such user; write the path in full") from None


def require(path: Path) -> None:
    """Raise UserError if the output of an earlier stage is missing."""
    if not path.exists():
        raise UserError(f"{path}: not found; run `dvc repro` to create it")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON with sorted keys and rounded floats: equal content gives equal bytes."""
    with atomic(path) as temporary:
        text = json.dumps(rounded(content), indent=2, sort_keys=True, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that an earlier stage wrote."""
    require(path)
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a CSV with floats of `DECIMALS` places and Unix line endings."""
    with atomic(path) as temporary:
        frame.to_csv(temporary, index=False, float_format=f"%.{DECIMALS}f", lineterminator="\n")


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a Parquet file without the index."""
    with atomic(path) as temporary:
        frame.to_parquet(temporary, index=False)


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a Parquet file that an earlier stage wrote."""
    require(path)
    return pd.read_parquet(path)


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes, such as serialized tensors; raises OSError if the disk is full."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8."""
    write_bytes(path, text.encode())


def write_lines(path: Path, lines: list[str]) -> None:
    """Write one string per line."""
    write_text(path, "".join(f"{line}\n" for line in lines))


def read_lines(path: Path) -> list[str]:
    """Read a file written by `write_lines`."""
    require(path)
    return path.read_text(encoding="utf-8").splitlines()
