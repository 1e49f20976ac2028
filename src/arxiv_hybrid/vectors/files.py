"""Pre-trained word vectors in a text file: GloVe, word2vec or fastText, packed or plain.

A line is a word and its numbers, separated by spaces. word2vec and fastText files start with
a line of two counts. Files of this kind have a million lines, a project needs some ten
thousand of them: only those are parsed.
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
_NOT_VECTORS = {
    b"<!doctype": "is a web page, not vectors; get it again",
    b"<html": "is a web page, not vectors; get it again",
    b"version https://git-lfs": "is a Git LFS pointer; get the file that it points to",
    b"pk\x03\x04": "is a .zip under another name; rename it",
    b"\x1f\x8b": "is a .gz under another name; rename it",
}


@dataclass(frozen=True)
class VectorFile:
    """Words (W) of a file that were wanted, their vectors (W, dim), and what else was seen."""

    words: list[str]
    vectors: FloatMatrix
    lines: int
    repeated: int


def read_vectors(path: Path, wanted: Collection[str], *, dim: int, key: str) -> VectorFile:
    """Read the vectors of `wanted` words; the first counts where a word stands twice.

    key: the parameter that named the file, for messages. A .zip may hold several widths, as
    glove.6B.zip does; the file that names `dim` is read. Words with spaces (glove.840B has
    some) are never wanted and are passed over. Raises UserError if the file is missing,
    damaged, not such a file, or of another width.
    """
    collected = _Collected(path, dim, key, {word.encode(): -1 for word in wanted})
    lines = promised = 0
    blocks = line_blocks(path, option=key, members=partial(_member, dim=dim))
    with closing(blocks):
        for first, block in blocks:
            if first == 1:
                block, promised = _start(block, path, dim, key)
            for line in block.split(b"\n"):
                end = line.find(b" ")
                if end >= 0:
                    lines += 1
                    if line[:end] in collected.rows:
                        collected.take(line, end)
            # a last line without an end is looked at in any case: it may be cut
            if block and not block.endswith(b"\n") and _fields(block.rpartition(b"\n")[2]) < dim:
                raise UserError(f"{path}: its last line is cut; get it again ({key})")
    if not lines:
        raise UserError(f"{path}: holds no vectors ({key})")
    if lines < promised:
        raise UserError(
            f"{path}: its first line promises {promised:,} words, it holds {lines:,}; "
            f"get it again ({key})"
        )
    return VectorFile(*collected.words_and_vectors(), lines, collected.repeated)


@dataclass
class _Collected:
    """The wanted words, each with its row in `vectors` or -1."""

    path: Path
    dim: int
    key: str
    rows: dict[bytes, int]
    vectors: list[FloatMatrix] = field(default_factory=list)
    repeated: int = 0

    def take(self, line: bytes, end: int) -> None:
        """Keep the vector of a line whose wanted word ends at `end`."""
        word = line[:end]
        if self.rows[word] >= 0:
            self.repeated += 1
            return
        vector = _numbers(line, end, self.dim)
        if vector is not None:
            self.rows[word] = len(self.vectors)
            self.vectors.append(vector)
        elif _fields(line) <= self.dim:  # else a word with spaces that starts like ours
            raise UserError(
                f"{self.path}: the vector of {word.decode()!r} is not {self.dim} numbers; "
                f"is the file damaged? ({self.key})"
            )

    def words_and_vectors(self) -> tuple[list[str], FloatMatrix]:
        words = sorted((w for w, row in self.rows.items() if row >= 0), key=self.rows.__getitem__)
        empty = np.zeros((0, self.dim), dtype=np.float32)
        return [w.decode() for w in words], np.stack(self.vectors) if self.vectors else empty


def _start(block: bytes, path: Path, dim: int, key: str) -> tuple[bytes, int]:
    """The first block without the line of counts, and how many words that promises (or 0)."""
    block = block.removeprefix(_BOM)
    start = block[:64].lower()
    for magic, remark in _NOT_VECTORS.items():
        if start.startswith(magic):
            raise UserError(f"{path}: {remark} ({key})")
    line, _, rest = block.partition(b"\n")
    counts = line.split()
    has_counts = len(counts) == 2 and all(count.isdigit() for count in counts)
    width = int(counts[1]) if has_counts else _fields(line)
    if width < 2:
        raise UserError(f"{path}: line 1 is no word with numbers behind it, by spaces ({key})")
    if width != dim:
        raise UserError(
            f"{path}: vectors of {width} numbers, glove.dim is {dim}; set glove.dim={width} ({key})"
        )
    return (rest, int(counts[0])) if has_counts else (block, 0)


def _fields(line: bytes) -> int:
    """How many numbers stand behind the first word, if it has no spaces."""
    return len(line.split(b" ")) - 1 - line.endswith((b" ", b" \r"))


def _numbers(line: bytes, start: int, count: int) -> FloatMatrix | None:
    """The numbers from `start` to the line's end, None if they are not `count` finite ones."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)
            numbers = np.fromstring(line[start:], dtype=np.float32, sep=" ")
    except (ValueError, DeprecationWarning):  # something that is no number
        return None
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None


def _member(names: list[str], *, dim: int) -> list[str]:
    """The vector files in a .zip; those that name `dim` where there are several."""
    files = [
        name
        for name in names
        if name.endswith((".txt", ".vec")) and not name.startswith("__MACOSX/")
    ]
    if len(files) == 1:
        return files
    return [name for name in files if re.search(rf"(?<!\d){dim}d", name)] or files
