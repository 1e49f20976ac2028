"""Many numbers that are written one after the other, then mapped into memory, not read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

_SORTED = 1 << 25  # numbers sorted at a time
_SCANNED = 1 << 22  # numbers compared at a time
_SAMPLE = 1 << 16


class NumberFile:
    """Numbers of one type in a file without a name, in the folder that `TMPDIR` names.

    The file is gone once neither this object nor its array is in use.
    """

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._dtype = np.dtype(dtype)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as its object)
        self._count = 0

    def append(self, numbers: npt.ArrayLike) -> None:
        """Write an array to the end."""
        array = np.asarray(numbers, dtype=self._dtype)
        array.tofile(self._file)
        self._count += array.size

    def __del__(self) -> None:
        self._file.close()

    def array(self, shape: tuple[int, ...] | None = None) -> npt.NDArray[Any]:
        """All numbers so far; they can be changed in place."""
        self._file.flush()
        if not self._count:
            return np.zeros(shape or (0,), self._dtype)
        shape = shape or (self._count,)
        return np.asarray(np.memmap(self._file, dtype=self._dtype, mode="r+", shape=shape))

    def __len__(self) -> int:
        return self._count

    def read(self, start: int, end: int) -> npt.NDArray[Any]:
        """Some of the numbers, in memory; unlike what is mapped, they count as used only once."""
        self._file.flush()
        size = self._dtype.itemsize
        content = os.pread(self._file.fileno(), (end - start) * size, start * size)
        return np.frombuffer(content, dtype=self._dtype)

    def extend(self, count: int) -> None:
        """Append zeros, which take no space on most disks before they are changed."""
        self._count += count
        self._file.truncate(self._count * self._dtype.itemsize)


def repeated(
    numbers: NumberFile | npt.NDArray[Any], least: int = 2
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
    """The numbers that occur at least so often, rising, and how often each does.

    They may be in a file: some 30 million are sorted at a time.
    """
    found = [next(_blocks(numbers))[:0]]
    counts: list[npt.NDArray[np.int32]] = [np.zeros(0, np.int32)]
    for part in _in_ranges(numbers):
        part.sort()
        starts = np.flatnonzero(np.concatenate([[True], part[1:] != part[:-1]]))
        lengths = np.diff(starts, append=len(part))
        often = lengths >= least
        found.append(part[starts[often]])
        counts.append(lengths[often].astype(np.int32))
    return np.concatenate(found), np.concatenate(counts)


def _blocks(numbers: NumberFile | npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """All numbers, some at a time; of none one empty block."""
    part = numbers.read if isinstance(numbers, NumberFile) else lambda a, b: numbers[a:b]
    for start in range(0, max(len(numbers), 1), _SCANNED):
        yield part(start, min(start + _SCANNED, len(numbers)))


def _in_ranges(numbers: NumberFile | npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """Copies of the numbers in ranges of about equal size, the lowest first; none is empty."""
    parts = -(-len(numbers) // _SORTED)
    step = max(len(numbers) // _SAMPLE, 1)
    sample = np.sort(np.concatenate([block[::step] for block in _blocks(numbers)]))
    inner = np.unique(sample[np.arange(1, parts) * len(sample) // max(parts, 1)])
    for low, high in pairwise([None, *inner.tolist(), None]):
        chosen = []
        for block in _blocks(numbers):
            inside = block if low is None else block[block >= low]
            chosen.append(inside.copy() if high is None else inside[inside < high])
        if any(map(len, chosen)):
            yield np.concatenate(chosen)
