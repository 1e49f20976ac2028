"""Speed of everything in one table, each line beside a plain reference of the same run.

    python benchmarks/speed.py [--only text,training] [--data CSV] [--dump DUMP]

Parts: text, inference, training, sources, scratch, pipeline, growth, with a GPU gpu and with --dump
stages. Run it on an idle machine. --data: papers in place of the synthetic ones. Nothing is
asserted: the table says what was measured and what each part aims at.
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as stages do
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import pandas as pd
import torch
import yaml
from torch.nn import functional as F

from arxiv_hybrid.data.labels import label_papers
from arxiv_hybrid.data.splits import split_documents
from arxiv_hybrid.data.table import texts_of
from arxiv_hybrid.inference.checkpoint import Classifier, ModelConfig
from arxiv_hybrid.inference.devices import DeviceConfig, choose_device
from arxiv_hybrid.inference.encoding import EncodedPapers, encode_papers
from arxiv_hybrid.models import registry
from arxiv_hybrid.sources import synthetic
from arxiv_hybrid.sources.csv_source import read_csv
from arxiv_hybrid.system.nested import deep_merge
from arxiv_hybrid.system.runtime import cores, keep_freed_memory
from arxiv_hybrid.text.tokenize import tokenize, tokenize_all
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training.seed import seed_everything

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("fetch", "split", "audit", "augment", "glove", "vocab", "baseline", "train", "evaluate")
SIZES = (1_000, 4_000, 16_000, 64_000)  # papers of `growth`


@dataclass(frozen=True)
class Line:
    """One line of the table; `aim` is what the project asks of itself."""

    what: str
    measured: str
    reference: str = ""
    ratio: float | None = None
    aim: str = ""


@dataclass(frozen=True)
class Chosen:
    """The command line."""

    data: Path | None
    dump: Path | None

    def rows(self) -> pd.DataFrame:
        """All rows of the file, or the synthetic corpus."""
        if self.data:
            return read_csv(self.data, option="--data")
        return synthetic.generate(papers=2400, label_noise=0.05, seed=1)[0]

    def papers(self, count: int) -> pd.DataFrame:
        """So many papers, each once or, where there are fewer, several times."""
        found = self.rows().drop_duplicates("id")
        return found.iloc[np.arange(count) % len(found)].reset_index(drop=True)


def seconds(action: Callable[[], object], times: int = 3) -> float:
    """The shortest of several runs."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        action()
        found.append(time.perf_counter() - started)
    return min(found)


def plain_ids(texts: list[str], index: dict[str, int], length: int) -> object:
    """Tokens by regular expression, ids row by row: what most projects do."""
    outside = re.compile(r"[^a-z0-9\s-]")
    rows = []
    for text in texts:
        found = [index.get(token, 1) for token in outside.sub(" ", text.lower()).split()][:length]
        rows.append(found + [0] * (length - len(found)))
    return np.array(rows, dtype=np.int64)


def text(chosen: Chosen) -> Iterator[Line]:
    papers = chosen.papers(10_000)
    abstracts = papers["abstract"].tolist()
    tokens = tokenize_all(abstracts)
    words = Vocabulary.build(tokens, max_size=50_000, min_freq=2)
    ours = seconds(lambda: words.encode(map(tokenize, abstracts), 300))
    plain = seconds(lambda: plain_ids(abstracts, words.index, 300))
    yield Line(
        "tokenise and encode, one process", f"{len(papers) / ours:,.0f} abstracts/s",
        f"regular expression, row by row: {len(papers) / plain:,.0f}", plain / ours, "20,000",
    )  # fmt: skip
    many = 71_430
    texts = texts_of(chosen.papers(many)).tolist()
    took = seconds(lambda: Vocabulary.build(tokenize_all(texts), max_size=50_000, min_freq=2), 1)
    yield Line(f"vocabulary of {many:,} papers", f"{took:.1f} s", aim="10 s")


def classifier_of(model: str, words: Vocabulary, precision: str) -> Classifier:
    """An untrained classifier: its speed is that of a trained one."""
    torch.manual_seed(0)
    arguments = {"vocab_size": len(words), "embed_dim": 300, "num_classes": 4, "dropout": 0.5}
    network = registry.build(model, **arguments).eval()
    config = ModelConfig(model, arguments, ["a", "b", "c", "d"], 30, 300)
    return Classifier(network, words, config, choose_device("cpu", precision))


def inference(chosen: Chosen) -> Iterator[Line]:
    from throughput import PlainV1

    papers = chosen.papers(2_048)
    words = Vocabulary.build(tokenize_all(texts_of(papers)), max_size=50_000, min_freq=2)
    plain = PlainV1(np.zeros((len(words), 300), np.float32), 4, 0.5).eval()
    few = papers.iloc[:256]

    @torch.inference_mode()
    def plainly() -> None:
        titles, abstracts = (
            torch.from_numpy(plain_ids(few[name].tolist(), words.index, length))
            for name, length in (("title", 30), ("abstract", 300))
        )
        for rows in torch.arange(len(few)).split(64):
            F.softmax(plain(titles[rows], abstracts[rows]), dim=-1)

    reference = len(few) / seconds(plainly)
    for model in ("v1", "v5"):
        classifier = classifier_of(model, words, "auto")
        speed = len(papers) / seconds(functools.partial(classifier.probabilities, papers))
        yield Line(
            f"{model}: from text to probabilities, {classifier.device_config.precision}",
            f"{speed:,.0f} papers/s", f"plain v1, fp32, padded: {reference:,.0f}",
            speed / reference, "600",
        )  # fmt: skip
        one = papers.iloc[:1]
        classifier.probabilities(one)
        waits = [1000 * seconds(lambda: classifier.probabilities(one), 1) for _ in range(200)]  # noqa: B023
        middle, most = np.percentile(waits, [50, 99])
        yield Line(f"{model}: one paper", f"p50 {middle:.1f} ms, p99 {most:.1f} ms")


def training(chosen: Chosen) -> Iterator[Line]:
    from throughput import compare

    fast = choose_device("cpu", "auto").precision
    for precision, aim in dict.fromkeys([(fast, "6" if fast == "bf16" else "3"), ("fp32", "3")]):
        found = compare(chosen.data, epochs=3, papers=2000, precision=precision, seed=42)
        yield Line(
            f"training v1, {precision}",
            f"{found.speed:,.0f} papers/s, validation {found.accuracy:.1%}",
            f"plain loop, fp32: {found.plain_speed:,.0f}, validation {found.plain_accuracy:.1%}",
            found.speed / found.plain_speed, f"{aim} times",
        )  # fmt: skip


def gpu(chosen: Chosen) -> Iterator[Line]:
    if torch.cuda.is_available():
        yield from on_device(chosen, choose_device("cuda", "auto"))


def on_device(chosen: Chosen, device_config: DeviceConfig, count: int = 60_000) -> Iterator[Line]:
    """Training by the published protocol and bulk inference from ids, on one device."""
    from arxiv_hybrid.training.loop import fit
    from throughput import compare

    from arxiv_hybrid.inference.predict import predict
    from arxiv_hybrid.params import load

    device, precision = device_config.device.type, device_config.precision
    found = compare(
        chosen.data, epochs=3, papers=10**9, precision=precision, seed=42, device=device
    )
    yield Line(
        f"{device}: training v1, {precision}", f"{found.speed:,.0f} papers/s",
        f"plain loop, fp32: {found.plain_speed:,.0f}", found.speed / found.plain_speed,
    )  # fmt: skip
    params = load(ROOT / "params.yaml")
    documents = label_papers(chosen.rows(), scheme="query", classes=3)
    parts = split_documents(documents, by="row", val=0.15, test=0.15, seed=42, classes=3)
    words = Vocabulary.build(tokenize_all(texts_of(parts["train"])), max_size=50_000, min_freq=2)
    train, val = (
        encode_papers(parts[name], words, title_length=30, abstract_length=300,
                      device=device_config.device)
        for name in ("train", "val")
    )  # fmt: skip

    def training_of(papers: EncodedPapers, deterministic: bool) -> float:
        seed_everything(params.seed)
        torch.use_deterministic_algorithms(deterministic)
        model = registry.build("v1", vocab_size=len(words), embed_dim=300, num_classes=3,
                               dropout=params.dropout).to(device_config.device)  # fmt: skip
        return seconds(lambda: fit(model, papers, val, params, device_config), 1)

    first, strict, free = (training_of(train, kept) for kept in (True, True, False))
    yield Line(
        f"{device}: v1 by the published protocol, {params.epochs} epochs of {len(train):,}",
        f"{strict:.1f} s, the first time {first:.1f} s", f"not deterministic: {free:.1f} s",
        strict / free, "10 s",
    )  # fmt: skip
    many = train.take(np.arange(count) % len(train))
    yield Line(f"{device}: the same over {len(many):,}", f"{training_of(many, True):.1f} s",
               aim="60 s")  # fmt: skip
    model = classifier_of("v1", words, precision).model.to(device_config.device)
    speed = len(many) / seconds(lambda: predict(model, many, device_config).cpu())
    yield Line(f"{device}: v1, from ids to logits", f"{speed:,.0f} papers/s", aim="50,000")


def sources(chosen: Chosen) -> Iterator[Line]:
    import snapshot
    import vectors

    del chosen
    ours, plain, kept = vectors.compare(400_000, 38_000)
    yield Line("GloVe, 400,000 words in a .zip", f"{ours:.1f} s, later {kept:.2f} s",
               f"line by line: {plain:.1f} s", plain / ours)  # fmt: skip
    speed, reference = snapshot.compare(300_000, gz=False)
    yield Line("metadata dump", f"{speed:,.0f} lines/s", f"json.loads a line: {reference:,.0f}",
               speed / reference)  # fmt: skip


def scratch(chosen: Chosen) -> Iterator[Line]:
    import scratch as networks

    del chosen
    threads = torch.get_num_threads()
    for kind, (ours, theirs) in networks.compare(20).items():
        yield Line(f"NumPy {kind}, one thread", f"{ours:,.0f} examples/s",
                   f"the same in torch: {theirs:,.0f}", ours / theirs)  # fmt: skip
    torch.set_num_threads(threads)


def clone(folder: str) -> Path:
    """A clone of this repository, with the code as it lies here."""
    target = Path(folder) / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(target)], check=True)
    for name in ("src", "stages", "params.yaml", "dvc.yaml"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, dirs_exist_ok=True)
        else:
            shutil.copy(source, target / name)
    return target


def in_clone(folder: Path, *command: str) -> float:
    """Seconds of a command in a clone; its own output only where it fails."""
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - started


def set_params(folder: Path, changes: dict[str, object]) -> None:
    path = folder / "params.yaml"
    content = deep_merge(yaml.safe_load(path.read_text(encoding="utf-8")), changes)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


OPENED = """
import sys
sys.path.insert(0, "stages")
import {stage}
if {tracked}:
    import _stage
    from arxiv_hybrid.params import load
    from arxiv_hybrid.tracking.run import track
    with track("start", load(_stage.PARAMS), root=_stage.ROOT, workspace=_stage.WORKSPACE):
        pass
_stage = sys.modules["_stage"]
_stage.gc.freeze()
"""


def pipeline(chosen: Chosen) -> Iterator[Line]:
    del chosen
    with tempfile.TemporaryDirectory() as temporary:
        folder = clone(temporary)
        whole = in_clone(folder, "dvc", "repro")
        yield Line("dvc repro, everything", f"{whole:.0f} s")
        nothing = min(in_clone(folder, "dvc", "repro") for _ in range(3))
        reference = min(in_clone(folder, "dvc", "--version") for _ in range(3))
        yield Line("dvc repro, nothing to do", f"{nothing:.1f} s",
                   f"dvc --version: {reference:.1f} s", nothing / reference, "4 s")  # fmt: skip
        size = sum(file.stat().st_size for file in (folder / ".dvc/cache").rglob("*")
                   if file.is_file())  # fmt: skip
        yield Line("DVC's cache after it", f"{size / 1e6:.0f} MB", aim="60 MB")
        starts = {
            stage: in_clone(folder, sys.executable, "-c", OPENED.format(
                stage=stage, tracked=stage in ("train", "evaluate", "ensemble")))
            for stage in (*STAGES, "ensemble")
        }  # fmt: skip
        total = sum(starts.values()) + 2 * starts["train"]  # two members
        slowest = max(starts, key=lambda stage: starts[stage])
        yield Line("start-up of all 12 stages", f"{total:.1f} s, at most {starts[slowest]:.1f} s",
                   aim="20 s")  # fmt: skip
        tracked = min(in_clone(folder, sys.executable, "stages/train.py") for _ in range(2))
        set_params(folder, {"tracking": {"enabled": False}})
        bare = min(in_clone(folder, sys.executable, "stages/train.py") for _ in range(2))
        yield Line("default training with MLflow", f"{tracked:.1f} s", f"without: {bare:.1f} s",
                   tracked / bare, "1.05")  # fmt: skip


GROW = """
import sys
sys.path.insert(0, {here!r})
from pathlib import Path
import speed
speed.grow(Path({data!r}) if {data!r} else None, {count})
"""


def grow(data: Path | None, count: int) -> None:
    """Train v1 once over `count` papers; print seconds and the peak memory in MB."""
    import resource

    from arxiv_hybrid.training.loop import fit

    from arxiv_hybrid.params import load

    keep_freed_memory()
    params = load(ROOT / "params.yaml").model_copy(update={"epochs": 1, "patience": 1})
    papers = Chosen(data, None).papers(count)
    papers["label"] = np.arange(count) % 3
    words = Vocabulary.build(tokenize_all(texts_of(papers)), max_size=50_000, min_freq=2)
    device_config = choose_device("cpu", "auto")
    ids = encode_papers(
        papers, words, title_length=30, abstract_length=300, device=device_config.device
    )
    model = registry.build("v1", vocab_size=len(words), embed_dim=300, num_classes=3, dropout=0.5)
    started = time.perf_counter()
    fit(model, ids, ids.take(np.arange(200)), params, device_config)
    took = time.perf_counter() - started
    print(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)


def growth(chosen: Chosen) -> Iterator[Line]:
    times = []
    for count in SIZES:
        code = GROW.format(here=str(Path(__file__).parent), data=str(chosen.data or ""),
                           count=count)  # fmt: skip
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                              check=True)  # fmt: skip
        took, memory = map(float, done.stdout.split())
        times.append(took)
        yield Line(f"one epoch of v1 over {count:,} papers",
                   f"{took:.1f} s, peak memory {memory / 1000:.2f} GB")  # fmt: skip
    slope = np.polyfit(np.log(SIZES), np.log(times), 1)[0]
    yield Line("growth of training time", f"papers to the power of {slope:.2f}", aim="1")


def stages(chosen: Chosen) -> Iterator[Line]:
    if chosen.dump is None:
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = clone(temporary)
        set_params(folder, {
            "fetch": {"source": "snapshot", "path": str(chosen.dump), "per_category": 10**9,
                      "allow_fewer": True},
            "labels": {"classes": 4}, "epochs": 1, "glove": {"epochs": 1},
            "ensemble": {"members": [{"name": "second", "seed": 1}]},
        })  # fmt: skip
        commands = [[f"stages/{stage}.py"] for stage in STAGES]
        commands += [["stages/train.py", "--member", "second"], ["stages/ensemble.py"]]
        for command in commands:
            started = time.perf_counter()
            with (folder / "log").open("w") as log:
                process = subprocess.Popen(
                    [sys.executable, *command], cwd=folder, stdout=log, stderr=log
                )
                _, status, usage = os.wait4(process.pid, 0)
            if status:
                raise SystemExit(f"{command}: {(folder / 'log').read_text()[-2000:]}")
            yield Line(
                f"all papers of the dump: {' '.join(command)[len('stages/') :]}",
                f"{time.perf_counter() - started:.0f} s, "
                f"peak memory {usage.ru_maxrss / 1024 / 1000:.2f} GB",
                aim="2 GB",
            )


PARTS: dict[str, Callable[[Chosen], Iterator[Line]]] = {
    part.__name__: part
    for part in (text, inference, training, gpu, sources, scratch, pipeline, growth, stages)
}


def hardware() -> str:
    """One line about this machine."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file() and (found := re.search(r"model name\s*: (.*)", info.read_text())):
        name = found[1]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    fast = choose_device("cpu", "auto").precision
    return f"{cores()} cores of {name} ({fast}), {gpu}, torch {torch.__version__}"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--data", type=Path, help="a CSV of papers")
    parser.add_argument("--dump", type=Path, help="a metadata dump, for the part stages")
    given = parser.parse_args()
    names = given.only.split(",")
    if unknown := set(names) - set(PARTS):
        parser.error(f"--only: no {unknown.pop()!r}; choose from {', '.join(PARTS)}")
    data, dump = (path.resolve() if path else None for path in (given.data, given.dump))
    keep_freed_memory()
    lines = []
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        for line in PARTS[name](Chosen(data, dump)):
            print(f"  {line.what}: {line.measured}", file=sys.stderr, flush=True)
            lines.append(line)
    print(f"\n{hardware()}\n\n| what | measured | reference | ratio | aim |\n|---|---|---|---|---|")
    for line in lines:
        ratio = "" if line.ratio is None else f"{line.ratio:.1f}"
        print(f"| {line.what} | {line.measured} | {line.reference} | {ratio} | {line.aim} |")


if __name__ == "__main__":
    main()
