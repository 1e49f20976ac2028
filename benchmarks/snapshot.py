"""Reading the metadata dump: lines per second and peak memory on a generated file.

    python benchmarks/snapshot.py [--lines N] [--file DUMP] [--gz]

The file has the fields of the public dump and roughly its mix of categories and text lengths, made
from the synthetic corpus. The reference is the plain way: `json.loads` on each line in one process.
"""

import gzip
import json
import lzma
import resource
import tempfile
from collections.abc import Iterator
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import IO

import numpy as np
from runner import Speed, Stopwatch, new_parser, print_speeds

from arxiv_hybrid.sources import synthetic
from arxiv_hybrid.sources.snapshot_scan import Window
from arxiv_hybrid.sources.snapshot_source import read_snapshot
from arxiv_hybrid.taxonomy.label_sets import CATEGORIES

OTHERS = ("hep-th", "math.AP", "cond-mat.mtrl-sci", "astro-ph.GA", "quant-ph", "cs.RO")
WANTED = 0.15  # share of the dump's papers that list one of the four categories
PER_MONTH = 9999  # papers whose ids have the same year and month
# the fields of the public dump in its order
RECORD = json.loads(
    '{"id": "", "submitter": "A. Person", "authors": "A. Person and B. Person", "title": "",'
    ' "comments": "12 pages, 4 figures", "journal-ref": null, "doi": null, "report-no": null,'
    ' "categories": "", "license": null, "abstract": "",'
    ' "versions": [{"version": "v1", "created": "Mon, 2 Apr 2007 19:18:42 GMT"}],'
    ' "update_date": "2008-11-26", "authors_parsed": [["Person", "A.", ""]]}'
)


def generate(path: Path, lines: int) -> None:
    """Write `lines` papers from 2007 on, compressed if the name ends in .gz."""
    papers, _ = synthetic.generate(papers=2000, label_noise=0.0, seed=1)
    texts = papers.drop_duplicates("id")[["title", "abstract", "all_categories"]].to_numpy()
    random = np.random.default_rng(1)
    wanted = random.random(lines) < WANTED
    which = random.integers(len(texts), size=lines)
    other = random.integers(len(OTHERS), size=lines)
    with gzip.open(path, "wt", 3) if path.suffix == ".gz" else path.open("w") as stream:
        for number in range(lines):
            title, abstract, listed = texts[which[number]]
            categories = listed.replace(",", " ") if wanted[number] else OTHERS[other[number]]
            year, month = divmod(number // PER_MONTH, 12)
            paper = {"id": f"{year + 7:02}{month + 1:02}.{number % PER_MONTH + 1:05}"}
            paper |= {"title": title, "categories": categories, "abstract": f"  {abstract}\n"}
            stream.write(json.dumps(RECORD | paper) + "\n")


def measure(path: Path) -> Iterator[Speed]:
    """Read a dump with this project's reader, and its first lines plainly.

    Once for some papers of four categories, and once for all papers of all categories.
    """
    seconds = []
    for categories, per_category in ((CATEGORIES, 3000), (None, None)):
        with Stopwatch() as watch:
            dump = read_snapshot(
                path, categories=categories, per_category=per_category, sample="newest", seed=1,
                window=Window(),
            )  # fmt: skip
        seconds.append(watch.seconds)
        lines = dump.lines
        del dump
    some = min(lines, 200_000)
    with Stopwatch() as skipping, _open_text(path) as stream:
        listed = (json.loads(line)["categories"].split() for line in islice(stream, some))
        _ = sum(not set(CATEGORIES).isdisjoint(categories) for categories in listed)
    with Stopwatch() as keeping, _open_text(path) as stream:
        papers = map(json.loads, islice(stream, some))
        _kept = [(p["id"], p["title"], p["abstract"], p["categories"].split()) for p in papers]
    size = path.stat().st_size / 2**20
    plainly = (some / skipping.seconds, some / keeping.seconds)
    what = ("3,000 of each of four categories", "all papers")
    references = ("json.loads a line", "json.loads a line, texts kept")
    for wanted, time, plain, reference in zip(what, seconds, plainly, references, strict=True):
        yield Speed(
            f"metadata dump, {lines:,} lines, {size:,.0f} MiB: {wanted}",
            f"{lines / time:,.0f} lines/s",
            f"{reference}, one process: {plain:,.0f}",
            lines / time / plain,
        )


def _open_text(path: Path) -> IO[str]:
    openers = {".gz": gzip.open, ".xz": lzma.open}
    stream: IO[str] = openers.get(path.suffix, open)(path, "rt", encoding="utf-8")  # type: ignore[operator]
    return stream


def measure_generated(lines: int = 300_000, *, gz: bool = False) -> Iterator[Speed]:
    """`measure` of a generated file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("dump.json.gz" if gz else "dump.json")
        # in another process, so that its memory does not count
        maker = get_context("spawn").Process(target=generate, args=(path, lines))
        maker.start()
        maker.join()
        yield from measure(path)


if __name__ == "__main__":
    parser = new_parser(__doc__)
    parser.add_argument("--lines", type=int, default=300_000)
    parser.add_argument("--file", type=Path, help="an existing dump instead")
    parser.add_argument("--gz", action="store_true", help="generate a .gz")
    options = parser.parse_args()
    file = options.file
    print_speeds(measure(file) if file else measure_generated(options.lines, gz=options.gz))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\npeak memory {peak:,.0f} MiB")
