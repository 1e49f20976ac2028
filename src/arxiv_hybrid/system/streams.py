"""Large text files, plain or compressed (.gz, .xz, .zip), read as blocks of whole lines.

The first bytes of a file say how it is compressed, whatever its name. Nothing is extracted to
disk, and only one block is in memory at a time. No line may be longer than `MAX_LINE`: a small
file can expand to a line of gigabytes.
"""

from __future__ import annotations

import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, cast

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.ticker import Progress

BLOCK_SIZE = 8 << 20  # bytes
MAX_LINE = 16 << 20  # bytes; the longest paper of arXiv has some 100 KB of metadata

MemberFilter = Callable[[list[str]], list[str]]  # from all names in a .zip to those to read

_GZIP, _XZ, _ZIP = b"\x1f\x8b", b"\xfd7zXZ\x00", b"PK\x03\x04"
_OTHER_FORMATS = {  # by their first bytes in lower case
    b"par1": "a Parquet file; save it as CSV or JSON lines",
    b"arrow1": "an Arrow file; save it as CSV or JSON lines",
    b"sqlite format 3": "an SQLite database; save the table as CSV",
    b"\x89hdf": "an HDF5 file; save it as CSV",
    b"\x93numpy": "a NumPy file; save it as text",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file; save it as CSV",
    b"%pdf": "a PDF; save it as text",
    b"bzh": "compressed by bzip2; use .gz, .xz or .zip",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; use .gz, .xz or .zip",
    b"7z\xbc\xaf": "a .7z archive; use .gz, .xz or .zip",
    b"rar!": "a .rar archive; use .gz, .xz or .zip",
    b"\xff\xfe": "UTF-16; save it as UTF-8",
    b"\xfe\xff": "UTF-16; save it as UTF-8",
    b"<!doctype": "a web page; download the file again",
    b"<html": "a web page; download the file again",
    b"version https://git-lfs": "a Git LFS pointer; get the file that it points to",
}


class Readable(Protocol):
    """A binary stream."""

    def read(self, size: int, /) -> bytes:
        """Read up to `size` bytes; empty at the end."""


def any_member(names: list[str]) -> list[str]:
    """The files of a .zip, without the folders and what macOS adds."""
    return [name for name in names if not name.endswith("/") and not name.startswith("__MACOSX/")]


def line_blocks(
    path: Path, *, option: str, members: MemberFilter = any_member, standard_input: bool = False
) -> Generator[tuple[int, bytes], None, None]:
    """Yield (number of first line, block of whole lines); the last line may lack a line ending.

    option: the option that named the file, for messages. members: picks the file to read
    from a .zip. standard_input: read that, and use `path` for messages only. A progress bar counts
    the bytes of the compressed file. Raises UserError if the file is missing, truncated, damaged,
    of a format that is no text, or has a line longer than `MAX_LINE`.
    """
    with explain_read_errors(path, option), _open(path, standard_input) as raw:
        size = 0 if standard_input else path.stat().st_size  # 0: a pipe, which has no position
        with (
            _decompressed(raw, path, option, members) as stream,
            Progress(what=path.name, total=size, unit="B", leave=True) as bar,
        ):
            for block in _blocks(stream, path, option):
                if size:
                    bar.update(raw.tell() - bar.n)
                yield block


def text_lines(
    path: Path, *, option: str, members: MemberFilter = any_member, standard_input: bool = False
) -> Iterator[str]:
    """Yield the lines of `line_blocks` as text, each with its line ending `\\n` or `\\r\\n`.

    A byte order mark is removed. Bytes that are not UTF-8 become lone surrogates. If there are
    only carriage returns, as in files of old Macs, they end the lines.
    """
    blocks = line_blocks(path, option=option, members=members, standard_input=standard_input)
    only_returns = False
    for first_line, block in blocks:
        if first_line == 1:
            block = block.removeprefix(b"\xef\xbb\xbf")
            only_returns = b"\n" not in block
        if only_returns:
            block = block.replace(b"\r", b"\n")
        yield from io.StringIO(block.decode("utf-8", "surrogateescape"), newline="\n")


@contextmanager
def _open(path: Path, standard_input: bool) -> Iterator[io.BufferedReader]:
    with open(0 if standard_input else path, "rb", closefd=not standard_input) as raw:
        yield raw


@contextmanager
def _decompressed(
    raw: io.BufferedReader, path: Path, option: str, members: MemberFilter
) -> Iterator[Readable]:
    start = raw.peek(len(_XZ))
    if start.startswith(_ZIP):
        with (
            zipfile.ZipFile(raw) as archive,
            archive.open(_member(archive.namelist(), path, option, members)) as stream,
        ):
            yield stream
    elif start.startswith(_GZIP):
        with gzip.open(raw) as stream:
            yield cast(Readable, stream)
    elif start.startswith(_XZ):
        with lzma.open(raw) as stream:
            yield stream
    else:
        yield raw


def _member(names: list[str], path: Path, option: str, members: MemberFilter) -> str:
    """The one file to read from a .zip."""
    if "[Content_Types].xml" in names:
        raise UserError(f"{path}: is an Excel or Word file; save it as CSV ({option})")
    chosen = members(names)
    if len(chosen) != 1:
        contents = ", ".join((chosen or names)[:5]) or "nothing"
        raise UserError(f"{path}: contains {contents}; expected one file ({option})")
    return chosen[0]


@contextmanager
def explain_read_errors(path: Path, option: str) -> Iterator[None]:
    """Turn errors of reading `path` inside the block into a UserError of one line."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: no such file ({option})") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder, expected a file ({option})") from None
    except PermissionError:
        raise UserError(f"{path}: permission denied ({option})") from None
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        kind = path.suffix if path.suffix in (".gz", ".xz", ".zip") else "compressed"
        raise UserError(
            f"{path}: the {kind} file is truncated or damaged: {error}; get a new copy ({option})"
        ) from None
    except (NotImplementedError, RuntimeError) as error:  # unknown compression, or a password
        raise UserError(f"{path}: this kind of .zip cannot be read: {error} ({option})") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error} ({option})") from None


def _blocks(stream: Readable, path: Path, option: str) -> Iterator[tuple[int, bytes]]:
    first_line, rest, start = 1, b"", True
    while chunk := stream.read(BLOCK_SIZE):
        if start:
            _check_format(chunk, path, option)
            start = False
        cut = chunk.rfind(b"\n") + 1
        # the line that the block before began
        if len(rest) + (chunk.find(b"\n") if cut else len(chunk)) > MAX_LINE:
            raise UserError(
                f"{path}: line {first_line} is longer than {MAX_LINE >> 20} MiB; "
                f"did the file lose its line endings? ({option})"
            )
        if not cut:
            rest += chunk
            continue
        block = rest + chunk[:cut]
        rest = chunk[cut:]
        yield first_line, block
        first_line += block.count(b"\n")
    if rest.strip():
        yield first_line, rest


def _check_format(start: bytes, path: Path, option: str) -> None:
    """Raise UserError if a file that starts like this is no text in UTF-8."""
    for mark, kind in _OTHER_FORMATS.items():
        if start[: len(mark)].lower() == mark:
            raise UserError(f"{path}: is {kind} ({option})")
