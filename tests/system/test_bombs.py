"""Small files that expand to very long lines: one error line, and memory stays bounded."""

from __future__ import annotations

import gzip
import lzma
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

HUGE = 48 << 20  # bytes of a line
PEAK = 130  # MiB, beyond what the imports take
PEAK_OF_READ = 600  # the same for a line just short enough, of as many values as possible

HEADER = b"id,title,abstract\n"
CSV = {  # start of the file, then a piece that is repeated
    "one cell": (HEADER + b"1,T,", b"x" * 1024),
    "one quoted cell": (HEADER + b'1,T,"', b"word word\n" * 100),
    "one row of cells": (HEADER + b"1,T,", b"a,b,c," * 200),
    "one quoted row": (HEADER + b"1,T,", b'"a\n",' * 200),
    "one header": (b"id,title,", b"name,nom," * 100),
    "no line endings": (b"", b"\x00" * 1024),
    "one wide cell": (HEADER + b"1,T,", "\U0001d53d".encode() * 256),
}
JSON = {
    "one string": (b'{"id": "2511.00010", "title": "T", "abstract": "', b"x" * 1024),
    "one list": (b'{"id": "2511.00010", "title": "T", "abstract": [', b"[],[]," * 200),
    "one number": (b'{"id": 2511.', b"1234567890" * 100),
    "categories": (b'{"id": "2511.00010", "categories": "', b"cs.LG " * 200),
}
JUST_SHORT_ENOUGH = {  # lines of 15 MiB, which are read
    "commas.csv.gz": (HEADER, b","),
    "lists.jsonl.gz": (b'{"a": [', b"[],"),
    "lists of lists.jsonl.gz": (b'{"a": ', b"["),
    "quotes.jsonl.gz": (b'{"categories": "', b'\\"'),
}
READ = """
import sys
from pathlib import Path
from arxiv_hybrid.system.errors import UserError
kind, *paths = sys.argv[1:]
if kind == "predict":
    from arxiv_hybrid.inference.records import read_records
    def stop(problem): raise UserError(problem)
    def read(path): return list(read_records(path, 4096, key="KEY", on_bad_row=stop))
elif kind == "fetch":
    from arxiv_hybrid.sources.csv_source import load_csv
    from arxiv_hybrid.sources.snapshot_source import read_snapshot
    from arxiv_hybrid.sources.snapshot_scan import Window
    def read(path):
        if ".csv" in path.suffixes:
            return load_csv(path, label="title")
        return read_snapshot(path, categories=("cs.LG",), per_category=None, sample="newest",
                             seed=0, window=Window())
else:
    from argparse import Namespace
    from arxiv_hybrid.commands.inspect_data import run
    def read(path):
        label = "title" if ".csv" in path.suffixes else None  # a dump has no columns
        run(Namespace(file=path, columns=[], label=label, separator=None))
def peak():  # in MiB; ru_maxrss would count the parent before exec, too
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10
before = peak()
for path in map(Path, paths):
    try:
        read(path)
    except UserError as error:
        print(path.name, peak() - before, error, sep="\\t")
    else:
        print(path.name, peak() - before, "no error", sep="\\t")
"""


def pieces(start: bytes, piece: bytes) -> Iterator[bytes]:
    yield start
    block = piece * ((1 << 20) // len(piece))
    for _ in range(HUGE // len(block)):
        yield block


def pack(path: Path, parts: Iterator[bytes]) -> Path:
    if path.suffix == ".zip":
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            archive.open(path.stem, "w") as file,
        ):
            for part in parts:
                file.write(part)
        return path
    with lzma.open(path, "wb", preset=0) if path.suffix == ".xz" else gzip.open(path, "wb", 1) as f:
        for part in parts:
            f.write(part)
    return path


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bombs")
    files = [pack(folder / f"{kind}.csv.gz", pieces(*parts)) for kind, parts in CSV.items()]
    files += [pack(folder / f"{kind}.jsonl.gz", pieces(*parts)) for kind, parts in JSON.items()]
    files.append(pack(folder / "one cell.csv.xz", pieces(*CSV["one cell"])))
    files.append(pack(folder / "one cell.csv.zip", pieces(*CSV["one cell"])))
    files.append(pack(folder / "one string.jsonl.zip", pieces(*JSON["one string"])))
    assert max(file.stat().st_size for file in files) < 4 << 20
    return files


def errors(reader: str, files: list[Path]) -> Iterator[tuple[str, int, str]]:
    """For each file its name, the peak memory so far in MiB, and the error of reading it."""
    done = subprocess.run(
        [sys.executable, "-c", READ, reader, *map(str, files)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    for line in done.stdout.splitlines():
        name, peak, error = line.split("\t")
        yield name, int(peak), error


pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="peak memory is in /proc"
)
READERS = pytest.mark.parametrize("reader", ["fetch", "predict", "inspect"])


@READERS
def test_a_line_that_never_ends_is_one_error_in_bounded_memory(
    bombs: list[Path], reader: str
) -> None:
    results = list(errors(reader, bombs))
    assert len(results) == len(bombs)
    for name, peak, error in results:
        assert "is longer than 16 MiB" in error, name
        assert peak < PEAK, name


@pytest.mark.parametrize(
    ("reader", "names"),
    [("fetch", ["commas.csv.gz", "quotes.jsonl.gz"]),
     ("predict", ["lists.jsonl.gz", "lists of lists.jsonl.gz"])],
)  # fmt: skip
def test_a_line_just_short_enough_takes_bounded_memory(
    tmp_path: Path, reader: str, names: list[str]
) -> None:
    files = []
    for name in names:
        start, piece = JUST_SHORT_ENOUGH[name]
        files.append(tmp_path / name)
        files[-1].write_bytes(gzip.compress(start + piece * ((15 << 20) // len(piece)), 1))
    results = list(errors(reader, files))
    assert len(results) == len(files)
    for name, peak, error in results:
        assert "line" in error, name
        assert len(error) < 500, name
        assert peak < PEAK_OF_READ, name
