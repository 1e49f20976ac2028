"""Numbers in files that are mapped into memory."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest

from arxiv_hybrid.system import number_file
from arxiv_hybrid.system.number_file import NumberFile, repeated


def open_files() -> set[str]:
    """The deleted files that this process holds open."""
    links = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            links.append(os.readlink(link))
        except FileNotFoundError:
            continue
    return {link for link in links if "(deleted)" in link or "#" in link}


def test_parts_are_one_array_that_can_be_changed() -> None:
    file = NumberFile(np.int32)
    for part in ([], [3, 1], np.array([2**31 - 1]), np.arange(5, dtype=np.int64)):
        file.append(part)
    numbers = file.array()
    assert numbers.dtype == np.int32
    assert numbers.tolist() == [3, 1, 2**31 - 1, 0, 1, 2, 3, 4]
    numbers[1] = 7
    assert file.array((2, 4))[0].tolist() == [3, 7, 2**31 - 1, 0]


def test_some_numbers_are_read_while_others_are_written() -> None:
    file = NumberFile(np.float32)
    file.append(np.arange(10))
    assert file.read(2, 5).tolist() == [2, 3, 4]
    file.append([99])
    assert file.read(9, 11).tolist() == [9, 99]
    assert file.read(3, 3).tolist() == []


def test_none_and_zeros() -> None:
    assert NumberFile(np.float32).array().shape == (0,)
    assert NumberFile(np.float32).array((0, 3)).shape == (0, 3)
    file = NumberFile(np.int64)
    file.append([5])
    file.extend(3)
    assert file.array().tolist() == [5, 0, 0, 0]


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = open_files()
    file = NumberFile(np.int64)
    file.append(np.arange(1000))
    numbers = file.array()
    assert list(tmp_path.iterdir()) == [], "it has no name"
    del file
    assert numbers.sum() == 499_500, "the array outlives its object"
    del numbers
    gc.collect()
    assert open_files() <= before


@pytest.mark.parametrize("least", [2, 3])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("count", [0, 1, 500, 4000])
def test_repeated_numbers_are_counted_some_at_a_time(
    count: int, dtype: type, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(count)
    numbers = np.minimum(random.geometric(0.005, count), 900).astype(dtype)
    values, counts = np.unique(numbers, return_counts=True)
    for sorted_at_once in (1 << 20, 700, 64):  # 900 alone is more than 64
        monkeypatch.setattr(number_file, "_SORTED", sorted_at_once)
        monkeypatch.setattr(number_file, "_SCANNED", 100)
        before = numbers.copy()
        found, often = repeated(numbers, least)
        assert np.array_equal(numbers, before)
        file = NumberFile(dtype)
        file.append(numbers)
        for one, other in zip(repeated(file, least), (found, often), strict=True):
            assert one.dtype == other.dtype
            assert np.array_equal(one, other)
        assert found.tolist() == values[counts >= least].tolist()
        assert often.tolist() == counts[counts >= least].tolist()
