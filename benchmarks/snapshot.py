"""Reading the metadata dump: lines a second and peak memory on a generated file.

The file has the public dump's fields and about its mix of fields and lengths, made from the
synthetic corpus. Beside it stands the plain way: one `json.loads` a line in one process.

    python benchmarks/snapshot.py [--lines N] [--file DUMP] [--gz]
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from arxiv_hybrid.data.labels import CATEGORIES
from arxiv_hybrid.sources import synthetic
from arxiv_hybrid.sources.snapshot_scan import Window
from arxiv_hybrid.sources.snapshot_source import read_snapshot

OTHERS = ("hep-th", "math.AP", "cond-mat.mtrl-sci", "astro-ph.GA", "quant-ph", "cs.RO")
WANTED = 0.15  # share of the dump's papers that list one of the four categories


def generate(path: Path, lines: int) -> None:
    """Write `lines` papers from 2007 on, compressed as the name says."""
    papers, _ = synthetic.generate(papers=2000, label_noise=0.0, seed=1)
    texts = papers.drop_duplicates("id")[["title", "abstract", "all_categories"]].to_numpy()
    random = np.random.default_rng(1)
    wanted = random.random(lines) < WANTED
    which = random.integers(len(texts), size=lines)
    other = random.integers(len(OTHERS), size=lines)
    month_length = 9999
    with gzip.open(path, "wt", 3) if path.suffix == ".gz" else path.open("w") as stream:
        for number in range(lines):
            title, abstract, listed = texts[which[number]]
            month = number // month_length + 7 * 12
            stream.write(json.dumps({
                "id": f"{month // 12:02}{month % 12 + 1:02}.{number % month_length + 1:05}",
                "submitter": "A. Person", "authors": "A. Person and B. Person",
                "title": title, "comments": "12 pages, 4 figures", "journal-ref": None,
                "doi": None, "report-no": None,
                "categories": listed.replace(",", " ") if wanted[number] else OTHERS[other[number]],
                "license": None, "abstract": f"  {abstract}\n",
                "versions": [{"version": "v1", "created": "Mon, 2 Apr 2007 19:18:42 GMT"}],
                "update_date": "2008-11-26", "authors_parsed": [["Person", "A.", ""]],
            }) + "\n")  # fmt: skip


def plain(path: Path, lines: int) -> float:
    """Seconds to parse the first `lines` lines, one after the other."""
    started = time.perf_counter()
    kept = 0
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as stream:
        for number, line in enumerate(stream):
            if number == lines:
                break
            kept += bool(set(json.loads(line)["categories"].split()) & set(CATEGORIES))
    return time.perf_counter() - started


def measure(path: Path) -> tuple[float, float]:
    """Lines a second of this project's reader and of the plain one."""
    size = path.stat().st_size
    started = time.perf_counter()
    selection = read_snapshot(path, per_category=3000, sample="newest", seed=1, window=Window())
    seconds = time.perf_counter() - started
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{selection.lines:,} lines, {size / 2**20:,.0f} MiB on disk, {seconds:.1f} s, "
        f"{selection.lines / seconds:,.0f} lines/s; peak memory {own:,.0f} MiB"
    )
    some = min(selection.lines, 200_000)
    reference = plain(path, some) * selection.lines / some
    print(f"one json.loads a line, one process: {reference:.1f} s; ratio {reference / seconds:.2f}")
    return selection.lines / seconds, selection.lines / reference


def compare(lines: int, *, gz: bool) -> tuple[float, float]:
    """`measure` of a generated file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("dump.json.gz" if gz else "dump.json")
        # apart, so that its memory does not count
        maker = get_context("spawn").Process(target=generate, args=(path, lines))
        maker.start()
        maker.join()
        return measure(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lines", type=int, default=300_000)
    parser.add_argument("--file", type=Path, help="a dump of your own instead")
    parser.add_argument("--gz", action="store_true", help="generate a .gz")
    arguments = parser.parse_args()
    if arguments.file:
        measure(arguments.file)
    else:
        compare(arguments.lines, gz=arguments.gz)


if __name__ == "__main__":
    main()
