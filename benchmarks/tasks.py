"""Any labels: three tasks on dumps of arXiv's metadata, pre-trained models beside the baselines.

    python benchmarks/tasks.py six-fields --dump arxiv_snapshot_2025.json.gz --minilm six.npz
    python benchmarks/tasks.py balanced --dump arxiv_149_categories.json.xz
    python benchmarks/tasks.py natural --dump arxiv_2015_2017.json.xz

`six-fields` is a CSV with the columns Title, Abstract and label: the 300 newest papers of each of
six fields. Fewer papers to learn from are a random part of its training and validation papers, more
are older papers, which only train. The test papers stay the same. `balanced` and `natural` have
every active category of arXiv, as the papers list them: at most about 1,000 papers of each, split
by a hash of the id, or all papers, tested on the last month. v6 starts from the pre-trained model
and is trained with the defaults. There, the pre-trained model also answers as it is; only
calibration and thresholds are fitted on the validation papers.

--pretrained: another model than the shipped one. It must not have read the papers: held_out.py
writes them for `leave_out`. --minilm: an .npz of minilm.py with the papers of `six-fields`. Every
run is timed from the dump to its probabilities, in a process of its own. Results go to
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
from minilm_vectors import Encodings, fit_logistic
from runner import ROOT, Stopwatch, percent
from scipy import optimize
from scipy.special import expit as sigmoid
from scipy.special import logit
from workload import (
    Splits,
    encoder_folder,
    folder_digest,
    params_with,
    split_papers,
    train,
    vocabulary_and_vectors,
)

from arxiv_hybrid.data.identifiers import text_key
from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.data.table import texts_of
from arxiv_hybrid.evaluation import metrics, multi_label
from arxiv_hybrid.evaluation.ensemble import Vote, calibrated, classes_of
from arxiv_hybrid.evaluation.linear import fit_linear
from arxiv_hybrid.evaluation.measures import shown_measures
from arxiv_hybrid.evaluation.multi_label import Outcome
from arxiv_hybrid.evaluation.predict import predict
from arxiv_hybrid.evaluation.predictions import Floats, Labels, Predictions
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.inference.pretrained import load_pretrained
from arxiv_hybrid.inference.thresholds import fit_thresholds
from arxiv_hybrid.params import Params
from arxiv_hybrid.sources.fetch import SOURCES, Workspace
from arxiv_hybrid.system import digests
from arxiv_hybrid.system.errors import UserError, exit_on_user_error
from arxiv_hybrid.system.files import atomic, write_csv

TABLE = runner.Results(ROOT / "benchmarks/results/tasks.csv", key="run")
PROBABILITIES = ROOT / "benchmarks/results/probabilities"
FIELDS = ("cs.RO", "cs.CR", "cs.SE", "cs.HC", "stat.ML", "eess.IV")
PAPERS_PER_FIELD = 300
ALL_LISTED = "labels.from=listed labels.classes=all labels.min_papers=50"
SHOWN = {"linear": "TF-IDF + linear", "minilm": "MiniLM + logistic regression"}
SHOWN |= {"v1": "v1", "shipped": "pre-trained model as it is", "v6": "v6, pre-trained"}
SHOWN |= {"ensemble": "all, voting"}
IDLE = {"tracking", "evaluate", "ensemble", "device", "precision", "processes", "fetch"}
IDLE |= {"pretrained"}  # its digest is part of a run's name
BOOTSTRAP: dict[str, Any] = {"samples": 2000, "confidence": 0.95, "seed": 42}
SMALLEST = 1e-6  # probability, before a logarithm
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Task:
    """What is to be learned from a dump, and which contenders, splits and sizes are measured.

    sizes: papers of each class to learn from, as if there were no more; None for all papers.
    """

    name: str
    settings: str
    contenders: tuple[str, ...]
    seeds: tuple[int, ...] = (42,)
    sizes: tuple[int | None, ...] = (None,)


TASKS = {
    task.name: task
    for task in (
        Task(
            "six-fields",
            "labels.from=column split.by=paper",
            ("linear", "minilm", "v6", "v1"),
            seeds=(42, 43, 44),
            sizes=(1667, 500, 300, 167, 100, 50, 30, 17),  # 10,000 papers to 100
        ),
        Task(
            "balanced",
            f"{ALL_LISTED} split.by=hash split.val=0.1 split.test=0.1",
            ("linear", "shipped", "v6"),
        ),
        Task(
            "natural",
            f"{ALL_LISTED} split.by=time split.val='2017-01' split.test='2017-02'",
            ("linear", "shipped", "v6"),
        ),
    )
}


@dataclass(frozen=True)
class Inputs:
    """The files that runs read; digests: of the dump, the model and the vectors, if known."""

    dump: Path
    model: Path = Path()
    minilm: Path | None = None
    digests: tuple[str, str, str] = ("", "", "")

    @classmethod
    def of(cls, dump: Path, model: Path, minilm: Path | None) -> "Inputs":
        """The inputs with their digests."""
        vectors = digests.of_file(minilm)[:16] if minilm else ""
        return cls(
            dump, model, minilm, (digests.of_file(dump)[:16], folder_digest(model)[:16], vectors)
        )


@dataclass(frozen=True)
class Run:
    """One contender on one split, with `size` papers of each class to learn from (None: all)."""

    task: Task
    seed: int
    contender: str  # one of SHOWN, but for the vote
    size: int | None
    inputs: Inputs

    @cached_property
    def params(self) -> Params:
        """The shipped parameters with those of the task; v6 starts from the pre-trained model."""
        settings = [*self.task.settings.split(), f"split.seed={self.seed}"]
        source = "csv" if self.task.name == "six-fields" else "snapshot"
        dump = f"fetch.path={quoted(self.inputs.dump)}"
        settings += [f"fetch.source={source}", dump, "fetch.per_category=null"]
        encoder = quoted(self.inputs.model) if self.contender == "v6" else "null"
        model = "v1" if self.contender == "v1" else "auto"
        return params_with([*settings, f"pretrained={encoder}", f"model={model}"])

    @cached_property
    def name(self) -> str:
        """A readable name that changes with the files and the parameters."""
        content = self.params.model_dump(mode="json", exclude=IDLE)
        if self.contender not in ("v6", "v1"):
            content = {name: content[name] for name in ("labels", "split", "thresholds")}
        dump, model, vectors = self.inputs.digests
        read = {"v6": model, "shipped": model, "minilm": vectors}.get(self.contender, "")
        size = "" if self.size is None else f"-{self.size}"
        suffix = runner.digest([dump, read, self.size, content])
        return f"{self.task.name}{size}-{self.contender}-{self.seed}-{suffix}"

    def stored(self) -> Arrays | None:
        """What `measure` stored, if it has."""
        path = PROBABILITIES / f"{self.name}.npz"
        if not path.is_file():
            return None
        with np.load(path) as arrays:
            return dict(arrays)


def quoted(path: Path) -> str:
    """A path as a value of a setting."""
    escaped = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def fetched(params: Params) -> pd.DataFrame:
    """The papers of a source."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(ROOT, lambda: ROOT, Path(folder))
        return SOURCES[params.fetch.source](params, workspace).table()


def newest_of_fields(dump: Path, count: int | None = None) -> pd.DataFrame:
    """The papers of `six-fields`: the newest of each field, by primary category.

    count: of each field, PAPERS_PER_FIELD by default; those after that have the column `older`.
    """
    fields = params_with(
        [
            "labels.from=primary",
            f"labels.classes=[{','.join(FIELDS)}]",
            "fetch.source=snapshot",
            f"fetch.path={quoted(dump)}",
            "fetch.per_category=null",
        ]
    )
    papers = fetched(fields)
    papers = papers[papers["primary_category"].isin(FIELDS)].sort_values("id", ascending=False)
    place = papers.groupby("primary_category").cumcount()
    return papers.assign(older=place >= PAPERS_PER_FIELD)[place < (count or PAPERS_PER_FIELD)]


def read_papers(run: Run) -> pd.DataFrame:
    """The task's papers, as stage fetch reads them; `arxiv_id` is their id in the dump."""
    if run.task.name != "six-fields":
        papers = fetched(run.params)
        return papers.assign(arxiv_id=papers["id"])
    newest = newest_of_fields(run.inputs.dump, max(run.size or 0, PAPERS_PER_FIELD))
    names = {"title": "Title", "abstract": "Abstract", "primary_category": "label"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "papers.csv"
        write_csv(path, newest[list(names)].rename(columns=names))
        own = run.params.fetch.model_copy(update={"path": str(path)})
        papers = fetched(run.params.model_copy(update={"fetch": own}))
    known = newest.assign(key=texts_of(newest).map(text_key)).drop_duplicates("key")
    known = known.set_index("key")[["id", "older"]]
    keys = texts_of(papers).map(text_key)
    return papers.assign(arxiv_id=keys.map(known["id"]), older=keys.map(known["older"]))


def split_task(run: Run) -> tuple[Splits, LabelSet]:
    """The task's papers for `run.size` papers of each class, and the classes.

    Fewer than all: a smaller part of a class is in every larger one. More than the newest: the
    older papers only train.
    """
    papers = read_papers(run)
    if run.task.name != "six-fields":
        return split_papers(papers, run.params)
    parts, label_set = split_papers(papers[~papers["older"]], run.params)
    older = papers[papers["older"]]
    if older.empty:
        return part_of(parts, run.size, run.seed), label_set
    more, same = split_papers(older, run.params)
    assert same == label_set
    both = pd.concat([parts["train"], *more.values()], ignore_index=True)
    return {**parts, "train": both}, label_set


def part_of(parts: Splits, size: int | None, seed: int) -> Splits:
    """The splits with fewer training and validation papers: as if each class had `size` papers."""
    if size is None or size == PAPERS_PER_FIELD:
        return parts
    smaller = dict(parts)
    for name in ("train", "val"):
        shuffled = parts[name].sample(frac=1, random_state=seed)
        classes = shuffled.groupby("label")["label"]
        kept = (classes.transform("size") * size / PAPERS_PER_FIELD).round().clip(lower=1)
        smaller[name] = shuffled[classes.cumcount() < kept].sort_index().reset_index(drop=True)
    return smaller


def contend(run: Run, parts: Splits, label_set: LabelSet) -> dict[str, Predictions]:
    """The predictions of validation and test papers."""
    model, minilm = run.inputs.model, run.inputs.minilm
    if run.contender == "minilm":
        assert minilm is not None
        vectors = Encodings.read([minilm])
        vectors.require(pd.concat(parts.values())["arxiv_id"], [minilm], "--minilm")
        found = fit_logistic(parts, vectors, "arxiv_id")
        return {name: Predictions(p) for name, p in found.items()}
    if run.contender == "linear":
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
    if run.contender == "v1":
        words, vectors_of_words = vocabulary_and_vectors(run.params, parts["train"])
        trained, _ = train(run.params, parts, words, vectors_of_words, label_set)
        return {name: predict(trained, parts[name]) for name in ("val", "test")}
    encoder = load_pretrained(model)
    encoder.check_held_out([*parts["val"]["arxiv_id"], *parts["test"]["arxiv_id"]])
    if run.contender == "v6":
        words, vectors_of_words = encoder.vocabulary, encoder.embeddings
        trained, _ = train(run.params, parts, words, vectors_of_words, label_set, encoder)
        return {name: predict(trained, parts[name]) for name in ("val", "test")}
    return answers(model, parts, label_set)


def answers(model: Path, parts: Splits, label_set: LabelSet) -> dict[str, Predictions]:
    """What a model says about validation and test papers, for the task's classes, by their names.

    Calibration and thresholds are fitted on the validation papers.
    """
    classifier = checkpoint.load(model)
    columns = {name: column for column, name in enumerate(classifier.config.classes)}
    if missing := [name for name in label_set.names if name not in columns]:
        print(f"{model}: does not know {', '.join(missing)}; it never predicts them", flush=True)
    found = {}
    for name in ("val", "test"):
        p = classifier.probabilities(parts[name]).numpy()
        found[name] = np.full((len(p), len(label_set)), SMALLEST)
        for place, column in enumerate(columns.get(name, -1) for name in label_set.names):
            if column >= 0:
                found[name][:, place] = p[:, column]
    classes = classes_of(parts["val"], label_set)
    temperature, biases = fit_biases(classes, found["val"])
    moved = {name: sigmoid(_logits(p) / temperature + biases) for name, p in found.items()}
    thresholds = fit_thresholds(classes, moved["val"], per_class=True)
    return {name: Predictions(p, thresholds) for name, p in moved.items()}


def fit_biases(classes: Labels, p: Floats) -> tuple[float, Floats]:
    """The temperature T and biases b (C,) of sigmoid(logit(p) / T + b) with the highest likelihood.

    classes (N, C) and probabilities p (N, C) of validation papers. Categories are more or less
    frequent in a task than where the model learned: each has its own bias. A weak prior, worth one
    paper, keeps the biases together.
    """
    logits, count = _logits(p), len(p)

    def loss(values: Floats) -> tuple[float, Floats]:
        temperature, biases = np.exp(values[0]), values[1] + values[2:]
        scaled = logits / temperature
        shifted = scaled + biases
        nll = np.logaddexp(0, shifted).sum() - shifted[classes].sum()
        error = sigmoid(shifted) - classes
        slopes = np.array([-(error * scaled).sum(), error.sum(), *error.sum(0)])
        return float(nll + values @ values) / count, (slopes + 2 * values) / count

    result = optimize.minimize(loss, np.zeros(2 + p.shape[1]), jac=True, method="L-BFGS-B")
    return float(np.exp(result.x[0])), result.x[1] + result.x[2:]


def _logits(p: Floats) -> Floats:
    result: Floats = logit(np.clip(p, SMALLEST, 1 - SMALLEST))
    return result


def measure(run: Run) -> dict[str, Any]:
    """Execute a run and store its probabilities; the row of tasks.csv."""
    with Stopwatch() as watch:
        parts, label_set = split_task(run)
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
        "papers_per_class": run.size,
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
    """Scores of each stored run, and of the vote of models and baseline; weights from validation.

    `gains` has what is gained over the baseline on the same papers, with its interval.
    """
    for task, size, seed in dict.fromkeys((run.task.name, run.size, run.seed) for run in runs):
        mine = [run for run in runs if (run.task.name, run.size, run.seed) == (task, size, seed)]
        stored = {run.contender: arrays for run in mine if (arrays := run.stored())}
        if "linear" not in stored:
            continue
        classes = stored["linear"]["test_classes"]
        test = {name: predictions_of(arrays, "test") for name, arrays in stored.items()}
        if "shipped" in stored:
            val_classes = stored["linear"]["val_classes"]
            val = {name: predictions_of(arrays, "val") for name, arrays in stored.items()}
            voters = [{name: p.probabilities for name, p in part.items()} for part in (val, test)]
            linear = calibrated(val_classes, val["linear"], test["linear"])
            for part, probabilities in zip(voters, linear, strict=True):
                part["linear"] = probabilities
            test["ensemble"] = Vote.fit(val_classes, voters[0], "fitted").predict(voters[1])
        for name, predictions in test.items():
            row = {"task": task, "papers_per_class": size, "split_seed": seed, "contender": name}
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
    """Markdown, one line per size and contender: means over the splits, and what each run cost."""
    measures = shown_measures(scored.columns)
    one_class = "accuracy" in measures
    lines = []
    for size, rows in scored.groupby("papers_per_class", dropna=False, sort=False):
        by_contender = {
            name: part.set_index("split_seed") for name, part in rows.groupby("contender")
        }
        for contender, shown in SHOWN.items():
            if contender not in by_contender:
                continue
            mine = by_contender[contender]
            if one_class:
                gains = [gain(mine, by_contender.get(name)) for name in ("linear", "minilm")]
            else:
                columns = [f"{name}_gain" for name in multi_label.COMPARED]
                known = contender != "linear"
                gains = [str(mine[name].iloc[0]) if known else "" for name in columns]
            same_size = results["papers_per_class"].eq(size) | (pd.isna(size))
            cost = results[(results["contender"] == contender) & same_size]
            costs = ["", ""]
            if len(cost):
                costs = [f"{cost['seconds'].mean():,.0f}", f"{cost['peak_gigabytes'].max():.1f}"]
            cells = [shown, *(percent(mine[name]) for name in measures), *gains, *costs]
            lines.append([f"{size:.0f}", *cells] if one_class else cells)
    if one_class:
        header = [f"{task}, papers of each", "", *measures.values(), "over linear", "over MiniLM"]
    else:
        gained = [f"{measures[name]} over linear" for name in multi_label.COMPARED]
        header = [task, *measures.values(), *gained]
    return runner.markdown([*header, "seconds", "GB"], lines)


def plan(task: Task, inputs: Inputs) -> list[Run]:
    """All runs of a task, the cheap ones first; MiniLM only where its vectors are given."""
    return [
        Run(task, seed, contender, size, inputs)
        for contender in task.contenders
        for size in task.sizes
        if contender != "minilm" or (inputs.minilm and (size or 0) <= PAPERS_PER_FIELD)
        for seed in task.seeds
    ]


@exit_on_user_error(runner.STOPPED)
def main(arguments: list[str] | None = None) -> int:
    """Make the missing runs, print the table and write it to benchmarks/results/tasks-TASK.md."""
    parser = runner.new_parser(__doc__)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--dump", required=True, help="a metadata dump, .json, .gz, .xz or .zip")
    parser.add_argument("--pretrained", help="a folder of pretraining/ (the shipped model)")
    parser.add_argument("--minilm", help="an .npz of minilm.py, for six-fields")
    parser.add_argument("--dry-run", action="store_true", help="only list the missing runs")
    options = parser.parse_args(arguments)
    task = TASKS[options.task]
    if options.minilm and "minilm" not in task.contenders:
        raise UserError(f"--minilm: MiniLM does not take part in {task.name}")
    dump = runner.existing_path(options.dump, "dump")
    model = encoder_folder(options.pretrained)
    minilm = runner.existing_path(options.minilm, "minilm") if options.minilm else None
    if minilm:
        Encodings.read([minilm])  # a wrong file fails before any training
    runs = plan(task, Inputs.of(dump, model, minilm))
    return runner.make_table(
        runs,
        TABLE,
        execute,
        lambda results: report(task.name, results, pd.DataFrame(scored_rows(runs))),
        save_as=TABLE.path.with_name(f"tasks-{task.name}.md"),
        dry_run=options.dry_run,
    )


if __name__ == "__main__":
    sys.exit(main())
