"""Any labels: three tasks on dumps of arXiv's metadata, the network beside the linear baseline.

    python benchmarks/tasks.py six-fields --dump arxiv_snapshot_2025.json.gz
    python benchmarks/tasks.py balanced --dump arxiv_149_categories.json.xz
    python benchmarks/tasks.py natural --dump arxiv_2015_2017.json.xz

`six-fields` is a CSV with the columns Title, Abstract and label: the 300 newest papers of each of
six fields. `balanced` and `natural` have every active category of arXiv, as the papers list them:
at most about 1,000 papers of each, split by a hash of the id, or all papers, tested on the last
month. Every run is timed from the dump to its probabilities, in a process of its own. Results go to
benchmarks/results/tasks.csv, probabilities beside it, and a finished run is not repeated. Relative
paths start at the repository's root.
"""

import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import runner
from accuracy import gain
from runner import ROOT, Stopwatch, percent
from workload import Splits, params_with, split_papers, train, vocabulary_and_vectors

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.evaluation import metrics, multi_label
from arxiv_hybrid.evaluation.ensemble import Vote, calibrated, classes_of
from arxiv_hybrid.evaluation.linear import fit_linear
from arxiv_hybrid.evaluation.measures import shown_measures
from arxiv_hybrid.evaluation.multi_label import Outcome
from arxiv_hybrid.evaluation.predict import predict
from arxiv_hybrid.evaluation.predictions import Predictions
from arxiv_hybrid.inference.thresholds import fit_thresholds
from arxiv_hybrid.params import Params
from arxiv_hybrid.sources.fetch import SOURCES, Workspace
from arxiv_hybrid.system import digests
from arxiv_hybrid.system.errors import exit_on_user_error
from arxiv_hybrid.system.files import atomic, write_csv

TABLE = runner.Results(ROOT / "benchmarks/results/tasks.csv", key="run")
PROBABILITIES = ROOT / "benchmarks/results/probabilities"
FIELDS = ("cs.RO", "cs.CR", "cs.SE", "cs.HC", "stat.ML", "eess.IV")
PAPERS_PER_FIELD = 300
ALL_LISTED = "labels.from=listed labels.classes=all labels.min_papers=50"
# how the network of each task is trained; everything else is as in params.yaml
V5 = (  # from scratch: vectors learn fast, and larger groups of tokens double the papers a second
    "model=v5 embeddings=random glove.source=none glove.dim=200 glove.learning_rate_scale=5 "
    "vocab.max_size=80000 vocab.abstract_length=256 architecture.num_filters=128 "
    "architecture.lstm_hidden=128 architecture.title_group=2 architecture.abstract_group=8 "
    "dropout=0.2 word_dropout=0.05"
)
RECIPES = {
    "six-fields": "",
    "balanced": f"{V5} batch_size=64 learning_rate=0.0015 epochs=4",
    "natural": f"{V5} batch_size=128 learning_rate=0.002 epochs=3",
}
SHOWN = {"linear": "TF-IDF + linear", "network": "network", "ensemble": "both, voting"}
IDLE = {"tracking", "evaluate", "ensemble", "device", "precision", "processes", "fetch"}
BOOTSTRAP: dict[str, Any] = {"samples": 2000, "confidence": 0.95, "seed": 42}
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Task:
    """What is to be learned from a dump, and which splits are measured."""

    name: str
    settings: str
    seeds: tuple[int, ...] = (42,)


TASKS = {
    task.name: task
    for task in (
        Task("six-fields", "labels.from=column split.by=paper", seeds=(42, 43, 44)),
        Task("balanced", f"{ALL_LISTED} split.by=hash split.val=0.1 split.test=0.1"),
        Task("natural", f"{ALL_LISTED} split.by=time split.val='2017-01' split.test='2017-02'"),
    )
}


@dataclass(frozen=True)
class Run:
    """One contender on one split; `inputs` is a digest of the dump."""

    task: Task
    seed: int
    contender: str  # linear or network
    dump: Path
    inputs: str

    @cached_property
    def params(self) -> Params:
        """The shipped parameters with those of the task, and for a network its recipe."""
        settings = [*self.task.settings.split(), f"split.seed={self.seed}"]
        source = "csv" if self.task.name == "six-fields" else "snapshot"
        quoted = str(self.dump).replace("\\", "\\\\").replace("'", "\\'")
        settings += [f"fetch.source={source}", f"fetch.path='{quoted}'", "fetch.per_category=null"]
        return params_with([*settings, *RECIPES[self.task.name].split()])

    @cached_property
    def name(self) -> str:
        """A readable name that changes with the dump and the parameters."""
        content = self.params.model_dump(mode="json", exclude=IDLE)
        if self.contender == "linear":
            content = {name: content[name] for name in ("labels", "split", "thresholds")}
        suffix = runner.digest([self.inputs, content])
        return f"{self.task.name}-{self.contender}-{self.seed}-{suffix}"

    def stored(self) -> Arrays | None:
        """What `measure` stored, if it has."""
        path = PROBABILITIES / f"{self.name}.npz"
        if not path.is_file():
            return None
        with np.load(path) as arrays:
            return dict(arrays)


def read_papers(run: Run) -> pd.DataFrame:
    """The task's papers, as stage fetch reads them."""
    workspace = Workspace(ROOT, lambda: ROOT)
    if run.task.name != "six-fields":
        return SOURCES["snapshot"](run.params, workspace).papers
    dump = run.params.fetch.model_copy(update={"source": "snapshot"})
    fields = params_with(["labels.from=primary", f"labels.classes=[{','.join(FIELDS)}]"])
    papers = SOURCES["snapshot"](fields.model_copy(update={"fetch": dump}), workspace).papers
    papers = papers[papers["primary_category"].isin(FIELDS)].sort_values("id", ascending=False)
    newest = papers.groupby("primary_category").head(PAPERS_PER_FIELD)
    names = {"title": "Title", "abstract": "Abstract", "primary_category": "label"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "papers.csv"
        write_csv(path, newest[list(names)].rename(columns=names))
        own = run.params.fetch.model_copy(update={"path": str(path)})
        return SOURCES["csv"](run.params.model_copy(update={"fetch": own}), workspace).papers


def contend(run: Run, parts: Splits, label_set: LabelSet) -> dict[str, Predictions]:
    """The predictions of validation and test papers."""
    if run.contender == "network":
        vocabulary, vectors = vocabulary_and_vectors(run.params, parts["train"])
        classifier, _ = train(run.params, parts, vocabulary, vectors, label_set)
        return {name: predict(classifier, parts[name]) for name in ("val", "test")}
    linear = fit_linear(**parts, label_set=label_set)
    thresholds = None
    if label_set.multi_label:
        per_class = run.params.thresholds == "per_class"
        classes = classes_of(parts["val"], label_set)
        thresholds = fit_thresholds(classes, linear.val, per_class=per_class)
    return {
        "val": Predictions(linear.val, thresholds),
        "test": Predictions(linear.test, thresholds),
    }


def measure(run: Run) -> dict[str, Any]:
    """Execute a run and store its probabilities; the row of tasks.csv."""
    with Stopwatch() as watch:
        parts, label_set = split_papers(read_papers(run), run.params)
        predicted = contend(run, parts, label_set)
    arrays: Arrays = {}
    for part, predictions in predicted.items():
        arrays[part] = predictions.probabilities.astype(np.float32)
        arrays[f"{part}_classes"] = classes_of(parts[part], label_set)
        if predictions.thresholds is not None:
            arrays["thresholds"] = predictions.thresholds
    with atomic(PROBABILITIES / f"{run.name}.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # on Linux
    return {
        "run": run.name,
        "task": run.task.name,
        "split_seed": run.seed,
        "contender": run.contender,
        "train_papers": len(parts["train"]),
        "test_papers": len(parts["test"]),
        "classes": len(label_set),
        "seconds": watch.seconds,
        "peak_gigabytes": kibibytes * 1024 / 1e9,
    }


def execute(run: Run) -> dict[str, Any]:
    """`measure` in a process of its own, whose memory is that of this run alone."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(measure, run).result()


def predictions_of(arrays: Arrays, part: str) -> Predictions:
    """Stored predictions of validation or test papers."""
    return Predictions(arrays[part].astype(np.float64), arrays.get("thresholds"))


def scored_rows(runs: list[Run]) -> Iterator[dict[str, Any]]:
    """Scores of each stored run, and of the vote of network and baseline; weights from validation.

    `gains` has what is gained over the baseline on the same papers, with its interval.
    """
    for task, seed in dict.fromkeys((run.task.name, run.seed) for run in runs):
        mine = [run for run in runs if (run.task.name, run.seed) == (task, seed)]
        stored = {run.contender: arrays for run in mine if (arrays := run.stored())}
        if "linear" not in stored:
            continue
        classes = stored["linear"]["test_classes"]
        test = {name: predictions_of(arrays, "test") for name, arrays in stored.items()}
        if "network" in stored:
            val_classes = stored["linear"]["val_classes"]
            val = {name: predictions_of(arrays, "val") for name, arrays in stored.items()}
            voters = [{name: p.probabilities for name, p in part.items()} for part in (val, test)]
            linear = calibrated(val_classes, val["linear"], test["linear"])
            for part, probabilities in zip(voters, linear, strict=True):
                part["linear"] = probabilities
            test["ensemble"] = Vote.fit(val_classes, voters[0], "fitted").predict(voters[1])
        for name, predictions in test.items():
            row = {"task": task, "split_seed": seed, "contender": name}
            yield row | scores(classes, predictions, test["linear"])


def scores(
    classes: npt.NDArray[Any], predictions: Predictions, baseline: Predictions
) -> dict[str, Any]:
    """The measures of predictions, and `gain`: over the baseline, if they are not its own."""
    names = [str(number) for number in range(predictions.probabilities.shape[1])]
    if classes.ndim == 1:
        report = metrics.scores(classes, predictions.probabilities, names)
        return {name: report[name] for name in shown_measures(report)}
    report = multi_label.scores(classes, predictions, names)
    result = {name: report[name] for name in shown_measures(report)}
    if predictions is not baseline:
        outcomes = (Outcome.of(classes, each) for each in (predictions, baseline))
        gains = multi_label.paired_comparison(*outcomes, **BOOTSTRAP)
        for name in multi_label.COMPARED:
            low, high = (f"{100 * bound:+.1f}" for bound in gains[name]["gain_interval"])
            result[f"{name}_gain"] = f"{100 * gains[name]['gain']:+.1f} ({low} to {high})"
    return result


def report(task: str, results: pd.DataFrame, scored: pd.DataFrame) -> str:
    """Markdown, one line per contender: means over the splits, and what each run cost."""
    measures = shown_measures(scored.columns)
    lines = []
    by_contender = {
        name: part.set_index("split_seed") for name, part in scored.groupby("contender")
    }
    for contender, shown in SHOWN.items():
        if contender not in by_contender:
            continue
        mine, cost = by_contender[contender], results[results["contender"] == contender]
        cells = [percent(mine[name]) for name in measures]
        if "accuracy" in measures:
            gains = [gain(mine, by_contender.get("linear"))]
        else:
            columns = [f"{name}_gain" for name in multi_label.COMPARED]
            gains = [str(mine[name].iloc[0]) if contender != "linear" else "" for name in columns]
        costs = ["", ""]
        if len(cost):
            costs = [f"{cost['seconds'].mean():,.0f}", f"{cost['peak_gigabytes'].max():.1f}"]
        lines.append([shown, *cells, *gains, *costs])
    gained = ["over linear"]
    if "accuracy" not in measures:
        gained = [f"{measures[name]} over linear" for name in multi_label.COMPARED]
    header = [task, *measures.values(), *gained, "seconds", "GB"]
    return runner.markdown(header, lines)


def plan(task: Task, dump: Path, inputs: str) -> list[Run]:
    """All runs of a task, the cheap ones first."""
    return [
        Run(task, seed, contender, dump, inputs)
        for contender in ("linear", "network")
        for seed in task.seeds
    ]


@exit_on_user_error(runner.STOPPED)
def main(arguments: list[str] | None = None) -> int:
    """Make the missing runs, print the table and write it to benchmarks/results/tasks-TASK.md."""
    parser = runner.new_parser(__doc__)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--dump", required=True, help="a metadata dump, .json, .gz, .xz or .zip")
    parser.add_argument("--dry-run", action="store_true", help="only list the missing runs")
    options = parser.parse_args(arguments)
    dump = runner.existing_path(options.dump, "dump")
    runs = plan(TASKS[options.task], dump, digests.of_file(dump)[:16])
    return runner.make_table(
        runs,
        TABLE,
        execute,
        lambda results: report(options.task, results, pd.DataFrame(scored_rows(runs))),
        save_as=TABLE.path.with_name(f"tasks-{options.task}.md"),
        dry_run=options.dry_run,
    )


if __name__ == "__main__":
    sys.exit(main())
