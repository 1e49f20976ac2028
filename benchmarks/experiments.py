"""Every system in one table: missing runs are made as DVC experiments, then the table is printed.

    python benchmarks/experiments.py table --data arxiv_query_12k.csv.gz
    python benchmarks/experiments.py ablations --data arxiv_query_12k.csv.gz
    python benchmarks/experiments.py collapse --data arxiv_query_12k.csv.gz

Each run is one `dvc exp run --temp --name ...`, so `dvc exp show` lists them all. Results go to
benchmarks/results/runs.csv, and a run with the same parameters is not repeated. A change of the
code does not invalidate a result: delete its line to run it again. --data is a CSV (a relative path
starts at the repository's root), `arxiv` (the live API) or `synthetic`.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import runner
import torch
from dvc import api
from runner import ROOT, percent
from workload import params_with

from arxiv_hybrid.params import Params, for_member
from arxiv_hybrid.system.errors import exit_on_user_error
from arxiv_hybrid.tracking import training_seconds

RUNS = runner.Results(ROOT / "benchmarks/results/runs.csv", key="experiment")
SEEDS = (42, 43, 44)
# columns of the table for the last protocol, and their headings
SHOWN = {"macro_f1": "macro-F1", "recall_cl": "cs.CL recall"}
SHOWN |= {"any_listed": "any listed", "disagreement": "disagreement"}
# parameters that change neither a model nor its results
IDLE = {"tracking", "evaluate", "ensemble", "device", "precision", "processes"}


class Row(NamedTuple):
    """A row of a table: its settings as typed after `dvc exp run -S`, separated by spaces."""

    name: str
    settings: str
    published: str = ""  # the accuracy that its authors report
    repeated: bool = False  # on three splits even without a GPU


PROTOCOLS = {
    "published": "labels.from=query labels.classes=3 split.by=row",
    "clean": "labels.from=primary labels.classes=4 split.by=paper",
}
SEED_ENSEMBLE = "ensemble.members=[{name:seed-123,seed:123},{name:seed-456,seed:456}]"
MODEL_ENSEMBLE = "ensemble.members=[{name:baseline,model:baseline},{name:cnn-lstm,model:cnn_lstm}]"
TABLE = (
    Row("baseline", "model=baseline", "59.3 (3 classes), 47.7 (4)", repeated=True),
    Row("v1", "model=v1", "66.4 val, 65 test", repeated=True),
    Row("v2", "model=v2", "64.1"),
    Row("v3", "model=v3", "65.1"),
    Row("v4", "model=v4", "25.0"),
    Row("cnn_lstm", "model=cnn_lstm", repeated=True),
    Row("ensemble", SEED_ENSEMBLE, "64.9"),
    Row("ensemble_tta", f"{SEED_ENSEMBLE} ensemble.tta=3", "64.9"),
)
ABLATIONS = (
    Row("v1", "model=v1"),
    Row("without attention", "architecture.attention=false"),
    Row("without residual connections", "architecture.residual=false"),
    Row("without gates", "architecture.gates=false"),
    Row("dropout 0.3", "dropout=0.3"),
    Row("dropout 0.6", "dropout=0.6"),
    Row("published class weights", "class_weights={cs.CL:2.0,cs.CV:1.8}"),
    Row("balanced class weights", "class_weights=balanced"),
    Row("EDA 30 %", "augment.fraction=0.3"),
    Row("EDA 30 % with vectors' synonyms", "augment.fraction=0.3 augment.synonyms=vectors"),
    Row("random embeddings", "embeddings=random"),
    Row("focal loss", "loss=focal"),
    Row("no label smoothing", "label_smoothing=0"),
    Row("no word dropout", "word_dropout=0"),
    Row("mixup 30 %", "mixup=0.3"),
    Row("ensemble of seeds", SEED_ENSEMBLE),
    Row("ensemble of models", f"{MODEL_ENSEMBLE} ensemble.linear=true ensemble.weights=fitted"),
    Row("ensemble of seeds with 3 EDA copies", f"{SEED_ENSEMBLE} ensemble.tta=3"),
)
# v4 as its authors trained it, but on a quarter of the papers and on shorter abstracts. It stays at
# chance all the same; each row then changes one part of the recipe.
V4 = "model=v4 recipe=published split.val=0.3 split.test=0.45 vocab.abstract_length=100 epochs=8"
COLLAPSE = (
    Row("v4 as published", V4),
    Row("letters at 0.1", f"{V4} architecture.char_init_std=0.1"),
    Row("dropout 0.3", f"{V4} dropout=0.3"),
    Row("no mixup", f"{V4} mixup=0"),
    Row("no EDA", f"{V4} augment.fraction=0"),
    Row("no label smoothing", f"{V4} label_smoothing=0"),
    Row("a step every batch", f"{V4} accumulate=1"),
    Row("no warm-up", f"{V4} scheduler=plateau"),
)
# rows, and the protocols on which they are run
SUITES = {
    "table": (TABLE, "published,clean"),
    "ablations": (ABLATIONS, "clean"),
    "collapse": (COLLAPSE, "published"),
}


class Run(NamedTuple):
    """An experiment: a row under one protocol on one split, with all its parameters."""

    row: Row
    protocol: str
    seed: int
    settings: list[str]
    params: Params

    @property
    def name(self) -> str:
        """A readable name that changes with any parameter, including values behind `auto`."""
        all_params = [self.params, *(for_member(self.params, name) for name in self.members)]
        contents = [params.model_dump(mode="json", exclude=IDLE) for params in all_params]
        for content in contents:  # unset: as before this parameter existed
            if content["pretrained"] is None:
                del content["pretrained"]
        if self.members:
            contents.append(self.params.ensemble.model_dump(exclude={"members"}))
        readable = "".join(c if c.isalnum() else "-" for c in self.row.name)
        return f"{readable}-{self.protocol}-{self.seed}-{runner.digest(contents)}".lower()

    @property
    def members(self) -> list[str]:
        """The names of the models that vote with the main model, if the row is an ensemble."""
        if "ensemble.members" not in self.row.settings:
            return []
        return [member.name for member in self.params.ensemble.members]

    @property
    def target(self) -> str:
        """The stage whose metrics count."""
        return "ensemble" if self.members else "evaluate"


def plan(rows: Sequence[Row], protocols: list[str], data: str, seeds: int | None) -> list[Run]:
    """All runs of a table; one split of every row comes before the repetitions."""
    source = [f"fetch.source={data}"]
    if data not in ("arxiv", "synthetic"):
        quoted = data.replace("\\", "\\\\").replace("'", "\\'")
        source = ["fetch.source=csv", f"fetch.path='{quoted}'"]
    if data != "synthetic":
        source.append("glove.epochs=10")  # real text is worth more passes than the default run's
    runs = []
    for number, seed in enumerate(SEEDS):
        for row in rows:
            default = len(SEEDS) if row.repeated or torch.cuda.is_available() else 1
            for protocol in protocols if number < (seeds or default) else []:
                settings = [*source, *PROTOCOLS[protocol].split(), f"split.seed={seed}"]
                settings += row.settings.split()
                runs.append(Run(row, protocol, seed, settings, params_with(settings)))
    return runs


def output_of(*command: str) -> str:
    """What a command in the repository prints."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def execute(run: Run) -> dict[str, Any]:
    """Run an experiment in a temporary workspace, unless DVC has it; the row of runs.csv."""
    if run.name not in output_of("dvc", "exp", "list", "--name-only").split():
        settings = [part for setting in run.settings for part in ("-S", setting)]
        command = ["dvc", "exp", "run", "--temp", "--name", run.name, *settings, run.target]
        subprocess.run(command, cwd=ROOT, check=True)

    def read(path: str, mode: str = "r") -> Any:
        return api.read(path, repo=str(ROOT), rev=run.name, mode=mode)

    scores = json.loads(read(f"metrics/{run.target}.json"))
    names = ["train", *(f"members/{name}/train" for name in run.members)]
    trained = [json.loads(read(f"metrics/{name}.json")) for name in names]
    folders = ["main", *(f"members/{name}" for name in run.members)]
    weights = [read(f"models/{folder}/model.safetensors", "rb") for folder in folders]
    digests = [hashlib.sha256(content).hexdigest()[:16] for content in weights]  # as in MLflow
    reference = output_of("git", "for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{run.name}")
    commit = "".join(reference.split("/")[2:4])  # of refs/exps/5e/5ee244…/name
    return {
        "experiment": run.name,
        "row": run.row.name,
        "protocol": run.protocol,
        "split_seed": run.seed,
        "accuracy": scores["accuracy"],
        "macro_f1": scores["macro_f1"],
        "any_listed": scores["accuracy_any_listed"],
        "recall_cl": scores["per_class"]["cs.CL"]["recall"],
        "linear": scores["against_baseline"]["baseline_accuracy"],
        "disagreement": scores.get("diversity", {}).get("mean_disagreement"),
        "parameters": sum(model["parameters"] for model in trained),
        "train_seconds": training_seconds(ROOT, digests),
        "device": trained[0]["device"],
        "revision": commit[:7],
    }


def table(rows: Sequence[Row], protocols: list[str], results: pd.DataFrame) -> str:
    """Markdown, one line per row: accuracy in percent, mean and deviation over the splits."""
    lines = []
    for row in rows:
        mine = results[results["row"] == row.name]
        last = mine[mine["protocol"] == protocols[-1]]
        columns = [mine.loc[mine["protocol"] == name, "accuracy"] for name in protocols]
        columns += [last[name] for name in SHOWN]
        percents = [percent(column, count=True) for column in columns]
        numbers = [last["parameters"][:1], last["train_seconds"].dropna()]
        means = [f"{column.mean():,.0f}" if len(column) else "" for column in numbers]
        lines.append([row.name, *percents, *means, row.published])
    splits = results.drop_duplicates(["protocol", "split_seed"])  # one linear model on each
    linear = [splits.loc[splits["protocol"] == name, "linear"] for name in protocols]
    percents = [percent(column, count=True) for column in linear]
    lines.append(["TF-IDF + linear", *percents, *[""] * (len(SHOWN) + 3)])
    header = ["system", *protocols, *SHOWN.values(), "parameters", "seconds", "as published"]
    return runner.markdown(header, lines)


@exit_on_user_error(runner.STOPPED)
def main(arguments: list[str] | None = None) -> int:
    """Print the table and write it beside runs.csv; the status is 1 if a run failed."""
    parser = runner.new_parser(__doc__)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--data", default="synthetic", help="a CSV, arxiv or synthetic")
    parser.add_argument("--seeds", type=int, choices=(1, 2, 3), help="splits per row")
    parser.add_argument("--only", default="", help="rows, separated by commas")
    parser.add_argument("--protocols", default="", help="published, clean or both")
    parser.add_argument("--dry-run", action="store_true", help="only list the missing runs")
    options = parser.parse_args(arguments)
    all_rows, default = SUITES[options.suite]
    names = runner.select(options.only, [row.name for row in all_rows], "only")
    protocols = runner.select(options.protocols or default, list(PROTOCOLS), "protocols")
    if options.data not in ("arxiv", "synthetic"):
        runner.existing_path(options.data, "data")
    rows = [row for row in all_rows if row.name in names]
    complete = len(rows) == len(all_rows) and not options.protocols
    name = f"{options.suite}-{Path(options.data).name.split('.')[0]}.md"
    return runner.make_table(
        plan(rows, protocols, options.data, options.seeds),
        RUNS,
        execute,
        lambda results: table(rows, protocols, results),
        save_as=RUNS.path.with_name(name) if complete else None,
        dry_run=options.dry_run,
    )


if __name__ == "__main__":
    sys.exit(main())
