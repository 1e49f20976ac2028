"""Measure how noisy the labels are, what any classifier could reach, and what leaks."""

from _stage import METRICS, ORIGIN, PAPERS, PLOTS, REPORTS, SPLITS, SPLIT_NAMES, run

from arxiv_hybrid.params import Params
from arxiv_hybrid.audit.report import audit_report
from arxiv_hybrid.audit.drift import by_month, rising_words
from arxiv_hybrid.audit.duplicates import near_duplicates
from arxiv_hybrid.data.table import read_papers
from arxiv_hybrid.system.files import read_json, read_parquet, write_csv, write_json, write_text
from arxiv_hybrid.reporting.audit_page import audit_page


def main(params: Params) -> None:
    papers, origin = read_papers(PAPERS), read_json(ORIGIN)
    splits = {name: read_parquet(SPLITS / f"{name}.parquet") for name in SPLIT_NAMES}
    pairs, months = near_duplicates(splits), by_month(splits)
    report = audit_report(
        papers,
        splits,
        scheme=params.labels.scheme,
        classes=params.labels.classes,
        ceiling=origin["ceiling"],
        pairs=pairs,
    )
    rising = rising_words(splits["train"], splits["test"])
    page = audit_page(
        report, papers, source=origin["source"], pairs=pairs, months=months, rising=rising
    )
    write_json(METRICS / "audit.json", report)
    write_csv(PLOTS / "months.csv", months)
    write_text(REPORTS / "audit.html", page)
    raw, task, leaks = report["papers_csv"], report["task"], report["leakage"]["train_and_test"]
    print(
        f"{raw['rows']:,} rows, {raw['papers']:,} papers, {raw['rows_contradicting']:.1%} of rows "
        f"under several labels; {task['documents']:,} documents used, oracle "
        f"{task['oracle_accuracy']:.1%}; of the test rows {leaks['share']:.1%} also in train, "
        f"{leaks['near_duplicates']:,} nearly so -> {REPORTS / 'audit.html'}"
    )


if __name__ == "__main__":
    run(main)
