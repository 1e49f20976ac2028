"""The audit on real papers; skipped unless the file is beside the project."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT

from arxiv_hybrid.audit import duplicates
from arxiv_hybrid.audit.duplicates import near_duplicates
from arxiv_hybrid.audit.report import audit_report
from arxiv_hybrid.data.labels import label_papers
from arxiv_hybrid.data.schema import check_papers
from arxiv_hybrid.data.splits import split_documents
from arxiv_hybrid.sources.csv_source import read_csv

REAL = ROOT.parent / "shared" / "data" / "arxiv_query_12k.csv.gz"


@pytest.fixture(scope="module")
def real() -> Path:
    if not REAL.exists():
        pytest.skip("arxiv_query_12k.csv.gz, real arXiv metadata, is not beside the project")
    return REAL


def test_audit_of_the_rebuilt_published_dataset(real: Path) -> None:
    papers = check_papers(read_csv(real), str(real))
    documents = label_papers(papers, scheme="primary", classes=4)
    splits = split_documents(documents, by="paper", val=0.15, test=0.15, seed=42, classes=4)
    pairs = near_duplicates(splits)
    report = audit_report(papers, splits, scheme="primary", classes=4, ceiling=None, pairs=pairs)
    raw = report["papers_csv"]
    assert (raw["rows"], raw["papers"]) == (12_000, 9_316)
    assert raw["rows_contradicting"] == pytest.approx(0.420, abs=5e-4)
    assert raw["oracle_accuracy"]["4"] == pytest.approx(0.776, abs=5e-4)
    assert raw["oracle_accuracy"]["3"] == pytest.approx(0.868, abs=5e-4)
    assert report["task"]["documents"] == 7_580
    assert report["leakage"]["train_and_test"]["rows"] == 0
    assert pairs.empty, "with this seed, each near-duplicate pair is within one split"
    similarity = duplicates._similar_texts(documents["title"] + " " + documents["abstract"])[2]
    assert sorted(similarity) == pytest.approx([0.776, 0.886], abs=1e-3)


def test_the_published_split_leaks(real: Path) -> None:
    papers = read_csv(real)
    documents = label_papers(papers, scheme="query", classes=3)
    splits = split_documents(documents, by="row", val=0.15, test=0.15, seed=42, classes=3)
    pairs = near_duplicates(splits)
    report = audit_report(papers, splits, scheme="query", classes=3, ceiling=None, pairs=pairs)
    assert report["leakage"]["train_and_test"]["share"] > 0.25
