"""`report`: the last run on one page, reports/index.html."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pandas as pd

from arxiv_hybrid.evaluation.attention import explain
from arxiv_hybrid.evaluation.label_issues import confidently_wrong, hardest
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.params import Params, load
from arxiv_hybrid.paths import METRICS, MODEL, PARAMS, PLOTS, REPORTS, SPLITS
from arxiv_hybrid.reporting.changes import changes
from arxiv_hybrid.reporting.run_page import LastRun, run_page
from arxiv_hybrid.system.files import read_json, read_parquet, require, write_text

PAPERS_SHOWN = 10  # of each kind of label issue
METRICS_SHOWN = ("audit", "vocab", "baseline", "train", "evaluate", "ensemble")


def run(options: Namespace) -> None:
    """Write the page; UserError if the pipeline has not run."""
    del options
    page = REPORTS / "index.html"
    write_text(page, run_page(_last_run(load(PARAMS))))
    print(f"{page}: open it in a browser")


def _last_run(params: Params) -> LastRun:
    """Read what the last run wrote, and classify its test papers again."""
    test = read_parquet(SPLITS / "test.parquet")
    metrics = {name: read_json(METRICS / f"{name}.json") for name in METRICS_SHOWN}
    curves, confusion, reliability = map(
        _read_plot, ("learning_curves", "confusion", "reliability")
    )
    classifier = checkpoint.load(MODEL, device=params.device, precision=params.precision)
    classes, probabilities = classifier.config.classes, classifier.probabilities(test).numpy()
    return LastRun(
        params=params,
        metrics=metrics,
        curves=curves,
        confusion=confusion,
        reliability=reliability,
        wrong=confidently_wrong(test, probabilities, classes, PAPERS_SHOWN),
        hard=hardest(test, probabilities, classes, PAPERS_SHOWN),
        explained=explain(classifier, test.head(params.evaluate.explain_papers)),
        changes=changes(Path.cwd(), METRICS, PARAMS),
    )


def _read_plot(name: str) -> pd.DataFrame:
    path = PLOTS / f"{name}.csv"
    require(path)
    return pd.read_csv(path)
