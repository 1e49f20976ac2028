"""Large text files, plain or compressed (.gz, .xz, .zip), read as blocks of whole lines.

Nothing is extracted to disk, and only one block is in memory at a time.
"""

from __future__ import annotations

import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from tqdm import tqdm

from arxiv_hybrid.system.errors import UserError

BLOCK_SIZE = 8 << 20  # bytes
MAX_LINE = 64 << 20  # bytes

MemberFilter = Callable[[list[str]], list[str]]  # from all names in a .zip to those to read


class Readable(Protocol):
    """A binary stream."""

    def read(self, size: int, /) -> bytes:
        """Read up to `size` bytes; empty at the end."""


def line_blocks(
    path: Path, *, option: str, members: MemberFilter
) -> Generator[tuple[int, bytes], None, None]:
    """Yield (number of first line, block of whole lines); the last line may lack a line ending.

    option: the option that named the file, for messages. members: picks the file to read
    from a .zip. A progress bar counts the bytes of the compressed file. Raises UserError if
    the file is missing, truncated, damaged or not of the type of its name.
    """
    with (
        explain_read_errors(path, option),
        path.open("rb") as raw,
        _decompressed(raw, path, option, members) as stream,
        tqdm(
            total=path.stat().st_size, desc=path.name, unit="B", unit_scale=True, disable=None
        ) as bar,
    ):
        for block in _blocks(stream, path, option):
            bar.update(raw.tell() - bar.n)
            yield block


@contextmanager
def _decompressed(
    raw: IO[bytes], path: Path, option: str, members: MemberFilter
) -> Iterator[Readable]:
    if path.suffix == ".zip":
        with zipfile.ZipFile(raw) as archive:
            names = archive.namelist()
            chosen = members(names)
            if len(chosen) != 1:
                contents = ", ".join(chosen or names[:5]) or "nothing"
                raise UserError(f"{path}: contains {contents}; expected one file ({option})")
            with archive.open(chosen[0]) as stream:
                yield stream
    elif path.suffix == ".gz":
        with gzip.open(raw) as stream:
            yield stream
    elif path.suffix == ".xz":
        with lzma.open(raw) as stream:
            yield stream
    else:
        yield raw


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
        raise UserError(
            f"{path}: the {path.suffix} file is truncated or damaged: {error}; "
            f"get a new copy ({option})"
        ) from None
    except (NotImplementedError, RuntimeError) as error:  # unknown compression, or a password
        raise UserError(f"{path}: this kind of .zip cannot be read: {error} ({option})") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error} ({option})") from None


def _blocks(stream: Readable, path: Path, option: str) -> Iterator[tuple[int, bytes]]:
    first_line, rest = 1, b""
    while chunk := stream.read(BLOCK_SIZE):
        cut = chunk.rfind(b"\n") + 1
        if not cut:
            rest += chunk
            if len(rest) > MAX_LINE:
                raise UserError(
                    f"{path}: line {first_line} is longer than {MAX_LINE >> 20} MiB; "
                    f"did the file lose its line endings? ({option})"
                )
            continue
        block = rest + chunk[:cut]
        rest = chunk[cut:]
        yield first_line, block
        first_line += block.count(b"\n")
    if rest.strip():
        yield first_line, rest
