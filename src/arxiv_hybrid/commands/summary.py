"""`summary`: the scores of the last run, and where its outputs are."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from arxiv_hybrid.evaluation.classes import read_class_rows
from arxiv_hybrid.evaluation.summary import if_baseline_wins, summary_table
from arxiv_hybrid.params import load
from arxiv_hybrid.paths import BASELINE, METRICS, MODEL, PARAMS, REPORTS, repository_root
from arxiv_hybrid.reporting.outdated import outdated
from arxiv_hybrid.reporting.run_metrics import read_run
from arxiv_hybrid.tracking.store import DATABASE


def run(options: Namespace) -> None:
    """Print the table; UserError if the pipeline has not run."""
    del options
    metrics = read_run(Path.cwd(), METRICS)
    places = {
        "model": f"{MODEL}/",
        "metrics": f"{METRICS}/ (dvc metrics show, dvc metrics diff)",
        "classes": f"{REPORTS / 'classes.csv'}",
        "data audit": f"{REPORTS / 'audit.html'}",
        "plots": "python -m arxiv_hybrid plots -> reports/plots.html",
        "MLflow runs": f"make ui (store: {repository_root() / DATABASE})",
    }
    if "audit" in metrics.absent:
        del places["data audit"]
    if metrics.absent:
        for name in ("metrics", "plots"):
            places[name] += f"; those of {', '.join(metrics.absent)} are not of this run"
    classes = read_class_rows(REPORTS / "classes.csv")
    print(summary_table(metrics.current, classes, places, metrics.remarks()))
    for hint in if_baseline_wins(metrics.current["evaluate"], str(BASELINE)):
        print(hint)
    if line := outdated(Path.cwd(), load(PARAMS), metrics.absent):
        print(f"warning: {line}")
