"""All of arXiv on one machine: time and memory of each stage, for more and more papers.

    python benchmarks/scale.py generate --from a.json.xz b.json.gz --lines 2900000 dump.json
    python benchmarks/scale.py run dump.json --papers 30000,300000,2900000
    python benchmarks/scale.py order .scale/2900000/data/raw/papers.parquet   # needs polars, too

`generate` writes a dump as large as arXiv from real papers: each line is one of them under a new
id, with the words of its title and of its abstract in another order, so that no two lines are
equal. `run` runs the stages on the first papers of it, in a folder that is kept: the command goes
on with the first stage that has no result. Training ends after 200 steps. `order` writes the rows
of a table in another order, by DuckDB, as the pipeline does, and by Polars.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pandas as pd
import psutil
import yaml
from runner import ROOT, STOPPED, Results, existing_path, make_table, markdown, new_parser

from arxiv_hybrid.sources.paper_files import ListedPaper, Read, papers_in
from arxiv_hybrid.system.errors import exit_on_user_error
from arxiv_hybrid.system.files import atomic
from arxiv_hybrid.system.ticker import Progress

STAGES = ("fetch", "split", "audit", "glove", "augment", "vocab", "baseline", "train")
STEPS = 200  # of training
CHANGES: dict[str, dict[str, Any]] = {  # to params.yaml: all categories, everything trained here
    "fetch": {"source": "snapshot", "per_category": None},
    "labels": {"from": "primary", "classes": "all", "too_few": "leave_out"},
    "tracking": {"enabled": False},
}
# training that ends after its first steps, before it validates
FEW_STEPS = f"""
import runpy, sys
sys.path[:0] = ["stages", "src"]
from arxiv_hybrid.training.trainer import Trainer
step, left = Trainer.step, {STEPS}
def counted(*arguments, **options):
    global left
    if not left:
        print("{STEPS} steps done")
        sys.exit(0)
    left -= 1
    return step(*arguments, **options)
Trainer.step = counted
runpy.run_path("stages/train.py", run_name="__main__")
"""
ORDER = """
import sys
import numpy as np
from pathlib import Path
from pyarrow.parquet import ParquetFile
source, target, order = sys.argv[1:]
rows = np.arange(ParquetFile(source).metadata.num_rows)
rows = rows[::-1].copy() if order == "reverse" else np.random.default_rng(0).permutation(rows)
"""
ENGINES = {
    "DuckDB": ORDER
    + """
from arxiv_hybrid.data.ordering import write_rows
write_rows(Path(target), Path(source), rows)
""",
    "Polars": ORDER
    + """
import polars as pl
places = np.empty(len(rows), np.int64)
places[rows] = np.arange(len(rows))
ordered = pl.LazyFrame({"row": np.arange(len(rows), dtype=np.uint32), "place": places})
papers = pl.scan_parquet(source).with_row_index("row").join(ordered, on="row")
papers.sort("place").drop("row", "place").sink_parquet(target, row_group_size=1 << 14)
""",
}
FIRST_YEAR, MONTHS = 2008, 216  # of the ids
FOUR_DIGITS = 2015  # ids of earlier years have so many


def generate(sources: list[Path], lines: int, path: Path) -> None:
    """Write `lines` papers to a dump."""
    papers: dict[str, ListedPaper] = {}
    for source in sources:
        found = papers_in(source, option="--from", read=Read())
        papers.update((paper.id, paper) for paper in found if paper.categories)
    ids = _ids(lines)
    order = random.Random(1)
    chosen = islice(cycle(papers.values()), lines)
    with atomic(path) as temporary, temporary.open("wb") as stream:
        for identifier, paper in zip(ids, Progress(chosen, "dump", total=lines), strict=True):
            record = {
                "id": identifier,
                "title": _shuffled(paper.title, order),
                "categories": " ".join(paper.categories),
                "abstract": _shuffled(paper.abstract, order),
            }
            stream.write(orjson.dumps(record) + b"\n")


def _shuffled(text: str, order: random.Random) -> str:
    words = text.split()
    order.shuffle(words)
    return " ".join(words)


def _ids(lines: int) -> list[str]:
    """So many ids, the same number in each month, rising."""
    ids: list[str] = []
    for month in range(MONTHS):
        year, number = divmod(month, 12)
        year += FIRST_YEAR
        most = 9_999 if year < FOUR_DIGITS else 99_999
        digits = 4 if year < FOUR_DIGITS else 5
        left = lines - len(ids)
        papers = min(most, -(-left // (MONTHS - month)))
        ids += [f"{year % 100:02}{number + 1:02}.{n + 1:0{digits}}" for n in range(papers)]
    return ids


class Stage(NamedTuple):
    """A stage on the first papers of a dump."""

    papers: int
    stage: str

    @property
    def name(self) -> str:
        return f"{self.papers} {self.stage}"


def run_stage(run: Stage, dump: Path, folder: Path) -> Mapping[str, Any]:
    """Run a stage; seconds, and the most memory that it and its children had (GB).

    memory: all that counts as resident, files mapped into memory included; own: without these.
    """
    work = folder / str(run.papers)
    if run.stage == STAGES[0]:
        prepare(work, dump, run.papers)
    command = ["-c", FEW_STEPS] if run.stage == "train" else [f"stages/{run.stage}.py"]
    seconds, peak = measured(command, work)
    return {"name": run.name, **run._asdict(), "seconds": seconds, **peak}


def measured(command: list[str], work: Path) -> tuple[float, dict[str, float]]:
    """Seconds and memory (GB) of a Python process in a folder, where its output goes."""
    with (work / "log.txt").open("a") as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *command], cwd=work, stdout=log, stderr=log, env=environment(work)
        )
        peak = {"memory": 0.0, "own": 0.0}
        watch = threading.Thread(target=watch_memory, args=(process.pid, peak), daemon=True)
        watch.start()
        status = process.wait()
        seconds = time.perf_counter() - started
        watch.join()
    if status:
        raise subprocess.CalledProcessError(status, command[-1][:40])
    return seconds, peak


def environment(work: Path) -> dict[str, str]:
    """Temporary files go to the disk that is measured."""
    temporary = work / "temporary"
    temporary.mkdir(exist_ok=True)
    return {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT / "src")}


def prepare(work: Path, dump: Path, papers: int) -> None:
    """A workspace with the first papers of the dump."""
    work.mkdir(parents=True, exist_ok=True)
    for name in ("src", "stages"):
        if not (work / name).exists():
            (work / name).symlink_to(ROOT / name)
    with dump.open("rb") as lines, (work / "dump.json").open("wb") as part:
        part.writelines(islice(lines, papers))
    content = yaml.safe_load((ROOT / "tests/defaults/params.yaml").read_text(encoding="utf-8"))
    for name, values in CHANGES.items():
        content[name].update(values)
    content["fetch"]["path"] = str(work / "dump.json")
    content["pretrained"] = None
    (work / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    for stage in ("resolve", "inputs"):
        subprocess.run(
            [sys.executable, f"stages/{stage}.py"], cwd=work, check=True, env=environment(work)
        )


def watch_memory(pid: int, peak: dict[str, float]) -> None:
    """Keep the most memory of a process and its children in `peak` until it ends."""
    process = psutil.Process(pid)
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        memory = own = 0
        for member in (process, *process.children(recursive=True)):
            try:
                info = member.memory_info()
            except psutil.NoSuchProcess:
                continue
            memory += info.rss
            own += info.rss - info.shared
        peak["memory"] = max(peak["memory"], memory / 1e9)
        peak["own"] = max(peak["own"], own / 1e9)
        time.sleep(0.1)


def order_rows(path: Path) -> None:
    """Print time and memory of two engines that write a table in reverse and in random order."""
    rows = []
    for order in ("reverse", "random"):
        for engine, program in ENGINES.items():
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                arguments = [str(path), str(Path(folder) / "ordered.parquet"), order]
                seconds, peak = measured(["-c", program, *arguments], Path(folder))
                rows.append([engine, order, f"{seconds:,.0f} s", f"{peak['own']:.1f} GB"])
    print(markdown(["engine", "order", "time", "memory"], rows))


def tabulate(results: pd.DataFrame) -> str:
    """Seconds and memory of each stage by the number of papers."""
    sizes = sorted(results["papers"].unique())
    rows = []
    for stage in STAGES:
        cells = [stage]
        for papers in sizes:
            found = results[(results["papers"] == papers) & (results["stage"] == stage)]
            cells += [
                f"{row.seconds:,.0f} s, {row.memory:.1f} GB" for row in found.itertuples()
            ] or [""]
        rows.append(cells)
    return markdown(["stage", *(f"{papers:,} papers" for papers in sizes)], rows)


def main() -> None:
    parser = new_parser(__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    make = commands.add_parser("generate", help="write a dump as large as arXiv")
    make.add_argument("--from", nargs="+", required=True, dest="sources", metavar="FILE")
    make.add_argument("--lines", type=int, default=2_900_000)
    make.add_argument("path", type=Path)
    run = commands.add_parser("run", help="measure the stages on such a dump")
    run.add_argument("--papers", default="30000,300000,2900000", help="numbers of papers")
    run.add_argument("--folder", type=Path, default=ROOT / ".scale", help="for data and models")
    run.add_argument("--dry-run", action="store_true", help="only list the missing runs")
    run.add_argument("path", type=Path)
    order = commands.add_parser("order", help="compare engines that sort a table")
    order.add_argument("path", type=Path)
    options = parser.parse_args()
    with exit_on_user_error(STOPPED):
        if options.command == "generate":
            sources = [existing_path(name, "from") for name in options.sources]
            generate(sources, options.lines, options.path)
        elif options.command == "order":
            order_rows(existing_path(str(options.path), "path").resolve())
        else:
            sys.exit(run_stages(options))


def run_stages(options: argparse.Namespace) -> int:
    """Measure the stages that have no result yet, and print all results."""
    dump, folder = existing_path(str(options.path), "path"), options.folder
    sizes = [int(papers) for papers in options.papers.split(",")]
    plan = [Stage(papers, stage) for papers in sizes for stage in STAGES]
    results = Results(ROOT / "benchmarks/results/scale.csv", "name")
    execute = partial(run_stage, dump=dump.resolve(), folder=folder.resolve())
    return make_table(plan, results, execute, tabulate, save_as=None, dry_run=options.dry_run)


if __name__ == "__main__":
    main()
