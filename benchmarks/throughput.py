"""Training speed of v1 against a plain PyTorch loop, and the accuracy of both after equal epochs.

    python benchmarks/throughput.py [--csv FILE] [--epochs N] [--papers N] [--seeds N ...]
    python benchmarks/throughput.py --neighbours 2 [--rounds N] [--dry-run]

The plain loop is a careful first implementation: models/reference.py in fp32, a DataLoader, every
abstract padded to 300 tokens and every title to 30, dense AdamW. Both have the same architecture,
papers, word vectors and epochs, and are timed in this process. Run it on an idle machine.

--neighbours: instead, what waiting threads cost. Small and large models train and classify, alone
and beside so many processes that never rest, with OpenMP's default, with this project's setting
and with OMP_WAIT_POLICY=passive. The same command continues after an interruption.
"""

import os
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import NamedTuple

import arxiv_hybrid  # noqa: F401 (before torch: it says how long threads spin)

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as stages do, for both loops

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from runner import (
    ROOT,
    Results,
    Speed,
    Stopwatch,
    digest,
    make_table,
    markdown,
    new_parser,
    print_speeds,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from workload import (
    Splits,
    build_vocabulary,
    encode,
    load_papers,
    params_with,
    split_papers,
    train,
    training_speed,
    untrained,
)

from arxiv_hybrid.data.table import texts_of
from arxiv_hybrid.inference.devices import choose_device
from arxiv_hybrid.models import ReferenceV1
from arxiv_hybrid.params import Params
from arxiv_hybrid.system.runtime import cores
from arxiv_hybrid.system.ticker import pulse
from arxiv_hybrid.text.tokenize import tokenize_all
from arxiv_hybrid.text.vocabulary import Vocabulary
from arxiv_hybrid.training.classifier import trainer_config
from arxiv_hybrid.training.seed import seed_everything
from arxiv_hybrid.vectors.matrix import embedding_matrix
from arxiv_hybrid.vectors.train import word_vectors

Floats = npt.NDArray[np.float32]
# the plain loop has neither word dropout nor a learning rate of its own for word vectors; nearly
# half of the papers are for validation: on 360 an accuracy would be good to 2 points only
SETTINGS = (
    "model=v1 batch_size=64 word_dropout=0 glove.learning_rate_scale=1 labels.from=primary"
    " split.by=paper split.val=0.45 split.test=0.05"
)


def train_plain(
    params: Params, papers: Splits, vocabulary: Vocabulary, embeddings: Floats, classes: int
) -> tuple[float, float]:
    """Median training speed in papers per second, and the last epoch's validation accuracy."""
    config = choose_device(params.device, params.precision)
    seed_everything(params.seed)
    torch.use_deterministic_algorithms(False)
    model = ReferenceV1(len(vocabulary), num_classes=classes, dropout=params.dropout)
    model.embedding.weight.data.copy_(torch.from_numpy(embeddings))
    model.to(config.device)
    batches: dict[str, DataLoader[tuple[Tensor, ...]]] = {}
    size = trainer_config(params, len(papers["train"])).batch_size
    for part in ("train", "val"):
        ids = encode(papers[part], vocabulary, config)
        data = TensorDataset(ids.title_ids, ids.abstract_ids, ids.labels)
        batches[part] = DataLoader(data, size, shuffle=part == "train")
    rate, steps = params.learning_rate, params.epochs * len(batches["train"])
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=params.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    speeds, accuracy = [], 0.0
    for epoch in range(1, params.epochs + 1):
        model.train()
        with Stopwatch() as watch:
            for titles, abstracts, labels in batches["train"]:
                optimizer.zero_grad()
                logits = model(titles, abstracts)
                loss = F.cross_entropy(logits, labels, label_smoothing=params.label_smoothing)
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), params.gradient_clip)
                optimizer.step()
                schedule.step()
            loss.item()  # a GPU works asynchronously: wait for it
        speeds.append(len(papers["train"]) / watch.seconds)
        model.eval()
        with torch.inference_mode():
            correct = [int((model(t, a).argmax(1) == y).sum()) for t, a, y in batches["val"]]
        accuracy = sum(correct) / len(papers["val"])
        print(f"  plain {epoch}: {speeds[-1]:6.1f} docs/s, val {accuracy:.2%}", flush=True)
    return float(np.median(speeds)), accuracy


def compare(csv: Path | None, papers: int, params: Params) -> list[float]:
    """Papers per second and validation accuracy of the plain loop, then of this project's."""
    splits, label_set = split_papers(load_papers(csv, synthetic_papers=4_000), params)
    splits["train"] = splits["train"].iloc[:papers]
    vocabulary, tokens = build_vocabulary(splits["train"]), tokenize_all(texts_of(splits["train"]))
    words, vectors = word_vectors(tokens, params.glove, seed=params.seed)
    embeddings, _ = embedding_matrix(vocabulary, words, vectors, dim=300, seed=params.seed)
    counts = f"{len(splits['train']):,} papers, {len(splits['val']):,} for validation"
    threads = torch.get_num_threads()
    print(f"{counts}, {len(vocabulary):,} words, {threads} threads, seed {params.seed}", flush=True)
    plain_speed, plain_accuracy = train_plain(
        params, splits, vocabulary, embeddings, len(label_set)
    )
    _, history = train(params, splits, vocabulary, embeddings, label_set)
    speed = float(np.median([epoch.documents_per_second for epoch in history.epochs]))
    return [plain_speed, plain_accuracy, speed, history.epochs[-1].val_accuracy]


def measure(
    csv: Path | None,
    *,
    papers: int = 2000,
    seeds: Sequence[int] = (42,),
    epochs: int = 3,
    precision: str = "auto",
    device: str = "cpu",
) -> Iterator[Speed]:
    """Train v1 both ways on at most `papers` papers, with one recipe; means over the seeds."""
    precision = choose_device(device, precision).precision
    settings = [*SETTINGS.split(), f"epochs={epochs}", f"patience={epochs}"]
    settings += [f"precision={precision}", f"device={device}"]
    runs = [compare(csv, papers, params_with([*settings, f"seed={seed}"])) for seed in seeds]
    plain_speed, plain_accuracy, speed, accuracy = np.mean(runs, axis=0)
    yield Speed(
        f"training v1 on {device}, {precision}",
        f"{speed:,.0f} papers/s, validation {accuracy:.1%}",
        f"plain loop, fp32: {plain_speed:,.0f}, validation {plain_accuracy:.1%}",
        speed / plain_speed,
        "6 times" if precision == "bf16" else "3 times",
    )


WORK = ("train v1", "train small v1", "train v6", "classify with v1", "classify with v6")
SMALL = {"num_filters": 32, "lstm_hidden": 32}
# torch reads the environment when it is loaded, so the first one has OpenMP's own default
POLICIES = {
    "default": ("import torch", {}),
    "ours": ("import arxiv_hybrid", {}),
    "passive": ("import arxiv_hybrid", {"OMP_WAIT_POLICY": "passive"}),
}
CHILD = """
{first}
import sys
sys.path.insert(0, "benchmarks")
import throughput
print(throughput.papers_per_second(sys.argv[1], float(sys.argv[2])))
"""


NEIGHBOUR = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"


class Busy(NamedTuple):
    """One measurement: a piece of WORK, a policy, how many processes run beside it."""

    work: str
    policy: str
    neighbours: int
    round: int
    seconds: float

    @property
    def name(self) -> str:
        """All that the result depends on."""
        machine = digest([cores(), torch.__version__, choose_device("cpu", "auto").precision])
        return " | ".join([*map(str, self), machine])


def papers_per_second(work: str, seconds: float) -> float:
    """The median of passes over 256 papers, at least one; a first one is not counted."""
    config, papers = choose_device("cpu", "auto"), load_papers(None).drop_duplicates("id").head(256)
    vocabulary = build_vocabulary(papers)
    architecture = SMALL if "small" in work else {}
    classifier = untrained(work.split()[-1], vocabulary, config, **architecture)
    encoded, speeds = encode(papers, vocabulary, config), list[float]()
    started = time.perf_counter()
    while len(speeds) < 2 or time.perf_counter() - started < seconds:
        if work.startswith("train"):
            speeds.append(training_speed(classifier, encoded))
        else:
            with Stopwatch() as watch:
                classifier.probabilities(papers)
            speeds.append(len(papers) / watch.seconds)
    return float(np.median(speeds[1:]))


@contextmanager
def busy_neighbours(count: int) -> Iterator[None]:
    """Processes that use a core each and never wait; they end with this block or this process."""
    started = [subprocess.Popen([sys.executable, "-c", NEIGHBOUR]) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def measure_busy(run: Busy) -> dict[str, object]:
    """Papers per second in a process of its own."""
    names = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    first, changes = POLICIES[run.policy]
    command = [sys.executable, "-c", CHILD.format(first=first), run.work, str(run.seconds)]
    with busy_neighbours(run.neighbours), pulse("measuring"):
        done = subprocess.run(
            command, cwd=ROOT, env={**kept, **changes}, stdout=subprocess.PIPE, text=True,
            check=True,
        )  # fmt: skip
    return {"run": run.name, **run._asdict(), "papers_per_second": float(done.stdout.split()[-1])}


def busy_table(results: pd.DataFrame) -> str:
    """Medians over the rounds; how much of its idle speed this project's setting keeps."""
    keys = ["work", "neighbours", "policy"]
    medians = results.groupby(keys)["papers_per_second"].median().to_dict()

    def speed(work: str, neighbours: int, policy: str = "ours") -> float:
        return float(medians.get((work, neighbours, policy), np.nan))

    rows = []
    for work, count in results[keys[:2]].drop_duplicates().itertuples(index=False, name=None):
        speeds = [speed(work, count, policy) for policy in POLICIES]
        shares = speed(work, count) / np.array([speed(work, count, "default"), speed(work, 0)])
        rows.append(
            [work, str(count), *(f"{x:,.0f}" for x in speeds), *(f"{x:.2f}" for x in shares)]
        )
    header = ["papers/s", "busy neighbours", *POLICIES, "ours / default", "ours / ours alone"]
    return markdown(header, rows)


def run_busy(options: Namespace) -> int:
    """Measure all combinations that have no result yet; policies alternate within a round."""
    counts = (0, options.neighbours)
    rounds = range(1, options.rounds + 1)
    runs = [
        Busy(work, policy, count, number, options.seconds)
        for number, work, count, policy in product(rounds, WORK, counts, POLICIES)
    ]
    results = Results(ROOT / "benchmarks/results/busy.csv", "run")
    return make_table(
        runs, results, measure_busy, busy_table, save_as=None, dry_run=options.dry_run
    )


if __name__ == "__main__":
    parser = new_parser(__doc__)
    parser.add_argument("--csv", type=Path, help="papers; default: the synthetic corpus")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--papers", type=int, default=2000, help="training papers at most")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--neighbours", type=int, help="busy processes to work beside, such as 2")
    parser.add_argument("--rounds", type=int, default=3, help="of --neighbours")
    parser.add_argument("--seconds", type=float, default=8, help="of each of its measurements")
    parser.add_argument("--dry-run", action="store_true", help="only print what it would measure")
    given = parser.parse_args()
    if given.neighbours is not None:
        sys.exit(run_busy(given))
    names = ("csv", "epochs", "papers", "precision", "seeds", "device")
    print_speeds(measure(**{name: getattr(given, name) for name in names}))
