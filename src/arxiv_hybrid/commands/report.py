"""`report`: the last run on one page, reports/index.html."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pandas as pd

from arxiv_hybrid.commands.terminal import note
from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.evaluation.attention import explain
from arxiv_hybrid.evaluation.classes import read_class_rows
from arxiv_hybrid.evaluation.confusion import confusion_table, frequent_mistakes, mistakes
from arxiv_hybrid.evaluation.label_issues import (
    confidently_wrong,
    doubtful_labels,
    hardest,
    missing_labels,
)
from arxiv_hybrid.evaluation.predict import predict
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.params import Params, load
from arxiv_hybrid.paths import BASELINE, LABELS, METRICS, MODEL, PARAMS, PLOTS, REPORTS, SPLITS
from arxiv_hybrid.reporting.changes import changes
from arxiv_hybrid.reporting.outdated import outdated
from arxiv_hybrid.reporting.run_page import LastRun, run_page
from arxiv_hybrid.system.files import read_json, read_parquet, require, write_text

PAPERS_SHOWN = 10  # of each kind of label issue
MISTAKES_SHOWN = 15
METRICS_SHOWN = ("audit", "vocab", "baseline", "train", "evaluate", "ensemble")


def run(options: Namespace) -> None:
    """Write the page; UserError if the pipeline has not run."""
    del options
    page = REPORTS / "index.html"
    last_run = _last_run(load(PARAMS))
    write_text(page, run_page(last_run))
    if last_run.outdated:
        note(f"warning: {last_run.outdated}")
    print(f"{page}: open it in a browser")


def _last_run(params: Params) -> LastRun:
    """Read what the last run wrote, and classify its test papers again."""
    test = read_parquet(SPLITS / "test.parquet")
    metrics = {name: read_json(METRICS / f"{name}.json") for name in METRICS_SHOWN}
    label_set = LabelSet.read(LABELS)
    curves, reliability = map(_read_plot, ("learning_curves", "reliability"))
    classifier = checkpoint.load(MODEL, device=params.device, precision=params.precision)
    papers = test, label_set, predict(classifier, test)
    several = label_set.multi_label
    return LastRun(
        params=params,
        label_set=label_set,
        metrics=metrics,
        curves=curves,
        classes=read_class_rows(REPORTS / "classes.csv"),
        baseline_classes=read_class_rows(BASELINE / "classes.csv"),
        confusion=confusion_table(*papers),
        mistakes=frequent_mistakes(mistakes(*papers), MISTAKES_SHOWN),
        reliability=reliability,
        wrong=[] if several else confidently_wrong(*papers, PAPERS_SHOWN),
        hard=[] if several else hardest(*papers, PAPERS_SHOWN),
        missing=missing_labels(*papers, PAPERS_SHOWN) if several else [],
        doubtful=doubtful_labels(*papers, PAPERS_SHOWN) if several else [],
        explained=explain(classifier, test.head(params.evaluate.explain_papers)),
        changes=changes(Path.cwd(), METRICS, PARAMS),
        outdated=outdated(Path.cwd(), params),
    )


def _read_plot(name: str) -> pd.DataFrame:
    path = PLOTS / f"{name}.csv"
    require(path)
    return pd.read_csv(path)
