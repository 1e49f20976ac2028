"""Every system in one table: what is missing is run as DVC experiments, then the table printed.

    python benchmarks/experiments.py table --data arxiv_query_12k.csv.gz
    python benchmarks/experiments.py ablations --data arxiv_query_12k.csv.gz
    python benchmarks/experiments.py collapse --data arxiv_query_12k.csv.gz

Each run is one `dvc exp run --temp --name ...`, so `dvc exp show` has them all. What a run
reached goes into benchmarks/results/runs.csv at once: a run with the same parameters is not run
again, and a command that was interrupted goes on where it was. A change of the code asks for no
new run: delete the line. --data is a CSV (a relative path starts at the repository's root),
`arxiv` (the live API) or `synthetic`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from arxiv_hybrid.params import Params, for_member, load
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import atomic, user_file

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
    "recall_cl",
    "linear",
    "disagreement",
    "parameters",
    "train_seconds",
    "device",
    "revision",
)
# columns of the last protocol's results, and how the table calls them
SHOWN = {
    "macro_f1": "macro-F1",
    "recall_cl": "cs.CL recall",
    "any_listed": "any listed",
    "disagreement": "disagreement",
}

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
    Row("v1", {"model": "v1"}),
    Row("without attention", {"architecture.attention": "false"}),
    Row("without residual connections", {"architecture.residual": "false"}),
    Row("without gates", {"architecture.gates": "false"}),
    Row("dropout 0.3", {"dropout": "0.3"}),
    Row("dropout 0.6", {"dropout": "0.6"}),
    Row("published class weights", {"class_weights": "{cs.CL:2.0,cs.CV:1.8}"}),
    Row("balanced class weights", {"class_weights": "balanced"}),
    Row("EDA 30 %", {"augment.fraction": "0.3"}),
    Row(
        "EDA 30 % with vectors' synonyms",
        {"augment.fraction": "0.3", "augment.synonyms": "vectors"},
    ),
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
        "ensemble of seeds with 3 EDA copies",
        {"ensemble.members": SEED_MEMBERS, "ensemble.tta": "3"},
        target="ensemble",
    ),
)
# v4 as its authors trained it, on a quarter of the papers and in less time: it stays at a guess
# all the same, and one part after the other is taken away
COLLAPSED = {
    "model": "v4",
    "recipe": "published",
    "split.val": "0.3",
    "split.test": "0.45",
    "vocab.abstract_length": "100",
    "epochs": "8",
}


def _collapsed(name: str, **changes: str) -> Row:
    return Row(name, COLLAPSED | {key.replace("__", "."): value for key, value in changes.items()})


COLLAPSE = (
    _collapsed("v4 as published"),
    _collapsed("letters at 0.1", architecture__letters="0.1"),
    _collapsed("dropout 0.3", dropout="0.3"),
    _collapsed("no mixup", mixup="0"),
    _collapsed("no EDA", augment__fraction="0"),
    _collapsed("no label smoothing", label_smoothing="0"),
    _collapsed("a step every batch", accumulate="1"),
    _collapsed("no warm-up", scheduler="plateau"),
)
SUITES: dict[str, tuple[tuple[Row, ...], str]] = {
    "table": (TABLE, "published,clean"),
    "ablations": (ABLATIONS, "clean"),
    "collapse": (COLLAPSE, "published"),
}


# parameters that change neither a model nor what it reaches
IDLE = {"tracking", "evaluate", "ensemble", "device", "precision", "processes"}


@dataclass(frozen=True)
class Run:
    """One experiment: a row on one protocol with one split, and all parameters that it has."""

    row: Row
    protocol: str
    seed: int
    settings: Settings
    params: Params

    @property
    def name(self) -> str:
        """Readable, and another one for other parameters, also those that `auto` stands for."""
        models = [self.params, *(for_member(self.params, name) for name in self.members)]
        told = [model.model_dump(mode="json", exclude=IDLE) for model in models]
        for one in told:  # unset is what runs had before there was such a parameter
            if one["pretrained"] is None:
                del one["pretrained"]
        if self.members:
            told.append(self.params.ensemble.model_dump(exclude={"members"}))
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
        readable = "".join(c if c.isalnum() else "-" for c in self.row.name)
        return f"{readable}-{self.protocol}-{self.seed}-{digest}".lower()

    @property
    def members(self) -> list[str]:
        """Who votes with the main model."""
        members = self.params.ensemble.members if self.row.target == "ensemble" else []
        return [member.name for member in members]

    @property
    def overrides(self) -> list[str]:
        """The settings as DVC takes them after -S."""
        return [f"{key}={value}" for key, value in self.settings.items()]


def plan(rows: tuple[Row, ...], protocols: list[str], data: str, seeds: int | None) -> list[Run]:
    """All runs of a table, the first seed of every row first: one cut short has all rows."""
    source = {"fetch.source": data}
    if data not in ("arxiv", "synthetic"):
        quoted = data.replace("\\", "\\\\").replace("'", "\\'")
        source = {"fetch.source": "csv", "fetch.path": f"'{quoted}'"}
    if data != "synthetic":
        source["glove.epochs"] = "10"  # real text is worth more passes than the default run takes
    runs = []
    for number, seed in enumerate(SEEDS):
        for row in rows:
            often = seeds if seeds is not None else (len(SEEDS) if row.often or has_gpu() else 1)
            for protocol in protocols if number < often else []:
                settings = {**source, **PROTOCOLS[protocol], "split.seed": str(seed)}
                settings |= row.settings
                runs.append(Run(row, protocol, seed, settings, with_settings(settings)))
    return runs


def with_settings(settings: Settings) -> Params:
    """The parameters that a `dvc exp run` with these settings would have."""
    from dvc.utils.hydra import apply_overrides

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_bytes((ROOT / "params.yaml").read_bytes())
        apply_overrides(path, [f"{key}={value}" for key, value in settings.items()])
        return load(path)


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def execute(run: Run) -> dict[str, Any]:
    """Run an experiment in a temporary workspace and read what it reached."""
    sets = [part for override in run.overrides for part in ("-S", override)]
    command = ["dvc", "exp", "run", "--temp", "--name", run.name, *sets, run.row.target]
    existing = subprocess.run(
        ["dvc", "exp", "list", "--name-only"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    if run.name not in existing.stdout.split():
        subprocess.run(command, cwd=ROOT, check=True)
    return reached(run)


def reached(run: Run) -> dict[str, Any]:
    """The figures of a finished experiment."""
    from arxiv_hybrid.tracking import training_seconds

    scores = metrics(run, run.row.target)
    trained = [metrics(run, "train"), *(metrics(run, f"members/{m}/train") for m in run.members)]
    folders = ["main", *(f"members/{name}" for name in run.members)]
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
        "train_seconds": training_seconds(ROOT, [digest(run, folder) for folder in folders]),
        "device": trained[0]["device"],
        "revision": base(run),
    }


def metrics(run: Run, name: str) -> dict[str, Any]:
    """A file of metrics/ as the experiment left it."""
    import dvc.api

    text = dvc.api.read(f"metrics/{name}.json", repo=str(ROOT), rev=run.name)
    content: dict[str, Any] = json.loads(text)
    return content


def digest(run: Run, folder: str) -> str:
    """What names a model in MLflow: the beginning of its weights' SHA-256."""
    import dvc.api

    path = f"models/{folder}/model.safetensors"
    weights: bytes = dvc.api.read(path, repo=str(ROOT), rev=run.name, mode="rb")
    return hashlib.sha256(weights).hexdigest()[:16]


def base(run: Run) -> str:
    """The commit that an experiment is based on."""
    command = ["git", "for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{run.name}"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    parts = found.split("/")  # refs/exps/5e/5ee244…/name
    return (parts[2] + parts[3])[:7] if len(parts) > 3 else ""


def known() -> pd.DataFrame:
    """All results so far; of two with one name, as after a merge, the later one."""
    if not RUNS.is_file():
        return pd.DataFrame(columns=list(COLUMNS))
    try:
        table = pd.read_csv(RUNS)
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise UserError(f"{RUNS}: not a sound CSV: {error}") from None
    if missing := [name for name in COLUMNS if name not in table]:
        raise UserError(f"{RUNS}: no column {missing[0]}")
    return table.drop_duplicates("experiment", keep="last", ignore_index=True)


def keep(result: dict[str, Any]) -> None:
    """Add a result to the file, whole or not at all."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    new = pd.DataFrame([result], columns=list(COLUMNS))
    with FileLock(RUNS.with_suffix(".lock")), atomic(RUNS) as temporary:
        table = pd.concat([known(), new], ignore_index=True) if RUNS.is_file() else new
        table.to_csv(temporary, index=False, float_format="%.6f")


def table(rows: tuple[Row, ...], runs: list[Run]) -> str:
    """Markdown: a line a row, accuracy in percent, mean and deviation over the splits."""
    results = known()
    results = results[results["experiment"].isin({run.name for run in runs})]
    protocols = list(dict.fromkeys(run.protocol for run in runs))
    heads = ["system", *protocols, *SHOWN.values(), "parameters", "seconds"]
    lines = ["| " + " | ".join([*heads, "as published"]) + " |", "|---" * (len(heads) + 1) + "|"]
    for row in rows:
        mine = results[results["row"] == row.name]
        last = mine[mine["protocol"] == protocols[-1]]
        cells = [spread(mine.loc[mine["protocol"] == name, "accuracy"]) for name in protocols]
        cells += [spread(last[column]) for column in SHOWN]
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


def chosen(given: str, allowed: list[str], option: str) -> list[str]:
    """The names in a list with commas, each once; nothing stands for all."""
    names = list(dict.fromkeys(part.strip() for part in given.split(",") if part.strip()))
    if unknown := [name for name in names if name not in allowed]:
        raise UserError(f"{option}: no {unknown[0]!r}; choose from {', '.join(allowed)}")
    return names or allowed


def run_all(waiting: list[Run]) -> list[str]:
    """Run what is missing; the names of those that failed."""
    failed = []
    for number, run in enumerate(waiting, 1):
        print(f"[{number}/{len(waiting)}] {run.name}", flush=True)
        try:
            keep(execute(run))
        except subprocess.CalledProcessError as error:
            print(f"{run.name}: {error}", file=sys.stderr, flush=True)
            failed.append(run.name)
    return failed


def main(given: list[str] | None = None) -> int:
    """Print the table and write it beside runs.csv; 1 where a run failed, 2 on a mistake."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--data", default="synthetic", help="a CSV, arxiv or synthetic")
    parser.add_argument("--seeds", type=int, choices=(1, 2, 3), help="splits a row")
    parser.add_argument("--only", default="", help="rows, separated by commas")
    parser.add_argument("--protocols", default="", help="published, clean or both")
    parser.add_argument("--dry-run", action="store_true", help="say what would be run")
    try:
        return make(parser.parse_args(given))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on with the next run", file=sys.stderr)
        return 130


def make(arguments: argparse.Namespace) -> int:
    """What `main` does once the options are read."""
    all_rows, default = SUITES[arguments.suite]
    names = chosen(arguments.only, [row.name for row in all_rows], "--only")
    protocols = chosen(arguments.protocols or default, list(PROTOCOLS), "--protocols")
    data = arguments.data
    if data not in ("arxiv", "synthetic") and not user_file(ROOT, data).is_file():
        raise UserError(f"{user_file(ROOT, data)}: no such file (--data)")
    rows = tuple(row for row in all_rows if row.name in names)
    runs = plan(rows, protocols, data, arguments.seeds)
    done = set(known()["experiment"])
    waiting = [run for run in runs if run.name not in done]
    print(f"{len(runs)} runs, {len(runs) - len(waiting)} of them finished before", flush=True)
    if arguments.dry_run:
        print("\n".join(run.name for run in waiting))
        return 0
    failed = run_all(waiting)
    text = table(rows, runs)
    print(text)
    if rows == all_rows and not arguments.protocols:
        with atomic(RESULTS / f"{arguments.suite}-{Path(data).name.split('.')[0]}.md") as path:
            path.write_text(text + "\n", encoding="utf-8")
    if failed:
        print(f"{len(failed)} failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
