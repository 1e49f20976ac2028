"""Every system in one table: what is missing is run as DVC experiments, then the table printed.

    python benchmarks/experiments.py table --data arxiv_query_12k.csv.gz
    python benchmarks/experiments.py ablations --data arxiv_query_12k.csv.gz

Each run is one `dvc exp run --temp --name ...`, so `dvc exp show` has them all. What a run
reached goes into benchmarks/results/runs.csv at once: a run that stands there is not run again,
and a command that was interrupted goes on where it was. --data is a CSV (a relative path starts
at the repository's root), `arxiv` (the live API) or `synthetic`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from arxiv_hybrid.recipes import recipe

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
RUNS = RESULTS / "runs.csv"
SEEDS = (42, 43, 44)
COLUMNS = (
    "experiment",
    "row",
    "protocol",
    "split_seed",
    "accuracy",
    "macro_f1",
    "any_listed",
    "linear",
    "disagreement",
    "parameters",
    "train_seconds",
    "device",
    "revision",
)
HEADS = ("macro-F1", "any listed", "disagreement", "parameters", "seconds")

Settings = dict[str, str]
PROTOCOLS: dict[str, Settings] = {
    "published": {"labels.scheme": "query", "labels.classes": "3", "split.by": "row"},
    "clean": {"labels.scheme": "primary", "labels.classes": "4", "split.by": "paper"},
}
SEED_MEMBERS = "[{name:seed-123,seed:123},{name:seed-456,seed:456}]"
MIXED_MEMBERS = "[{name:baseline,model:baseline},{name:cnn-lstm,model:cnn_lstm}]"


@dataclass(frozen=True)
class Row:
    """A line of the table: what it changes, what its authors reported, how often it is run."""

    name: str
    settings: Settings = field(default_factory=dict)
    published: str = ""
    target: str = "evaluate"
    often: bool = False  # three seeds also where there is no GPU


TABLE = (
    Row("baseline", {"model": "baseline"}, "59.3 (3 classes), 47.7 (4)", often=True),
    Row("v1", {"model": "v1"}, "66.4 val, 65 test", often=True),
    Row("v2", {"model": "v2"}, "64.1"),
    Row("v3", {"model": "v3"}, "65.1"),
    Row("v4", {"model": "v4"}, "25.0"),
    Row("cnn_lstm", {"model": "cnn_lstm"}, often=True),
    Row("ensemble", {"ensemble.members": SEED_MEMBERS}, "64.9", "ensemble"),
    Row(
        "ensemble_tta", {"ensemble.members": SEED_MEMBERS, "ensemble.tta": "3"}, "64.9", "ensemble"
    ),
)
ABLATIONS = (
    Row("v1"),
    Row("without attention", {"architecture.attention": "false"}),
    Row("without residual connections", {"architecture.residual": "false"}),
    Row("without gates", {"architecture.gates": "false"}),
    Row("dropout 0.3", {"dropout": "0.3"}),
    Row("dropout 0.6", {"dropout": "0.6"}),
    Row("published class weights", {"class_weights": "{cs.CL:2.0,cs.CV:1.8}"}),
    Row("balanced class weights", {"class_weights": "balanced"}),
    Row("EDA 30 %", {"augment.fraction": "0.3"}),
    Row("EDA 30 %, vectors' synonyms", {"augment.fraction": "0.3", "augment.synonyms": "vectors"}),
    Row("random embeddings", {"embeddings": "random"}),
    Row("focal loss", {"loss": "focal"}),
    Row("no label smoothing", {"label_smoothing": "0"}),
    Row("no word dropout", {"word_dropout": "0"}),
    Row("mixup 30 %", {"mixup": "0.3"}),
    Row("ensemble of seeds", {"ensemble.members": SEED_MEMBERS}, target="ensemble"),
    Row(
        "ensemble of models",
        {
            "ensemble.members": MIXED_MEMBERS,
            "ensemble.linear": "true",
            "ensemble.weights": "fitted",
        },
        target="ensemble",
    ),
    Row(
        "ensemble of seeds, 3 EDA copies",
        {"ensemble.members": SEED_MEMBERS, "ensemble.tta": "3"},
        target="ensemble",
    ),
)


@dataclass(frozen=True)
class Run:
    """One experiment: a row on one protocol with one split."""

    row: Row
    protocol: str
    seed: int
    settings: Settings

    @property
    def name(self) -> str:
        """Readable, and another one for other settings or another recipe."""
        text = json.dumps([self.settings, self.recipes, self.row.target], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        readable = "".join(c if c.isalnum() else "-" for c in self.row.name)
        return f"{readable}-{self.protocol}-{self.seed}-{digest}".lower()

    @property
    def recipes(self) -> list[dict[str, Any]]:
        """What `auto` stands for in the main model and in members of another model."""
        members = re.findall(r"model:(\w+)", self.settings.get("ensemble.members", ""))
        models = [self.settings.get("model", "v1"), *members]
        return [recipe(self.settings.get("recipe", "ours"), model) for model in models]


def plan(rows: tuple[Row, ...], protocols: list[str], data: str, seeds: int | None) -> list[Run]:
    """All runs of a table, the first seed of every row first: one cut short has all rows."""
    source = {"fetch.source": data}
    if data not in ("arxiv", "synthetic"):
        source = {"fetch.source": "csv", "fetch.path": data}
    if data != "synthetic":
        source["glove.epochs"] = "10"  # real text is worth more passes than the default run takes
    runs = []
    for number, seed in enumerate(SEEDS):
        for row in rows:
            often = seeds if seeds is not None else (len(SEEDS) if row.often or has_gpu() else 1)
            if number < often:
                runs += [
                    Run(
                        row,
                        protocol,
                        seed,
                        {**source, **PROTOCOLS[protocol], "split.seed": str(seed), **row.settings},
                    )
                    for protocol in protocols
                ]
    return runs


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def execute(run: Run) -> dict[str, Any]:
    """Run an experiment in a temporary workspace and read what it reached."""
    sets = [part for key, value in run.settings.items() for part in ("-S", f"{key}={value}")]
    command = ["dvc", "exp", "run", "--temp", "--name", run.name, *sets, run.row.target]
    existing = subprocess.run(
        ["dvc", "exp", "list", "--name-only"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    if run.name not in existing.stdout.split():
        subprocess.run(command, cwd=ROOT, check=True)
    return reached(run)


def reached(run: Run) -> dict[str, Any]:
    """The figures of a finished experiment."""
    import dvc.api

    from arxiv_hybrid.tracking import training_seconds

    def metrics(name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(
            dvc.api.read(f"metrics/{name}.json", repo=str(ROOT), rev=run.name)
        )
        return content

    scores, train = metrics(run.row.target), metrics("train")
    return {
        "experiment": run.name,
        "row": run.row.name,
        "protocol": run.protocol,
        "split_seed": run.seed,
        "accuracy": scores["accuracy"],
        "macro_f1": scores["macro_f1"],
        "any_listed": scores["accuracy_any_listed"],
        "linear": scores["against_baseline"]["baseline_accuracy"],
        "disagreement": scores.get("diversity", {}).get("mean_disagreement"),
        "parameters": train["parameters"],
        "train_seconds": training_seconds(ROOT, run.name),
        "device": train["device"],
        "revision": revision(),
    }


def revision() -> str:
    """The commit that an experiment is based on."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout[:-1]


def known() -> pd.DataFrame:
    return pd.read_csv(RUNS) if RUNS.is_file() else pd.DataFrame(columns=list(COLUMNS))


def keep(result: dict[str, Any]) -> None:
    """Add a result to the file, whole or not at all."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    new = pd.DataFrame([result], columns=list(COLUMNS))
    table = pd.concat([known(), new], ignore_index=True) if RUNS.is_file() else new
    temporary = RUNS.with_suffix(".tmp")
    table.to_csv(temporary, index=False, float_format="%.6f")
    os.replace(temporary, RUNS)


def table(rows: tuple[Row, ...], runs: list[Run]) -> str:
    """Markdown: a line a row, accuracy in percent, mean and deviation over the splits."""
    results = known()
    results = results[results["experiment"].isin({run.name for run in runs})]
    protocols = list(dict.fromkeys(run.protocol for run in runs))
    heads = [
        "system",
        *protocols,
        "macro-F1",
        "any listed",
        "disagreement",
        "parameters",
        "seconds",
    ]
    lines = ["| " + " | ".join([*heads, "published"]) + " |", "|---" * (len(heads) + 1) + "|"]
    for row in rows:
        mine = results[results["row"] == row.name]
        last = mine[mine["protocol"] == protocols[-1]]
        cells = [spread(mine.loc[mine["protocol"] == name, "accuracy"]) for name in protocols]
        cells += [
            spread(last["macro_f1"]),
            spread(last["any_listed"]),
            spread(last["disagreement"]),
        ]
        cells.append(f"{last['parameters'].iloc[0]:,.0f}" if len(last) else "")
        seconds = last["train_seconds"].dropna()
        cells.append(f"{seconds.mean():,.0f}" if len(seconds) else "")
        lines.append("| " + " | ".join([row.name, *cells, row.published]) + " |")
    linear = [
        spread(results[results["protocol"] == p].drop_duplicates("split_seed")["linear"])
        for p in protocols
    ]
    empty = [""] * (len(heads) - len(protocols))
    lines.append("| " + " | ".join(["TF-IDF + linear", *linear, *empty]) + " |")
    return "\n".join(lines)


def spread(values: pd.Series) -> str:
    """Mean and deviation in percent, and how many there are."""
    values = values.dropna() * 100
    if values.empty:
        return ""
    if len(values) == 1:
        return f"{values.iloc[0]:.1f}"
    return f"{values.mean():.1f} ± {values.std():.1f} ({len(values)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("suite", choices=("table", "ablations"))
    parser.add_argument("--data", default="synthetic", help="a CSV, arxiv or synthetic")
    parser.add_argument("--seeds", type=int, choices=(1, 2, 3), help="splits a row")
    parser.add_argument("--only", help="rows, separated by commas")
    parser.add_argument("--protocols", default="", help="published, clean or both")
    parser.add_argument("--dry-run", action="store_true", help="say what would be run")
    arguments = parser.parse_args()
    rows: tuple[Row, ...] = TABLE if arguments.suite == "table" else ABLATIONS
    if arguments.only:
        rows = tuple(row for row in rows if row.name in arguments.only.split(","))
    default = "published,clean" if arguments.suite == "table" else "clean"
    protocols = (arguments.protocols or default).split(",")
    runs = plan(rows, protocols, arguments.data, arguments.seeds)
    done = set(known()["experiment"])
    waiting = [run for run in runs if run.name not in done]
    print(f"{len(runs)} runs, {len(runs) - len(waiting)} of them finished before", flush=True)
    for number, run in enumerate(waiting, 1):
        print(f"[{number}/{len(waiting)}] {run.name}", flush=True)
        if not arguments.dry_run:
            keep(execute(run))
    text = table(rows, runs)
    if not arguments.dry_run:
        (RESULTS / f"{arguments.suite}.md").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
