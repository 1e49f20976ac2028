"""Hyperparameter search: `python search.py grid` or `random -n 8`.

Each trial is an experiment of DVC: a case, by default `motif`, on noisier series. Trials are ranked
by accuracy on validation series; at the end the test accuracy of the best one is printed. Trials
that have run are not run again.
"""

import argparse
import hashlib
import json
import sys
from itertools import product
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "src"))  # use this repository's source

from optuna.distributions import CategoricalDistribution  # noqa: E402
from optuna.pruners import NopPruner  # noqa: E402
from optuna.samplers import RandomSampler  # noqa: E402
from optuna.storages import BaseStorage  # noqa: E402

from arxiv_hybrid.params.load import read_params  # noqa: E402
from arxiv_hybrid.search.display import best_of, print_results  # noqa: E402
from arxiv_hybrid.search.runner import Pipeline, result  # noqa: E402
from arxiv_hybrid.search.study import Study  # noqa: E402
from arxiv_hybrid.search.worker import search  # noqa: E402
from arxiv_hybrid.system.errors import exit_on_user_error  # noqa: E402

FIXED = {"validation": 0.25, "noise": 1.5}
SPACE: dict[str, list[Any]] = {
    "filters": [16, 32, 64],
    "hidden": [25, 50, 100],
    "learning_rate": [0.001, 0.003, 0.01],
    "attention": [False, True],
}
GRID = ("filters", "learning_rate")  # keys of `SPACE` that a grid search varies
SCORE = "validation accuracy"


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
    names = GRID if options.kind == "grid" else tuple(SPACE)
    points = [dict(zip(names, values, strict=True)) for values in product(*map(SPACE.get, names))]
    folder = HERE.relative_to(ROOT)
    pipeline = Pipeline(
        ROOT,
        target=f"{folder}/dvc.yaml:train@{options.case}",
        params=f"{folder}/params.yaml",
        metrics=f"{folder}/metrics/{options.case}.json",
        score="val_score",
        settings=[f"{name}={value}" for name, value in FIXED.items()],
    )
    params = {**read_params(HERE / "params.yaml"), **FIXED}

    def study(storage: BaseStorage) -> Study:
        # a change of params.yaml makes a new study
        content = json.dumps([params, names, options.seed], sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()[:6]
        return Study(
            storage, f"ts-{options.case}-{options.kind}-{digest}",
            {name: CategoricalDistribution(SPACE[name]) for name in names}, params,
            score=SCORE, total=len(points) if options.kind == "grid" else options.trials,
            seed=options.seed, sampler=RandomSampler, pruner=NopPruner(),
        )  # fmt: skip

    done = search(None, study, pipeline, points if options.kind == "grid" else ())
    print_results(done)
    if best := best_of(done.results()):
        test = result(pipeline, f"{done.name}-{best.number}")["test"]
        print(f"test accuracy of the best trial: {test['score']:.1%}")


if __name__ == "__main__":
    with exit_on_user_error("stopped"):
        main()
