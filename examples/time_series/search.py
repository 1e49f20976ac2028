"""Look for better hyperparameters by DVC experiments: `python search.py grid` or `random -n 8`.

Each trial is one `dvc exp run --temp` of the case `motif` on noisier series, ranked by accuracy
on validation series; the test accuracy of the best one is told at the end. `dvc exp show` has
them all, a trial that was run before is not run again.
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

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FIXED = {"validation": 0.25, "noise": 1.5}
SPACE: dict[str, list[Any]] = {
    "filters": [16, 32, 64],
    "hidden": [25, 50, 100],
    "learning_rate": [0.001, 0.003, 0.01],
    "attention": [False, True],
}
GRID = ("filters", "learning_rate")


def main() -> None:
    """Run the trials that are missing and print them, the best first."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=("grid", "random"))
    parser.add_argument(
        "-n", "--trials", type=int, choices=range(1, 55), default=6, metavar="1..54",
        help="how many random ones",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the random choice")
    parser.add_argument("--case", choices=("noise", "motif", "attention"), default="motif")
    arguments = parser.parse_args()
    if arguments.kind == "grid":
        trials = [dict(zip(GRID, values, strict=True)) for values in product(*map(SPACE.get, GRID))]
    else:
        random = np.random.default_rng(arguments.seed)
        draws = [{k: v[random.integers(len(v))] for k, v in SPACE.items()} for _ in range(1000)]
        trials = list({json.dumps(draw): draw for draw in draws}.values())[: arguments.trials]
    rows = []
    for number, trial in enumerate(trials, 1):
        print(f"[{number}/{len(trials)}] {trial}", flush=True)
        rows.append({**trial, **run(trial, arguments.case)})
    table = pd.DataFrame(rows).sort_values("validation", ascending=False, ignore_index=True)
    print(table.drop(columns="test").to_string(float_format="{:.4g}".format))
    print(f"the best one on test series: {table.loc[0, 'test']:.1%}")


def run(trial: dict[str, Any], case: str) -> dict[str, Any]:
    """Validation and test accuracy of a trial, run if there is no experiment of that name."""
    chosen = {**FIXED, **trial}
    # the name stands for all parameters: after a change of params.yaml a trial is another one
    shipped = yaml.safe_load((HERE / "params.yaml").read_text(encoding="utf-8"))
    told = json.dumps({**shipped, **chosen}, sort_keys=True)
    name = f"ts-{case}-{hashlib.sha256(told.encode()).hexdigest()[:10]}"
    known = call("dvc", "exp", "list", "--name-only").split()
    here = HERE.relative_to(ROOT)
    if name not in known:
        sets = [part for k, v in chosen.items() for part in ("-S", f"{here}/params.yaml:{k}={v}")]
        target = f"{here}/dvc.yaml:train@{case}"
        call("dvc", "exp", "run", "--temp", "--name", name, *sets, target)
    metrics = json.loads(dvc.api.read(f"{here}/metrics/{case}.json", repo=str(ROOT), rev=name))
    return {
        "validation": metrics["val_score"],
        "test": metrics["test"]["score"],
        "experiment": name,
    }


def call(*command: str) -> str:
    """What a command says; its own words and the end where it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
