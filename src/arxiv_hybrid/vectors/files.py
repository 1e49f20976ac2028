"""Pre-trained word vectors in a text file: GloVe, word2vec or fastText, compressed or plain.

A line is a word and its numbers, separated by spaces. word2vec and fastText files start with
a header line of two counts. Such files have millions of lines and a project needs some ten
thousand of them, so only the lines of wanted words are parsed.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.streams import line_blocks

FloatMatrix = npt.NDArray[np.float32]
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class VectorFile:
    """The wanted words (W) of a file and their vectors (W, dim).

    lines: number of vectors in the file. repeated: wanted words that appeared again.
    """

    words: list[str]
    vectors: FloatMatrix
    lines: int
    repeated: int


def read_vectors(path: Path, wanted: Collection[str], *, dim: int, option: str) -> VectorFile:
    """Read the vectors of the `wanted` words; if a word is repeated, its first vector is used.

    option: the option that named the file, for messages. From a .zip with several dimensions,
    such as glove.6B.zip, the file whose name contains `dim` is read. Words with spaces (in
    glove.840B) are skipped. Raises UserError if the file is missing, damaged, or has
    another format or dimension.
    """
    collector = _Collector(path, dim, option, {word.encode(): -1 for word in wanted})
    lines = promised = 0
    blocks = line_blocks(path, option=option, members=partial(_vector_members, dim=dim))
    with closing(blocks):
        for first_line, block in blocks:
            if first_line == 1:
                block, promised = _strip_header(block, path, dim, option)
            for line in block.split(b"\n"):
                end = line.find(b" ")
                if end >= 0:
                    lines += 1
                    if line[:end] in collector.rows:
                        collector.add(line, end)
            # check a last line without line ending even if its word is not wanted
            if block and not block.endswith(b"\n") and _fields(block.rpartition(b"\n")[2]) < dim:
                raise UserError(f"{path}: the last line is truncated; get a new copy ({option})")
    if not lines:
        raise UserError(f"{path}: contains no vectors ({option})")
    if lines < promised:
        raise UserError(
            f"{path}: the header promises {promised:,} words, the file has {lines:,}; "
            f"get a new copy ({option})"
        )
    return VectorFile(*collector.words_and_vectors(), lines, collector.repeated)


@dataclass
class _Collector:
    """Collects the vectors of wanted words; `rows` has each word's row, -1 if not seen yet."""

    path: Path
    dim: int
    option: str
    rows: dict[bytes, int]
    vectors: list[FloatMatrix] = field(default_factory=list)
    repeated: int = 0

    def add(self, line: bytes, end: int) -> None:
        """Parse a line whose wanted word ends at `end`."""
        word = line[:end]
        if self.rows[word] >= 0:
            self.repeated += 1
            return
        vector = _parse_numbers(line, end, self.dim)
        if vector is not None:
            self.rows[word] = len(self.vectors)
            self.vectors.append(vector)
        elif _fields(line) <= self.dim:  # more fields: a word with spaces that starts with ours
            raise UserError(
                f"{self.path}: the vector of {word.decode()!r} is not {self.dim} numbers; "
                f"is the file damaged? ({self.option})"
            )

    def words_and_vectors(self) -> tuple[list[str], FloatMatrix]:
        words = sorted((w for w, row in self.rows.items() if row >= 0), key=self.rows.__getitem__)
        empty = np.zeros((0, self.dim), dtype=np.float32)
        return [w.decode() for w in words], np.stack(self.vectors) if self.vectors else empty


def _strip_header(block: bytes, path: Path, dim: int, option: str) -> tuple[bytes, int]:
    """The first block without its header, and the number of words that the header promises.

    0 if there is no header. Raises UserError if the file is of another format or dimension.
    """
    block = block.removeprefix(_BOM)
    line, _, rest = block.partition(b"\n")
    counts = line.split()
    has_header = len(counts) == 2 and all(count.isdigit() for count in counts)
    width = int(counts[1]) if has_header else _fields(line)
    if width < 2:
        raise UserError(
            f"{path}: line 1 is not a word followed by numbers, separated by spaces ({option})"
        )
    if width != dim:
        raise UserError(
            f"{path}: vectors of {width} numbers, glove.dim is {dim}; set glove.dim={width} "
            f"({option})"
        )
    return (rest, int(counts[0])) if has_header else (block, 0)


def _fields(line: bytes) -> int:
    """Number of fields after the first word."""
    return len(line.split(b" ")) - 1 - line.endswith((b" ", b" \r"))


def _parse_numbers(line: bytes, start: int, count: int) -> FloatMatrix | None:
    """Parse the line from `start`; None unless it is exactly `count` finite numbers."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # NumPy's signal for a non-number
            numbers = np.fromstring(line[start:], dtype=np.float32, sep=" ")
    except (ValueError, DeprecationWarning):
        return None
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None


def _vector_members(names: list[str], *, dim: int) -> list[str]:
    """The vector files in a .zip; if there are several, those whose name contains `dim`."""
    files = [
        name
        for name in names
        if name.endswith((".txt", ".vec")) and not name.startswith("__MACOSX/")
    ]
    if len(files) == 1:
        return files
    return [name for name in files if re.search(rf"(?<!\d){dim}d", name)] or files
