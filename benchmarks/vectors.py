"""Loading the vectors of one vocabulary from a .zip with a file of GloVe's size.

    python benchmarks/vectors.py [--words N] [--vocabulary N]

Generates the file (400,000 words, 300 numbers each, about 1 GB unpacked), then loads the vectors
of 38,000 words line by line, with this project's reader, and from the output of the `glove` stage.
"""

import io
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from runner import Speed, Stopwatch, new_parser, print_speeds

from arxiv_hybrid.vectors.files import read_vectors
from arxiv_hybrid.vectors.storage import load_vectors, save_vectors

DIM = 300
DISTINCT_ROWS = 2000  # vectors are drawn from this many: printing a million takes minutes


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


def measure(words: int = 400_000, vocabulary: int = 38_000) -> Iterator[Speed]:
    """Load vectors with this project's reader, line by line, and from the stage's output."""
    wanted = {f"w{i}" for i in np.random.default_rng(2).permutation(words)[:vocabulary]}
    with tempfile.TemporaryDirectory() as folder:
        path, stored = Path(folder) / "vectors.zip", Path(folder) / "stored"
        generate(path, words)
        with Stopwatch() as watch:
            result = read_vectors(path, wanted, dim=DIM, option="--file")
        with Stopwatch() as plain, zipfile.ZipFile(path) as archive:
            reference = {}
            with archive.open(archive.namelist()[0]) as stream:
                for line in io.TextIOWrapper(stream, encoding="utf-8"):
                    word, *numbers = line.rstrip().split(" ")
                    if word in wanted:
                        reference[word] = np.asarray(numbers, dtype=np.float32)
        assert set(result.words) == set(reference)
        assert np.array_equal(result.vectors, [reference[word] for word in result.words])
        save_vectors(stored, result.words, result.vectors)
        with Stopwatch() as later:
            load_vectors(stored)
    yield Speed(
        f"GloVe, {words:,} words in a .zip",
        f"{watch.seconds:.1f} s, later {later.seconds:.2f} s",
        f"line by line: {plain.seconds:.1f} s",
        plain.seconds / watch.seconds,
    )


if __name__ == "__main__":
    parser = new_parser(__doc__)
    parser.add_argument("--words", type=int, default=400_000)
    parser.add_argument("--vocabulary", type=int, default=38_000)
    options = parser.parse_args()
    print_speeds(measure(options.words, options.vocabulary))
