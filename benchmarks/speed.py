"""Speed of everything in one table, each line beside a plain reference of the same run.

    python benchmarks/speed.py [--only text,training] [--data CSV] [--dump DUMP]

Parts: text, inference, training, classes, sources, scratch, pipeline, growth; gpu if there is one;
stages with --dump. --data: papers instead of synthetic ones. Run it on an idle machine. Nothing is
asserted: the table shows each measurement beside the project's aim.
"""

import functools
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

import arxiv_hybrid  # noqa: F401 (before torch: it says how long threads spin)

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as stages do

import numpy as np
import numpy.typing as npt
import pandas as pd
import scratch
import snapshot
import throughput
import torch
import vectors
import workload
from dvc.utils.hydra import apply_overrides
from runner import ROOT, Speed, Stopwatch, new_parser, print_speeds, select, shortest
from torch.nn import functional as F

from arxiv_hybrid.inference.devices import choose_device
from arxiv_hybrid.inference.predict import predict
from arxiv_hybrid.models import ReferenceV1
from arxiv_hybrid.system.errors import exit_on_user_error
from arxiv_hybrid.system.runtime import cores, keep_freed_memory
from arxiv_hybrid.system.ticker import pulse
from arxiv_hybrid.text.tokenize import tokenize
from arxiv_hybrid.text.vocabulary import Vocabulary

STAGES = (
    "resolve",
    "fetch",
    "split",
    "audit",
    "augment",
    "glove",
    "vocab",
    "baseline",
    "train",
    "evaluate",
)
TRACKED = ("train", "evaluate", "ensemble")  # stages that log an MLflow run
SIZES = (1_000, 4_000, 16_000, 64_000)  # papers of the part `growth`


def repeated_papers(csv: Path | None, count: int) -> pd.DataFrame:
    """`count` papers of a CSV or the synthetic corpus, each several times if there are fewer."""
    papers = workload.load_papers(csv).drop_duplicates("id")
    return papers.iloc[np.arange(count) % len(papers)].reset_index(drop=True)


def plain_ids(texts: pd.Series, vocabulary: Vocabulary, length: int) -> npt.NDArray[np.int64]:
    """Tokens by regular expression, ids row by row, as most projects do; (texts, length)."""
    separators, rows = re.compile(r"[^a-z0-9\s-]"), []
    for text in texts:
        tokens = separators.sub(" ", text.lower()).split()[:length]
        ids = [vocabulary.index.get(token, 1) for token in tokens]
        rows.append(ids + [0] * (length - len(ids)))
    return np.array(rows, dtype=np.int64)


def text(options: Namespace) -> Iterator[Speed]:
    papers = repeated_papers(options.data, 10_000)
    abstracts, vocabulary = papers["abstract"], workload.build_vocabulary(papers)
    ours = len(abstracts) / shortest(lambda: vocabulary.encode(map(tokenize, abstracts), 300))
    plain = len(abstracts) / shortest(lambda: plain_ids(abstracts, vocabulary, 300))
    reference = f"regular expression, row by row: {plain:,.0f}"
    what = "tokenise and encode, one process"
    yield Speed(what, f"{ours:,.0f} abstracts/s", reference, ours / plain, "20,000")
    many = repeated_papers(options.data, 71_430)
    duration = shortest(lambda: workload.build_vocabulary(many), 1)
    yield Speed(f"vocabulary of {len(many):,} papers", f"{duration:.1f} s", aim="10 s")


def inference(options: Namespace) -> Iterator[Speed]:
    papers = repeated_papers(options.data, 2_048)
    vocabulary, few = workload.build_vocabulary(papers), papers.iloc[:256]
    plain = ReferenceV1(len(vocabulary), num_classes=4).eval()

    @torch.inference_mode()
    def classify_plainly() -> None:
        titles = torch.from_numpy(plain_ids(few["title"], vocabulary, 30))
        abstracts = torch.from_numpy(plain_ids(few["abstract"], vocabulary, 300))
        for rows in torch.arange(len(few)).split(64):
            F.softmax(plain(titles[rows], abstracts[rows]), dim=-1)

    plain_speed = len(few) / shortest(classify_plainly)
    reference = f"plain v1, fp32, padded: {plain_speed:,.0f}"
    for model in ("v1", "v5"):
        classifier = workload.untrained(model, vocabulary, choose_device("cpu", "auto"))
        what = f"{model}: from text to probabilities, {classifier.device_config.precision}"
        speed = len(papers) / shortest(functools.partial(classifier.probabilities, papers))
        yield Speed(what, f"{speed:,.0f} papers/s", reference, speed / plain_speed, "600")
        classify_one = functools.partial(classifier.probabilities, papers.iloc[:1])
        classify_one()
        waits = [1000 * shortest(classify_one, 1) for _ in range(200)]
        median, p99 = np.percentile(waits, [50, 99])
        yield Speed(f"{model}: one paper", f"p50 {median:.1f} ms, p99 {p99:.1f} ms")


def training(options: Namespace) -> Iterator[Speed]:
    for precision in dict.fromkeys((choose_device("cpu", "auto").precision, "fp32")):
        yield from throughput.measure(options.data, precision=precision)


def classes(options: Namespace) -> Iterator[Speed]:
    """Inference and training with 150 classes, several per paper, beside four."""
    papers = repeated_papers(options.data, 2_048)
    vocabulary, config = workload.build_vocabulary(papers), choose_device("cpu", "auto")
    encoded = workload.encode(papers, vocabulary, config)
    for model in ("v1", "v5"):
        speeds: dict[str, list[float]] = {"inference": [], "training": []}
        for count in (4, 150):
            classifier = workload.untrained(model, vocabulary, config, classes=count)
            seconds = shortest(functools.partial(classifier.classify, papers))
            speeds["inference"].append(len(papers) / seconds)
            speeds["training"].append(workload.training_speed(classifier, encoded))
        for what, (few, many) in speeds.items():
            measured, reference = f"{many:,.0f} papers/s", f"4 classes: {few:,.0f}"
            yield Speed(f"{model}: {what} with 150 classes", measured, reference, many / few, "0.9")


def on_device(csv: Path | None, device: str, count: int = 60_000) -> Iterator[Speed]:
    """Training by the published protocol and bulk inference from ids, on one device."""
    config = choose_device(device, "auto")
    yield from throughput.measure(csv, papers=10**9, device=device)
    settings = "labels.from=query labels.classes=3 split.by=row epochs=6 batch_size=64"
    params = workload.params_with(settings.split())
    splits, _ = workload.split_papers(workload.load_papers(csv), params)
    vocabulary = workload.build_vocabulary(splits["train"])
    train, val = (workload.encode(splits[name], vocabulary, config) for name in ("train", "val"))
    many = train.take(np.arange(count) % len(train))
    first, strict, free, long = (
        workload.fit_seconds(vocabulary, papers, val, params, config, deterministic=deterministic)
        for papers, deterministic in ((train, True), (train, True), (train, False), (many, True))
    )
    what = f"{device}: v1 by the published protocol, {params.epochs} epochs of {len(train):,}"
    measured = f"{strict:.1f} s, the first time {first:.1f} s"
    yield Speed(what, measured, f"not deterministic: {free:.1f} s", strict / free, "10 s")
    yield Speed(f"{device}: the same over {len(many):,}", f"{long:.1f} s", aim="60 s")
    model = workload.untrained("v1", vocabulary, config).model
    speed = len(many) / shortest(lambda: predict(model, many, config).cpu())
    yield Speed(f"{device}: v1, from ids to logits", f"{speed:,.0f} papers/s", aim="50,000")


@contextmanager
def clone() -> Iterator[Path]:
    """A temporary clone of this repository with the working tree's code and parameters."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "-q", str(ROOT), folder], check=True)
        names = ("src", "stages", "params.yaml", "dvc.yaml")
        subprocess.run(["cp", "-r", *names, folder], cwd=ROOT, check=True)
        yield Path(folder)


def run(folder: Path, *command: str) -> tuple[float, float]:
    """Seconds and peak memory in GB of a command; its output is shown only if it fails.

    Linux counts this process's own peak, too: measure the part `stages` alone.
    """
    with tempfile.TemporaryFile("w+") as log, pulse(" ".join(command[-2:])[:60]):
        with Stopwatch() as watch:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
            _, process.returncode, usage = os.wait4(process.pid, 0)
        if process.returncode:
            log.seek(0)
            raise SystemExit(f"{' '.join(command)}: {log.read()[-4000:]}")
    return watch.seconds, usage.ru_maxrss / 1024 / 1000


# imports what a stage imports, and opens MLflow's store if the stage logs a run
START_UP = """
import sys
sys.path.insert(0, "stages")
import {stage}
from _stage import run
from arxiv_hybrid.paths import repository_root
def main(params):
    if {tracked}:
        from arxiv_hybrid.tracking import track
        with track("start", params, root=repository_root(), workspace=repository_root()):
            pass
run(main)
"""


def pipeline(_: Namespace) -> Iterator[Speed]:
    with clone() as folder:
        yield Speed("dvc repro, everything", f"{run(folder, 'dvc', 'repro')[0]:.0f} s")
        nothing = min(run(folder, "dvc", "repro")[0] for _ in range(3))
        plain = min(run(folder, "dvc", "--version")[0] for _ in range(3))
        measured, reference = f"{nothing:.1f} s", f"dvc --version: {plain:.1f} s"
        yield Speed("dvc repro, nothing to do", measured, reference, nothing / plain, "4 s")
        files = [path for path in (folder / ".dvc/cache").rglob("*") if path.is_file()]
        megabytes = sum(path.stat().st_size for path in files) / 1e6
        yield Speed("DVC's cache after it", f"{megabytes:.0f} MB", aim="60 MB")
        starts = {}
        for stage in (*STAGES, "ensemble"):
            code = START_UP.format(stage=stage, tracked=stage in TRACKED)
            starts[stage] = run(folder, sys.executable, "-c", code)[0]
        total = sum(starts.values()) + 2 * starts["train"]  # two members
        measured = f"{total:.1f} s, at most {max(starts.values()):.1f} s"
        yield Speed("start-up of all 13 stages", measured, aim="20 s")
        durations = []
        for enabled in ("true", "false"):
            apply_overrides(folder / "params.yaml", [f"tracking.enabled={enabled}"])
            command = (sys.executable, "stages/train.py")
            durations.append(min(run(folder, *command)[0] for _ in range(2)))
        tracked, bare = durations
        measured, reference = f"{tracked:.1f} s", f"without: {bare:.1f} s"
        yield Speed("default training with MLflow", measured, reference, tracked / bare, "1.05")


def train_once(csv: Path | None, count: int) -> tuple[float, float]:
    """Seconds of one epoch of v1 over `count` papers, and this process's peak memory in GB."""
    keep_freed_memory()
    params = workload.params_with(["epochs=1", "patience=1", "batch_size=64"])
    config = choose_device("cpu", "auto")
    papers = repeated_papers(csv, count).assign(label=np.arange(count) % 3)
    vocabulary = workload.build_vocabulary(papers)
    train = workload.encode(papers, vocabulary, config)
    val = train.take(np.arange(200))
    seconds = workload.fit_seconds(vocabulary, train, val, params, config, deterministic=False)
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / 1000


def growth(options: Namespace) -> Iterator[Speed]:
    durations = []
    for count in SIZES:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            duration, memory = pool.submit(train_once, options.data, count).result()
        durations.append(duration)
        measured = f"{duration:.1f} s, peak memory {memory:.2f} GB"
        yield Speed(f"one epoch of v1 over {count:,} papers", measured)
    slope = np.polyfit(np.log(SIZES), np.log(durations), 1)[0]
    yield Speed("growth of training time", f"papers to the power of {slope:.2f}", aim="1")


def stages(options: Namespace) -> Iterator[Speed]:
    if options.dump is None:
        return
    settings = "fetch.source=snapshot fetch.per_category=1000000000 fetch.allow_fewer=true"
    settings += " labels.classes=4 epochs=1 glove.epochs=1 ensemble.members=[{name:second,seed:1}]"
    commands = [*(f"{stage}.py" for stage in STAGES), "train.py --member second", "ensemble.py"]
    with clone() as folder:
        path = f"fetch.path='{options.dump.resolve()}'"
        apply_overrides(folder / "params.yaml", [path, *settings.split()])
        for command in commands:
            duration, memory = run(folder, sys.executable, *f"stages/{command}".split())
            measured = f"{duration:.0f} s, peak memory {memory:.2f} GB"
            yield Speed(f"all papers of the dump: {command}", measured, aim="2 GB")


def measured(name: str, options: Namespace) -> Iterator[Speed]:
    """One part, announced."""
    print(f"{name}:", file=sys.stderr, flush=True)
    yield from PARTS[name](options)


def hardware() -> str:
    """This machine in one line."""
    info, name = Path("/proc/cpuinfo"), platform.processor() or platform.machine()
    if info.is_file() and (match := re.search(r"model name\s*: (.*)", info.read_text())):
        name = match[1]
    fast = choose_device("cpu", "auto").precision
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{cores()} cores of {name} ({fast}), {device}, torch {torch.__version__}"


PARTS: dict[str, Callable[[Namespace], Iterable[Speed]]] = {
    "text": text,
    "inference": inference,
    "training": training,
    "classes": classes,
    "gpu": lambda options: on_device(options.data, "cuda") if torch.cuda.is_available() else (),
    "sources": lambda _: chain(vectors.measure(), snapshot.measure_generated()),
    "scratch": lambda _: scratch.measure(),
    "pipeline": pipeline,
    "growth": growth,
    "stages": stages,
}

if __name__ == "__main__":
    parser = new_parser(__doc__)
    parser.add_argument("--only", default="", help="some of the parts, separated by commas")
    parser.add_argument("--data", type=Path, help="a CSV of papers")
    parser.add_argument("--dump", type=Path, help="a metadata dump, for the part stages")
    given = parser.parse_args()
    keep_freed_memory()
    with exit_on_user_error("stopped"):
        parts = [measured(name, given) for name in select(given.only, list(PARTS), "only")]
        print_speeds(chain(*parts), hardware())
