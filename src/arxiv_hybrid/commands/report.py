"""`report`: the last run on one page, reports/index.html."""

from __future__ import annotations

import os
from argparse import Namespace
from collections import Counter
from pathlib import Path

import pandas as pd

from arxiv_hybrid.commands.terminal import note
from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.evaluation.attention import explain
from arxiv_hybrid.evaluation.classes import class_rows, read_class_rows
from arxiv_hybrid.evaluation.confusion import confusion_table, frequent_mistakes, mistakes
from arxiv_hybrid.evaluation.label_issues import (
    confidently_wrong,
    doubtful_labels,
    hardest,
    missing_labels,
)
from arxiv_hybrid.evaluation.predict import predict
from arxiv_hybrid.evaluation.report import reliability_rows, scores
from arxiv_hybrid.inference import checkpoint
from arxiv_hybrid.params import Params, load
from arxiv_hybrid.paths import BASELINE, LABELS, METRICS, MODEL, PARAMS, PLOTS, REPORTS, SPLITS
from arxiv_hybrid.reporting.changes import changes
from arxiv_hybrid.reporting.outdated import outdated
from arxiv_hybrid.reporting.run_metrics import read_run
from arxiv_hybrid.reporting.run_page import LastRun, run_page
from arxiv_hybrid.reporting.search import Search
from arxiv_hybrid.search import JOURNAL, STORAGE
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import read_parquet, require, write_text

PAPERS_SHOWN = 10  # of each kind of label issue
MISTAKES_SHOWN = 15


def run(options: Namespace) -> None:
    """Write the page; UserError if the pipeline has not run."""
    del options
    page = REPORTS / "index.html"
    last_run = _last_run(load(PARAMS))
    write_text(page, run_page(last_run))
    for line in last_run.metrics.remarks():
        note(line)
    if last_run.outdated:
        note(f"warning: {last_run.outdated}")
    print(f"{page}: open it in a browser")


def _last_run(params: Params) -> LastRun:
    """Read what the last run wrote, and classify its test papers again."""
    test = read_parquet(SPLITS / "test.parquet")
    label_set = LabelSet.read(LABELS)
    classifier = checkpoint.load(MODEL, device=params.device, precision=params.precision)
    metrics = read_run(Path.cwd(), METRICS)
    papers = test, label_set, predict(classifier, test)
    known, words = classifier.known_words(test)
    several, settings = label_set.multi_label, params.evaluate
    return LastRun(
        params=params,
        label_set=label_set,
        model=str(classifier),
        metrics=metrics,
        unknown_words=1 - known / max(words, 1),
        curves=_read_curves() if "train" in metrics.current else None,
        classes=class_rows(scores(*papers, settings)["per_class"]),
        baseline_classes=(
            read_class_rows(BASELINE / "classes.csv") if "baseline" in metrics.current else None
        ),
        confusion=confusion_table(*papers),
        mistakes=frequent_mistakes(mistakes(*papers), MISTAKES_SHOWN),
        reliability=reliability_rows(*papers, settings.calibration_bins),
        wrong=[] if several else confidently_wrong(*papers, PAPERS_SHOWN),
        hard=[] if several else hardest(*papers, PAPERS_SHOWN),
        missing=missing_labels(*papers, PAPERS_SHOWN) if several else [],
        doubtful=doubtful_labels(*papers, PAPERS_SHOWN) if several else [],
        explained=explain(classifier, test.head(settings.explain_papers)),
        changes=changes(Path.cwd(), METRICS, metrics.current, PARAMS),
        outdated=outdated(Path.cwd(), params, metrics.absent),
        search=_read_search(),
    )


def _read_curves() -> pd.DataFrame:
    path = PLOTS / "learning_curves.csv"
    require(path)
    return pd.read_csv(path)


def _read_search() -> Search | None:
    """The newest search, if one of its trials has finished; a note if it cannot be read."""
    storage = os.environ.get(STORAGE)
    if storage is None and not Path(JOURNAL).is_file():
        return None
    from arxiv_hybrid.search.display import best_of, percent, shown_values
    from arxiv_hybrid.search.storage import open_storage, storage_errors
    from arxiv_hybrid.search.study import newest_study

    try:
        with storage_errors():
            study = newest_study(open_storage(storage, Path.cwd()))
            results = study.results() if study else []
            best = best_of(results)
            if study is None or best is None:
                return None
            return Search(
                name=study.name,
                score=study.score,
                scores=[(each.number, each.score or 0.0) for each in results
                        if each.state == "finished"],
                states=Counter(each.state for each in results),
                best=f"{study.name}-{best.number}, {study.score} {percent(best.score)} %, with "
                     f"{shown_values(best.values)}",
                importances=study.importances(),
            )  # fmt: skip
    except UserError as error:
        note(f"without the search: {error}")
        return None
