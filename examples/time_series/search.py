"""Hyperparameter search with DVC experiments: `python search.py grid` or `random -n 8`.

Each trial is one `dvc exp run --temp` of a case, by default `motif`, on noisier series. Trials are
ranked by accuracy on validation series; at the end the test accuracy of the best one is printed.
`dvc exp show` lists them all. A trial that exists already is not run again.
"""

import argparse
import hashlib
import json
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import dvc.api
import numpy as np
import pandas as pd
import yaml

from arxiv_hybrid.system.ticker import pulse

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FIXED = {"validation": 0.25, "noise": 1.5}
SPACE: dict[str, list[Any]] = {
    "filters": [16, 32, 64],
    "hidden": [25, 50, 100],
    "learning_rate": [0.001, 0.003, 0.01],
    "attention": [False, True],
}
GRID = ("filters", "learning_rate")  # keys of `SPACE` that a grid search varies


def main() -> None:
    """Run the missing trials and print all of them, the best first."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=("grid", "random"))
    parser.add_argument(
        "-n", "--trials", type=int, choices=range(1, 55), default=6, metavar="1..54",
        help="number of random trials",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed of the random trials")
    parser.add_argument("--case", choices=("noise", "motif", "attention"), default="motif")
    options = parser.parse_args()
    trials = (
        grid_trials() if options.kind == "grid" else random_trials(options.trials, options.seed)
    )
    rows = []
    for number, trial in enumerate(trials, 1):
        print(f"[{number}/{len(trials)}] {trial}", flush=True)
        rows.append({**trial, **run_trial(trial, options.case)})
        print(f"  validation accuracy {rows[-1]['validation']:.1%}", flush=True)
    table = pd.DataFrame(rows).sort_values("validation", ascending=False, ignore_index=True)
    print(table.drop(columns="test").to_string(float_format="{:.4g}".format))
    print(f"test accuracy of the best trial: {table.loc[0, 'test']:.1%}")


def grid_trials() -> list[dict[str, Any]]:
    """All combinations of the values of `GRID`."""
    return [dict(zip(GRID, values, strict=True)) for values in product(*map(SPACE.get, GRID))]


def random_trials(count: int, seed: int) -> list[dict[str, Any]]:
    """Different random combinations of all values."""
    random = np.random.default_rng(seed)
    draws = [
        {key: values[random.integers(len(values))] for key, values in SPACE.items()}
        for _ in range(1000)
    ]
    return list({json.dumps(draw): draw for draw in draws}.values())[:count]


def run_trial(trial: dict[str, Any], case: str) -> dict[str, Any]:
    """Validation and test accuracy of a trial; it is run if its experiment does not exist."""
    changes = {**FIXED, **trial}
    # the name is a hash of all params, so a change of params.yaml makes new trials
    params = yaml.safe_load((HERE / "params.yaml").read_text(encoding="utf-8"))
    content = json.dumps({**params, **changes}, sort_keys=True)
    name = f"ts-{case}-{hashlib.sha256(content.encode()).hexdigest()[:10]}"
    folder = HERE.relative_to(ROOT)
    if name not in run("dvc", "exp", "list", "--name-only").split():
        sets = [
            argument
            for key, value in changes.items()
            for argument in ("-S", f"{folder}/params.yaml:{key}={value}")
        ]
        run("dvc", "exp", "run", "--temp", "--name", name, *sets, f"{folder}/dvc.yaml:train@{case}")
    metrics = json.loads(dvc.api.read(f"{folder}/metrics/{case}.json", repo=str(ROOT), rev=name))
    return {
        "validation": metrics["val_score"],
        "test": metrics["test"]["score"],
        "experiment": name,
    }


def run(*command: str) -> str:
    """Run a command and return its output; exit with all of its output if it fails."""
    with pulse(" ".join(command[:3])):
        completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if completed.returncode:
        raise SystemExit(f"{' '.join(command)}\n{completed.stdout}\n{completed.stderr}")
    return completed.stdout


if __name__ == "__main__":
    main()
