"""Ids of many papers in a few bytes each: some 3 bits for arXiv's, if most of them are there.

arXiv's ids since April 2007 are numbers: month, then running number. Sorted, each is stored as its
distance to the one before. All other ids are stored as lines of text.
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

MOST_BYTES = 1 << 26  # after unpacking; all of arXiv, some 3 million papers, has 1 << 24
_MAGIC = b"ids1"
_HEADER = 16  # bytes: the number of ids that are numbers, and of bytes of text
_PER_MONTH = 100_000
_FIRST, _FIVE_DIGITS = 7 * 12 + 3, 15 * 12  # months since January 2000
_LAST = 100 * 12 - 1
# only what `_text` gives back letter by letter
_NUMBERED = re.compile(
    r"(?:0704|070[5-9]|071[0-2]|(?:0[89]|1[0-4])(?:0[1-9]|1[0-2]))\.\d{4}"
    r"|(?:1[5-9]|[2-9]\d)(?:0[1-9]|1[0-2])\.\d{5}",
    re.ASCII,
)

Numbers = npt.NDArray[np.int64]


def pack_ids(ids: Iterable[str]) -> bytes:
    """Ids of papers, in any order, as bytes for `unpack_ids`; equal sets give equal bytes.

    Raises ValueError for an id that is empty or not one line of text.
    """
    distinct = set(ids)
    numbered = {identifier for identifier in distinct if _NUMBERED.fullmatch(identifier)}
    others = sorted(distinct - numbered)
    for identifier in others:
        if not identifier or "\n" in identifier:
            raise ValueError(f"{identifier!r} is not an id of a paper")
    numbers = np.array(sorted(map(_number, numbered)), dtype=np.int64)
    steps = np.diff(numbers, prepend=0).astype("<u4")
    # the bytes of all steps, the lowest first: those above are nearly all 0
    planes = steps.view(np.uint8).reshape(-1, 4).T.tobytes()
    text = "\n".join(others).encode()
    header = np.array([len(numbers), len(text)], dtype="<u8").tobytes()
    return _MAGIC + lzma.compress(header + planes + text)


def unpack_ids(content: bytes) -> frozenset[str]:
    """The ids that `pack_ids` packed; ValueError if it packed nothing of the kind.

    Whatever the bytes are, at most `MOST_BYTES` are unpacked from them.
    """
    numbers, others = _parts(content)
    return frozenset([*map(_text, numbers.tolist()), *others])


def count_ids(content: bytes) -> int:
    """How many ids `pack_ids` packed; makes every check of `unpack_ids`, in a tenth of its time."""
    numbers, others = _parts(content)
    return len(numbers) + len(others)


def _parts(content: bytes) -> tuple[Numbers, list[str]]:
    """The ids that are numbers, rising, and the others."""
    body = _decompressed(content)
    count, length = (int(value) for value in np.frombuffer(body[:_HEADER], dtype="<u8"))
    if len(body) != _HEADER + 4 * count + length:
        raise ValueError("ids of papers: not as many as they should be")
    planes = np.frombuffer(body, np.uint8, 4 * count, _HEADER).reshape(4, count)
    steps = np.ascontiguousarray(planes.T).view("<u4").ravel().astype(np.int64)
    numbers = np.cumsum(steps)
    others = body[_HEADER + 4 * count :].decode().split("\n") if length else []
    digits = np.where(numbers // _PER_MONTH < _FIVE_DIGITS, 10_000, _PER_MONTH)
    if count and (
        steps[1:].min(initial=1) < 1
        or not numbers[0] // _PER_MONTH >= _FIRST
        or numbers[-1] // _PER_MONTH > _LAST
        or (numbers % _PER_MONTH >= digits).any()
    ):
        raise ValueError("ids of papers: numbers that arXiv cannot have")
    if len(set(others)) < len(others) or "" in others or any(map(_NUMBERED.fullmatch, others)):
        raise ValueError("ids of papers: texts that are no other ids")
    return numbers, others


def _decompressed(content: bytes) -> bytes:
    if content[: len(_MAGIC)] != _MAGIC:
        raise ValueError("ids of papers: not a file of them")
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_BYTES)
    try:
        body = decompressor.decompress(content[len(_MAGIC) :], MOST_BYTES)
    except lzma.LZMAError as error:
        raise ValueError(f"ids of papers: {error}") from None
    if not decompressor.eof or decompressor.unused_data or len(body) < _HEADER:
        raise ValueError(f"ids of papers: cut off, or more than {MOST_BYTES >> 20} MiB")
    return body


def _number(identifier: str) -> int:
    """`2511.00010` as months since 2000, times 100,000, plus the running number."""
    months = int(identifier[:2]) * 12 + int(identifier[2:4]) - 1
    return months * _PER_MONTH + int(identifier[5:])


def _text(number: int) -> str:
    months, running = divmod(number, _PER_MONTH)
    width = 4 if months < _FIVE_DIGITS else 5
    return f"{months // 12:02}{months % 12 + 1:02}.{running:0{width}}"
