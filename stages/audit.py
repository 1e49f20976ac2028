"""Measure label noise, the highest possible accuracy, and leakage between splits."""

from typing import Any

from _stage import prepare, run

prepare()

from arxiv_hybrid.audit.drift import by_month, rising_words, tokens_of
from arxiv_hybrid.audit.duplicates import near_duplicates
from arxiv_hybrid.audit.report import audit_report
from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.data.table import PaperFile, without_texts
from arxiv_hybrid.params import Params
from arxiv_hybrid.paths import (
    LABELS,
    METRICS,
    ORIGIN,
    PAPERS,
    PLOTS,
    REPORTS,
    SPLIT_NAMES,
    SPLITS,
)
from arxiv_hybrid.reporting.audit_page import audit_page
from arxiv_hybrid.system.files import read_json, write_csv, write_json, write_text


def main(params: Params) -> None:
    papers, origin, label_set = PaperFile(PAPERS), read_json(ORIGIN), LabelSet.read(LABELS)
    splits = {name: PaperFile(SPLITS / f"{name}.parquet") for name in SPLIT_NAMES}
    pairs = near_duplicates(splits, multi_label=label_set.multi_label)
    train, test = splits["train"], splits["test"]
    tokens = tokens_of(train, test)
    months, rising = by_month(splits, tokens), rising_words(train, test, tokens=tokens)
    ceiling = origin["ceiling"]
    report = audit_report(papers, splits, params.labels, label_set, ceiling=ceiling, pairs=pairs)
    page = audit_page(
        report,
        {name: without_texts(part) for name, part in splits.items()},
        label_set,
        origin=origin,
        pairs=pairs,
        months=months,
        rising=rising,
    )
    files = [PAPERS, *(SPLITS / f"{name}.parquet" for name in SPLIT_NAMES)]
    write_json(METRICS / "audit.json", report, computed_from=files)
    write_csv(PLOTS / "months.csv", months)
    write_text(REPORTS / "audit.html", page)
    print_report(report)


def print_report(report: dict[str, Any]) -> None:
    rows, task, leaks = report["papers_csv"], report["task"], report["leakage"]["train_and_test"]
    labels = (
        f"{task['papers_with_several']:.1%} of the papers have several labels"
        if "papers_with_several" in task
        else f"{rows['rows_contradicting']:.1%} of the rows belong to a paper with several labels"
    )
    print(f"{rows['rows']:,} rows, {rows['papers']:,} papers; {labels}")
    oracle = f", oracle accuracy {task['oracle_accuracy']:.1%}" if "oracle_accuracy" in task else ""
    print(
        f"{task['documents']:,} documents used{oracle}; "
        f"{leaks['share']:.1%} of the test rows are papers of the training set, "
        f"{leaks['near_duplicates']:,} test papers have near duplicates there -> "
        f"{REPORTS / 'audit.html'}"
    )


if __name__ == "__main__":
    run(main)
