"""The shipped model: papers per second, time to load, size, and what its compact weights cost.

    python benchmarks/shipped.py --data papers.csv.gz

--data: papers to classify; without it, synthetic ones, whose words the model mostly does not know.
--pretrained: another model. --pipeline: the folder of pre-training that made it; its
metrics/encoder.json has the scores of validation papers, with exact weights and with compact ones.
Run it on an idle machine.

    python benchmarks/shipped.py --reference papers.csv.gz

writes reference.json beside the model instead: how it does on these papers, with which `update`
compares new ones. It is a table with the newest papers of some category queries, of which the model
has learned none; those count from the day on from which the table has the papers of every query.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import arxiv_hybrid  # noqa: F401 (before torch: it says how long threads spin)

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as stages do

import numpy as np
import pandas as pd
import torch
import workload
from runner import ROOT, Speed, Stopwatch, existing_path, new_parser, print_speeds, shortest
from workload import encoder_folder

from arxiv_hybrid.audit.monitoring import Reference
from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.evaluation.multi_label import MEASURES
from arxiv_hybrid.evaluation.predict import predict
from arxiv_hybrid.evaluation.reference import reference_of
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.pretrained import load_pretrained
from arxiv_hybrid.params.schema import Columns
from arxiv_hybrid.sources.csv_source import load_csv
from arxiv_hybrid.system.errors import UserError, exit_on_user_error
from arxiv_hybrid.system.files import read_json, write_json
from arxiv_hybrid.system.runtime import cores, keep_freed_memory

PAPERS, CORES = 4096, 2
LOAD = """
import sys, time
from arxiv_hybrid.inference import checkpoint
started = time.perf_counter()
checkpoint.load(sys.argv[1])
print(time.perf_counter() - started)
"""
PREDICT = ("predict", "--title", "Speech recognition", "--abstract", "A corpus of read speech.")


def speeds(folder: Path, csv: Path | None, count: int = PAPERS) -> Iterator[Speed]:
    """Papers per second from text to categories, times of fresh processes, and the size."""
    papers = workload.load_papers(csv).drop_duplicates("id")
    papers = papers.iloc[np.arange(count) % len(papers)].reset_index(drop=True)
    classifier = checkpoint.load_network(folder)
    classifier.classify(papers.iloc[:64])  # the first call loads kernels
    rate = count / shortest(lambda: classifier.classify(papers))
    threads, precision = torch.get_num_threads(), classifier.device_config.precision
    what = f"from text to {len(classifier.config.classes)} categories, {threads} cores, {precision}"
    yield Speed(what, f"{rate:,.0f} papers/s", aim="1,500")
    loading = median(float(_python("-c", LOAD, str(folder))) for _ in range(3))
    yield Speed("load the model", f"{loading:.2f} s", aim="0.5 s")
    with Stopwatch() as watch:
        _python("-m", "arxiv_hybrid", *PREDICT, "--model", str(folder))
    yield Speed("`predict` for one paper, the whole process", f"{watch.seconds:.1f} s")
    megabytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    yield Speed("the folder", f"{megabytes:.1f} MB", aim="25 MB")


def _python(*arguments: str) -> str:
    """The output of a Python process; SystemExit if it fails."""
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr[-2000:]}")
    return done.stdout


def losses(folder: Path, pipeline: Path) -> pd.DataFrame:
    """Each measure in percent with exact weights and with compact ones, and the difference.

    Rows: `MEASURES`; columns: exact, compact, loss. Raises UserError if the pipeline made another
    model.
    """
    figures = read_json(pipeline / "metrics/encoder.json")
    if figures.get("model") != checkpoint.digest(folder):
        raise UserError(f"{pipeline}: has made another model than {folder} (--pipeline)")
    both = {"exact": figures["exact"], "compact": figures}
    table = pd.DataFrame(both, index=list(MEASURES)).astype(float)
    return (100 * table).assign(loss=lambda t: t["exact"] - t["compact"])


def compactness(folder: Path, pipeline: Path) -> Speed:
    """The largest loss of any measure."""
    table = losses(folder, pipeline)
    worst = str(table["loss"].idxmax())
    row = table.loc[worst]
    what = f"largest loss by compact weights, of {len(table)} measures: {worst}"
    exact = f"exact: {row['exact']:.2f}"
    return Speed(what, f"{row['compact']:.2f} ({-row['loss']:+.2f})", exact, aim="-0.1")


def reference(folder: Path, csv: Path) -> Reference:
    """How the model does on the papers of a CSV; UserError if it has learned from one of them."""
    rows = load_csv(csv, columns=Columns(), label=None, wanted=None).papers
    complete = rows["id"] >= rows.groupby("category")["id"].min().max()
    papers = rows[complete].drop_duplicates("id").reset_index(drop=True)
    load_pretrained(folder).check_held_out(set(papers["id"]))
    classifier = checkpoint.load(folder)
    names = tuple(classifier.config.classes)
    label_set = LabelSet(names, classifier.config.multi_label, {name: (name,) for name in names})
    return reference_of(
        classifier, papers, label_set, predict(classifier, papers), checkpoint.digest(folder),
        within=tuple(sorted(rows["category"].unique())),
    )  # fmt: skip


@exit_on_user_error("stopped")
def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = new_parser(__doc__)
    parser.add_argument("--data", help="a CSV of papers (synthetic ones)")
    parser.add_argument("--pretrained", help="a folder of pretraining/ (the shipped model)")
    parser.add_argument("--pipeline", default="pretraining", help="the folder of pre-training")
    parser.add_argument("--reference", help="a CSV of papers of which the model learned none")
    options = parser.parse_args(arguments)
    if options.reference:
        folder = encoder_folder(options.pretrained)
        record = reference(folder, existing_path(options.reference, "reference"))
        write_json(folder / "reference.json", record.to_json())
        return 0
    data = existing_path(options.data, "data") if options.data else None
    folder, pipeline = (
        encoder_folder(options.pretrained),
        existing_path(options.pipeline, "pipeline"),
    )
    keep_freed_memory()
    torch.set_num_threads(min(CORES, cores()))
    print_speeds([*speeds(folder, data), compactness(folder, pipeline)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
