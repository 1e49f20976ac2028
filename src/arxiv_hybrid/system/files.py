"""Files in and out. Writes are atomic: a crash never leaves a partial file.

Files of a stage that belong together are bound by digests, see `digests`.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from arxiv_hybrid.system import digests
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.nested import DECIMALS, rounded

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Arrays = dict[str, npt.NDArray[np.float32]]

ROW_GROUP = 1 << 14  # rows of a Parquet file that are read together


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path; on success, its file takes the place of `path`.

    A symbolic link stays, and the file that it names is replaced. An existing file keeps its mode
    and, where allowed, its owner and group. On any failure, Ctrl-C included, the temporary file is
    removed and `path` is unchanged. What is neither a file nor a folder, such as a pipe or a
    device, is written into: its own path is yielded.
    """
    try:
        target, before = _target(path)
        if before and not stat.S_ISREG(before.st_mode):
            yield path
            return
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            if before:  # nobody may read the new content who could not read the old
                temporary.unlink(missing_ok=True)
                os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            yield temporary
            if before:
                _keep_access(temporary, before)
            _replace(temporary, target)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
    except OSError as error:
        error.filename = error.filename or str(path)  # "disk full" comes without a file name
        raise


def _target(path: Path) -> tuple[Path, os.stat_result | None]:
    """The path to replace, after following links, and what is there, if anything.

    A link to a read-only file is not followed but replaced: in DVC's cache, which may be linked
    into the workspace, files must never change.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            target = Path(os.path.realpath(path))
            if not target.parent.is_dir():
                raise UserError(
                    f"{path}: a link to {target}, whose folder does not exist"
                ) from None
            return target, None
        path.parent.mkdir(parents=True, exist_ok=True)
        return path, None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.is_symlink() and stat.S_ISREG(found.st_mode):
        if not found.st_mode & stat.S_IWUSR:
            return path, None
        return Path(os.path.realpath(path)), found
    return path, found


def _replace(temporary: Path, target: Path) -> None:
    """Put a file in the place of another one; one that is mounted by itself is written into."""
    try:
        os.replace(temporary, target)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        shutil.copyfile(temporary, target)


def _keep_access(path: Path, before: os.stat_result) -> None:
    """Give a file the owner, group and mode of the one that it replaces.

    If the group cannot be kept, another group gets no more rights than all others have.
    """
    mode = stat.S_IMODE(before.st_mode)
    with suppress(PermissionError):
        os.chown(path, before.st_uid, -1)
    try:
        os.chown(path, -1, before.st_gid)
    except PermissionError:
        others = mode & stat.S_IRWXO
        mode = mode & ~stat.S_IRWXG | others << 3
    path.chmod(mode)


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


def write_json(
    path: Path,
    content: dict[str, Any],
    *,
    bind: Collection[Path] = (),
    computed_from: Collection[Path] = (),
) -> None:
    """Write JSON with sorted keys and rounded floats: equal content gives equal bytes.

    bind: files that belong to it; it then holds their digests and its own, for `read_bound`.
    computed_from: files whose digests metrics hold, so that one can tell whose metrics they are. In
    a list, because DVC shows texts in a metrics file as metrics, but no lists.
    """
    if computed_from:
        content = {**content, digests.COMPUTED_FROM: digests.record(computed_from)}
    if bind:
        content = {**content, digests.KEY: digests.binding(path, bind)}
    with atomic(path) as temporary:
        text = json.dumps(rounded(content), indent=2, sort_keys=True, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
        if bind:
            digests.seal(temporary)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that an earlier stage wrote; UserError if it is missing or damaged."""
    require(path)
    with _explain_damage(path):
        content: dict[str, Any] = json.loads(_read_file(path))
        if not isinstance(content, dict):
            raise ValueError("not an object")
        return content


def read_bound(
    path: Path, required: Collection[str], optional: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A JSON file of `write_json`, and the bytes of each file that it binds, by name.

    required, optional: names of these files, which are beside it. Raises ValueError if one of
    them, or the JSON itself, is missing or not what was written. Older versions wrote no digests:
    then all files that exist are returned, and one line on stderr says that they are not checked.
    """
    raw = _read_file(path)
    content = json.loads(raw)
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is not an object")
    if digests.KEY not in content:
        names = [*required, *(name for name in optional if (path.parent / name).exists())]
        print(
            f"{path.parent}: written by an older version, without digests: damage may go "
            "unnoticed; train it again",
            file=sys.stderr,
            flush=True,
        )
        return content, {name: _read_file(path.parent / name) for name in names}
    try:
        held = digests.check_own(raw, content.pop(digests.KEY))
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    names = [name for name in held if name != digests.OWN]
    if not {*required} <= {*names} <= {*required, *optional}:
        raise ValueError(f"{path.name}: binds {', '.join(names)}")
    files = {name: _read_file(path.parent / name) for name in names}
    for name, other in files.items():
        if digests.of(other) != held[name]:
            raise ValueError(f"{name} is damaged, or was not written with {path.name}")
    return content, files


def _read_file(path: Path) -> bytes:
    """The bytes of a regular file; ValueError for anything else, which might never end."""
    if not path.is_file():
        raise ValueError(f"{path.name} is missing or not a file")
    return path.read_bytes()


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a CSV with floats of `DECIMALS` places and Unix line endings."""
    with atomic(path) as temporary:
        frame.to_csv(temporary, index=False, float_format=f"%.{DECIMALS}f", lineterminator="\n")


def write_parquet(path: Path, frame: pd.DataFrame, *, bind: Iterable[Path] = ()) -> None:
    """Write a Parquet file without the index, for `read_parquet`; bind: files it belongs to."""
    write_frames(path, [frame], bind=bind)


def write_frames(path: Path, frames: Iterable[pd.DataFrame], *, bind: Iterable[Path] = ()) -> int:
    """Write tables, one below the other, to a Parquet file; return the number of rows.

    The first one, which has all columns with their types, is not empty unless all are.
    """
    import pyarrow as pa

    every = iter(frames)
    first = pa.Table.from_pandas(next(every), preserve_index=False)
    rest = (pa.Table.from_pandas(frame, first.schema, preserve_index=False) for frame in every)
    return write_tables(path, chain([first], rest), first.schema, bind=bind)


def write_tables(
    path: Path, tables: Iterable[pa.Table], schema: pa.Schema, *, bind: Iterable[Path] = ()
) -> int:
    """Write a Parquet file from its parts, one after the other; return the number of rows.

    schema: of each part. bind: files it belongs to. Only a few thousand rows are in memory.
    """
    from pyarrow import parquet

    held = {digests.KEY: json.dumps(digests.binding(path, bind))}
    schema = schema.with_metadata({**(schema.metadata or {}), **held})
    rows = 0
    with atomic(path) as temporary:
        with parquet.ParquetWriter(temporary, schema) as writer:
            for table in tables:
                writer.write_table(table, row_group_size=ROW_GROUP)
                rows += len(table)
        digests.seal(temporary)
    return rows


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a Parquet file that an earlier stage wrote; UserError as for `check_parquet`."""
    check_parquet(path)
    with _explain_damage(path):
        return pd.read_parquet(path)


def check_parquet(path: Path) -> None:
    """Raise UserError if a Parquet file, or one that it is bound to, is not as a stage wrote it."""
    from pyarrow import parquet

    require(path)
    with _explain_damage(path):
        metadata = parquet.read_metadata(path).metadata or {}
        digests.check_file(path, json.loads(metadata.get(digests.KEY.encode(), b"null")))


def write_arrays(path: Path, arrays: Arrays, *, bind: Iterable[Path] = ()) -> None:
    """Write arrays as safetensors, for `read_arrays`; bind: files they belong to."""
    from safetensors.numpy import save

    held = {digests.KEY: json.dumps(digests.binding(path, bind))}
    with atomic(path) as temporary:
        temporary.write_bytes(save(arrays, metadata=held))
        digests.seal(temporary)


def read_arrays(path: Path) -> Arrays:
    """Read arrays that an earlier stage wrote; UserError as for `read_parquet`."""
    from safetensors import safe_open

    require(path)
    with _explain_damage(path), safe_open(path, framework="np") as file:
        metadata = file.metadata() or {}
        digests.check_file(path, json.loads(metadata.get(digests.KEY, "null")))
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)


@contextmanager
def _explain_damage(path: Path) -> Iterator[None]:
    """Turn errors about a file's content into a UserError that says how to replace the file."""
    from safetensors import SafetensorError

    try:
        if not path.is_file():
            raise ValueError("not a file")
        yield
    except (SafetensorError, ValueError, TypeError, LookupError, OSError, RuntimeError) as error:
        raise UserError(
            f"{path}: not as a stage wrote it: {str(error)[:200]}; delete its copy in "
            "DVC's cache, if there is one, and run `dvc repro -f` for the stage that writes it"
        ) from None


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
    """Read a file written by `write_lines`; UserError if it is missing or not UTF-8."""
    require(path)
    with _explain_damage(path):
        return lines_of(_read_file(path))


def lines_of(content: bytes) -> list[str]:
    """The lines of a file written by `write_lines`: only `\\n` ends a line, as it does there."""
    return content.decode("utf-8").removesuffix("\n").split("\n") if content else []
