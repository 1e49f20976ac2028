"""Ids of many papers in few bytes."""

from __future__ import annotations

import lzma
import random

import numpy as np
import pytest

from arxiv_hybrid.inference import paper_ids
from arxiv_hybrid.inference.paper_ids import MOST_BYTES, count_ids, pack_ids, unpack_ids

MAGIC = b"ids1"


@pytest.mark.parametrize(
    "ids",
    [
        [],
        ["2511.00010"],
        ["0704.0001", "1412.9999", "1501.00001", "9912.99999"],
        ["2511.00001", "2511.00002", "2512.00001", "math/0309136", "hep-th/9901001"],
        ["text-0123456789abcdef", "synthetic.000001", "a b", "Zürich 1", "7"],
        # like arXiv's, but not letter by letter
        ["2511.0001", "1412.00001", "2513.00001", "0703.0001", "704.0001", "2511.00001v2",
         "2511.000010", "\u0662511.00001", "2511.00001 "],
    ],
)  # fmt: skip
def test_ids_come_back_letter_by_letter(ids: list[str]) -> None:
    packed = pack_ids(ids)
    assert unpack_ids(packed) == frozenset(ids)
    assert count_ids(packed) == len(ids)


def test_order_and_repetition_do_not_matter() -> None:
    ids = ["2511.00002", "2511.00001", "b", "a"]
    assert pack_ids(ids) == pack_ids(reversed(ids)) == pack_ids(iter(ids * 2))


def test_a_hundred_thousand_ids_need_less_than_a_byte_each() -> None:
    chosen = random.Random(0)
    ids = [
        f"{year:02}{month:02}.{number:05}"
        for year in range(15, 18)
        for month in range(1, 13)
        for number in range(1, 16_000)
        if chosen.random() < 0.25
    ]
    packed = pack_ids(ids)
    assert len(ids) > 100_000
    assert len(packed) < 70_000
    assert count_ids(packed) == len(ids)


@pytest.mark.parametrize("wrong", ["", "a\nb", "\n"])
def test_what_is_no_id_cannot_be_packed(wrong: str) -> None:
    with pytest.raises(ValueError, match="is not an id of a paper"):
        pack_ids(["2511.00001", wrong])


def body(steps: list[int], text: bytes = b"", count: int | None = None) -> bytes:
    header = np.array([len(steps) if count is None else count, len(text)], "<u8").tobytes()
    planes = np.array(steps, "<u4").view(np.uint8).reshape(-1, 4).T.tobytes()
    return header + planes + text


MARCH_2025 = (25 * 12 + 2) * 100_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a file of them"),
        (b"ids2" + lzma.compress(body([])), "not a file of them"),
        (MAGIC + b"no xz", "ids of papers"),
        (MAGIC + lzma.compress(body([]))[:-9], "cut off"),
        (MAGIC + lzma.compress(body([])) + b"x", "cut off"),
        (MAGIC + lzma.compress(b"short"), "cut off"),
        (MAGIC + lzma.compress(body([MARCH_2025], count=2)), "not as many"),
        (MAGIC + lzma.compress(body([MARCH_2025], count=2**63)), "not as many"),
        (MAGIC + lzma.compress(body([MARCH_2025, 0])), "cannot have"),
        (MAGIC + lzma.compress(body([5])), "cannot have"),
        (MAGIC + lzma.compress(body([MARCH_2025, 2**32 - 1])), "cannot have"),
        (MAGIC + lzma.compress(body([(10 * 12) * 100_000 + 10_000])), "cannot have"),
        (MAGIC + lzma.compress(body([], b"a\na")), "no other ids"),
        (MAGIC + lzma.compress(body([], b"a\n")), "no other ids"),
        (MAGIC + lzma.compress(body([], b"2511.00001")), "no other ids"),
        (MAGIC + lzma.compress(body([], b"\xff\xfe")), "utf-8"),
    ],
)
@pytest.mark.parametrize("read", [unpack_ids, count_ids])
def test_damaged_bytes_are_refused(content: bytes, message: str, read) -> None:
    with pytest.raises(ValueError, match=message):
        read(content)


def test_a_small_file_that_unpacks_to_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = MAGIC + lzma.compress(bytes(MOST_BYTES + 1), preset=0)
    assert len(bomb) < 100_000
    with pytest.raises(ValueError, match="cut off, or more than 64 MiB"):
        unpack_ids(bomb)
    monkeypatch.setattr(paper_ids, "MOST_BYTES", 1 << 16)
    with pytest.raises(ValueError, match="emory"):
        unpack_ids(pack_ids(["2511.00001"]))
