"""Loading the vectors of one vocabulary from a file of GloVe's shape and size inside a .zip.

Generates the file (400,000 words, 300 numbers each, about 1 GB unpacked), reads the vectors
of 38,000 words the plain way and with this project's reader, and then from what the `glove`
stage leaves for the stages after it.

    python benchmarks/vectors.py [--words N] [--vocabulary N]
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from arxiv_hybrid.vectors.files import read_vectors
from arxiv_hybrid.vectors.storage import load_vectors, save_vectors

DIM = 300
DISTINCT_ROWS = 2000  # rows of numbers are drawn from so many: writing a million takes minutes


def generate(path: Path, words: int) -> None:
    """Write a .zip with one text file of `words` lines."""
    random = np.random.default_rng(1)
    numbers = random.normal(0, 0.4, (DISTINCT_ROWS, DIM))
    rows = [" ".join(f"{x:.5f}" for x in row) for row in numbers]
    which = random.integers(DISTINCT_ROWS, size=words)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(f"glove.{DIM}d.txt", "w", force_zip64=True) as stream,
    ):
        for start in range(0, words, 2000):
            lines = (f"w{i} {rows[which[i]]}\n" for i in range(start, min(start + 2000, words)))
            stream.write("".join(lines).encode())


def plain(path: Path, wanted: set[str]) -> dict[str, npt.NDArray[np.float32]]:
    """Read line by line, as most projects do."""
    vectors = {}
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as stream:
        for line in io.TextIOWrapper(stream, encoding="utf-8"):
            word, *numbers = line.rstrip().split(" ")
            if word in wanted:
                vectors[word] = np.asarray(numbers, dtype=np.float32)
    return vectors


def compare(words: int, vocabulary: int) -> tuple[float, float, float]:
    """Seconds of this project's reader, of the plain one, and from the stage's output."""
    chosen = np.random.default_rng(2).permutation(words)[:vocabulary]
    wanted = {f"w{i}" for i in chosen}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.zip"
        generate(path, words)
        print(f"{words:,} x {DIM} in {path.stat().st_size / 2**20:,.0f} MiB of .zip")
        started = time.perf_counter()
        found = read_vectors(path, wanted, dim=DIM, option="--file")
        ours = time.perf_counter() - started
        started = time.perf_counter()
        reference = plain(path, wanted)
        theirs = time.perf_counter() - started
        if set(found.words) != set(reference) or not all(
            np.array_equal(vector, reference[word])
            for word, vector in zip(found.words, found.vectors, strict=True)
        ):
            raise SystemExit("the two readers differ")
        save_vectors(Path(folder) / "kept", found.words, found.vectors)
        started = time.perf_counter()
        load_vectors(Path(folder) / "kept")
        return ours, theirs, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--words", type=int, default=400_000)
    parser.add_argument("--vocabulary", type=int, default=38_000)
    arguments = parser.parse_args()
    ours, theirs, kept = compare(arguments.words, arguments.vocabulary)
    print(f"this reader   {ours:6.2f} s for {arguments.vocabulary:,} words")
    print(f"line by line  {theirs:6.2f} s, ratio {theirs / ours:.2f}")
    print(f"from the stage's output {kept:.2f} s")


if __name__ == "__main__":
    main()
