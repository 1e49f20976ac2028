"""Write reports/index.html, the last run on one page; no DVC stage, `make report` runs it."""

import pandas as pd
from _stage import METRICS, MODEL, PARAMS, PLOTS, REPORTS, SPLITS, WORKSPACE, run

from arxiv_hybrid.params import Params
from arxiv_hybrid.evaluation.label_issues import confidently_wrong, hardest
from arxiv_hybrid.evaluation.attention import explain
from arxiv_hybrid.system.files import read_json, read_parquet, require, write_text
from arxiv_hybrid.reporting.changes import changes
from arxiv_hybrid.reporting.run_page import LastRun, run_page
from arxiv_hybrid.inference import checkpoint

SHOWN = 10  # papers of each kind
NAMES = ("audit", "vocab", "baseline", "train", "evaluate", "ensemble")


def main(params: Params) -> None:
    test = read_parquet(SPLITS / "test.parquet")
    metrics = {name: read_json(METRICS / f"{name}.json") for name in NAMES}
    tables = [PLOTS / f"{name}.csv" for name in ("learning_curves", "confusion", "reliability")]
    for table in tables:
        require(table)
    curves, confusion, reliability = (pd.read_csv(table) for table in tables)
    classifier = checkpoint.load(MODEL, device=params.device, precision=params.precision)
    names, probabilities = classifier.config.classes, classifier.probabilities(test).numpy()
    last = LastRun(
        params, metrics, curves, confusion, reliability,
        wrong=confidently_wrong(test, probabilities, names, SHOWN),
        hard=hardest(test, probabilities, names, SHOWN),
        explained=explain(classifier, test.head(params.evaluate.explain_papers)),
        changes=changes(WORKSPACE, METRICS, PARAMS),
    )  # fmt: skip
    write_text(REPORTS / "index.html", run_page(last))
    print(f"{REPORTS / 'index.html'}: open it in a browser")


if __name__ == "__main__":
    run(main, quiet=True)
