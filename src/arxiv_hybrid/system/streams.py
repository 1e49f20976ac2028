"""Large text files, plain, .gz, .xz or inside a .zip, as blocks of whole lines.

Nothing is unpacked to disk, and no more than a block is in memory.
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

BLOCK = 8 << 20  # bytes
LONGEST_LINE = 64 << 20

Chooser = Callable[[list[str]], list[str]]  # names in a .zip to the one that is meant


class Readable(Protocol):
    """Anything with bytes in it."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes, none at the end."""


def line_blocks(
    path: Path, *, key: str, choose: Chooser
) -> Generator[tuple[int, bytes], None, None]:
    """Yield the number of a block's first line, and the block; only the last may lack a line end.

    key: the parameter that named the file, for messages; choose: picks the member of a .zip.
    A progress bar counts the bytes of the file itself. Raises UserError if the file is
    missing, truncated, damaged or not what its name says.
    """
    with (
        explain_read_errors(path, key),
        path.open("rb") as raw,
        _decompressed(raw, path, key, choose) as stream,
        tqdm(
            total=path.stat().st_size, desc=path.name, unit="B", unit_scale=True, disable=None
        ) as bar,
    ):
        for block in _blocks(stream, path, key):
            bar.update(raw.tell() - bar.n)
            yield block


@contextmanager
def _decompressed(raw: IO[bytes], path: Path, key: str, choose: Chooser) -> Iterator[Readable]:
    if path.suffix == ".zip":
        with zipfile.ZipFile(raw) as archive:
            names = archive.namelist()
            chosen = choose(names)
            if len(chosen) != 1:
                held = ", ".join(chosen or names[:5]) or "nothing"
                raise UserError(f"{path}: holds {held}; expected one file to read ({key})")
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
def explain_read_errors(path: Path, key: str) -> Iterator[None]:
    """Turn what can be wrong with a file that is read inside into a UserError of one line."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: no such file ({key})") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder, expected a file ({key})") from None
    except PermissionError:
        raise UserError(f"{path}: may not be read ({key})") from None
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: the {path.suffix} file is truncated or damaged: {error}; get it again ({key})"
        ) from None
    except (NotImplementedError, RuntimeError) as error:  # a compression or a password
        raise UserError(f"{path}: this kind of .zip cannot be read: {error} ({key})") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error} ({key})") from None


def _blocks(stream: Readable, path: Path, key: str) -> Iterator[tuple[int, bytes]]:
    first, rest = 1, b""
    while chunk := stream.read(BLOCK):
        cut = chunk.rfind(b"\n") + 1
        if not cut:
            rest += chunk
            if len(rest) > LONGEST_LINE:
                raise UserError(
                    f"{path}: line {first} is longer than {LONGEST_LINE >> 20} MiB; "
                    f"are its line ends lost? ({key})"
                )
            continue
        block = rest + chunk[:cut]
        rest = chunk[cut:]
        yield first, block
        first += block.count(b"\n")
    if rest.strip():
        yield first, rest
