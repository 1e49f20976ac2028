"""Measure how noisy the labels are, what any classifier could reach, and what leaks."""

from _stage import METRICS, ORIGIN, PAPERS, SPLITS, SPLIT_NAMES, run

from arxiv_hybrid.config import Params
from arxiv_hybrid.data.audit import audit
from arxiv_hybrid.data.table import read_papers
from arxiv_hybrid.io import read_json, read_parquet, write_json


def main(params: Params) -> None:
    report = audit(
        read_papers(PAPERS),
        {name: read_parquet(SPLITS / f"{name}.parquet") for name in SPLIT_NAMES},
        scheme=params.labels.scheme,
        classes=params.labels.classes,
        ceiling=read_json(ORIGIN)["ceiling"],
    )
    write_json(METRICS / "audit.json", report)
    raw, task = report["papers_csv"], report["task"]
    print(
        f"{raw['rows']:,} rows, {raw['papers']:,} papers, {raw['rows_contradicting']:.1%} of rows "
        f"under several labels; {task['documents']:,} documents used, oracle "
        f"{task['oracle_accuracy']:.1%}, {report['leakage']['train_and_test']['share']:.1%} of "
        "test rows also in train"
    )


if __name__ == "__main__":
    run(main)
