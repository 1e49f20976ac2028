"""`summary`: the scores of the last run, and where its outputs are."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from arxiv_hybrid.evaluation.classes import read_class_rows
from arxiv_hybrid.evaluation.summary import if_baseline_wins, summary_table
from arxiv_hybrid.params import load
from arxiv_hybrid.paths import BASELINE, METRICS, MODEL, PARAMS, REPORTS, repository_root
from arxiv_hybrid.reporting.outdated import outdated
from arxiv_hybrid.system.files import read_json
from arxiv_hybrid.tracking.store import DATABASE

METRICS_SHOWN = ("audit", "baseline", "evaluate", "ensemble")


def run(options: Namespace) -> None:
    """Print the table; UserError if the pipeline has not run."""
    del options
    places = {
        "model": f"{MODEL}/",
        "metrics": f"{METRICS}/ (dvc metrics show, dvc metrics diff)",
        "classes": f"{REPORTS / 'classes.csv'}",
        "data audit": f"{REPORTS / 'audit.html'}",
        "plots": "dvc plots show -> dvc_plots/index.html",
        "MLflow runs": f"make ui (store: {repository_root() / DATABASE})",
    }
    metrics = {name: read_json(METRICS / f"{name}.json") for name in METRICS_SHOWN}
    classes = read_class_rows(REPORTS / "classes.csv")
    print(summary_table(metrics, classes, places))
    for hint in if_baseline_wins(metrics["evaluate"], str(BASELINE)):
        print(hint)
    if line := outdated(Path.cwd(), load(PARAMS)):
        print(f"warning: {line}")
