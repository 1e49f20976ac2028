"""Sources and audit on real papers; skipped unless the files are beside the project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import DEFAULTS, ROOT, merged

from arxiv_hybrid.audit import duplicates
from arxiv_hybrid.audit.duplicates import near_duplicates
from arxiv_hybrid.audit.report import audit_report
from arxiv_hybrid.data.labels import LabelledPapers, label_papers
from arxiv_hybrid.data.schema import COLUMNS
from arxiv_hybrid.data.splits import split_documents
from arxiv_hybrid.data.table import Texts
from arxiv_hybrid.params import Params, parse
from arxiv_hybrid.sources.fetch import SOURCES, FetchResult, Workspace
from arxiv_hybrid.taxonomy.categories import parse_listing

DATA = ROOT.parent / "shared" / "data"
SIX = ["cs.RO", "cs.CR", "cs.SE", "cs.HC", "stat.ML", "eess.IV"]


def params(name: str, labels: dict[str, Any], **changes: Any) -> Params:
    """The default parameters with a real file as source."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name}, real arXiv metadata, is not beside the project")
    source = "csv" if ".csv" in name else "snapshot"
    content = yaml.safe_load((DEFAULTS / "params.yaml").read_text(encoding="utf-8"))
    fetch = {"source": source, "path": str(path), **changes.pop("fetch", {})}
    return parse(merged(content, {"fetch": fetch, "labels": labels, **changes}), "params")


def fetched(settings: Params, folder: Path) -> FetchResult:
    return SOURCES[settings.fetch.source](settings, Workspace(folder, lambda: folder, folder))


def split(papers: pd.DataFrame, settings: Params) -> tuple[LabelledPapers, dict[str, pd.DataFrame]]:
    labelled = label_papers(papers, settings.labels)
    return labelled, split_documents(labelled.documents, settings.split, labelled.label_set)


def report(
    papers: pd.DataFrame, settings: Params
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """The audit, near duplicates and documents."""
    labelled, splits = split(papers, settings)
    pairs = near_duplicates(splits)
    audit = audit_report(
        papers, splits, settings.labels, labelled.label_set, ceiling=None, pairs=pairs
    )
    return audit, pairs, labelled.documents


def test_audit_of_the_rebuilt_published_dataset(tmp_path: Path) -> None:
    settings = params("arxiv_query_12k.csv.gz", {"classes": 4})
    papers = fetched(settings, tmp_path).papers
    audit, pairs, documents = report(papers, settings)
    raw = audit["papers_csv"]
    assert (raw["rows"], raw["papers"]) == (12_000, 9_316)
    assert raw["rows_contradicting"] == pytest.approx(0.420, abs=5e-4)
    assert raw["oracle_accuracy"]["4"] == pytest.approx(0.776, abs=5e-4)
    assert raw["oracle_accuracy"]["3"] == pytest.approx(0.868, abs=5e-4)
    assert audit["task"]["documents"] == 7_580
    assert audit["leakage"]["train_and_test"]["rows"] == 0
    assert pairs.empty, "with this seed, each near-duplicate pair is within one split"
    similarity = duplicates._similar_texts([Texts(documents)])[2]
    assert sorted(similarity) == pytest.approx([0.776, 0.886], abs=1e-3)


def test_the_published_split_leaks(tmp_path: Path) -> None:
    settings = params("arxiv_query_12k.csv.gz", {"from": "query"}, split={"by": "row"})
    audit, _, _ = report(fetched(settings, tmp_path).papers, settings)
    assert audit["leakage"]["train_and_test"]["share"] > 0.25


def test_six_fields_of_the_dump_and_the_same_as_a_table_of_labels(tmp_path: Path) -> None:
    settings = params("arxiv_snapshot_2025.json.gz", {"classes": SIX}, fetch={"per_category": 300})
    papers = fetched(settings, tmp_path).papers
    assert papers["id"].is_unique
    assert (papers["category"] == papers["primary_category"]).all()
    listed = papers["all_categories"].str.split(",")
    assert {name: int(listed.map(lambda c, n=name: n in c).sum()) >= 300 for name in SIX} == (
        dict.fromkeys(SIX, True)
    )
    labelled, _ = split(papers, settings)
    assert labelled.label_set.names == tuple(SIX)
    assert labelled.outside == (~papers["primary_category"].isin(SIX)).sum() > 0
    own = papers[papers["primary_category"].isin(SIX)]
    names = {"title": "Title", "abstract": "Abstract", "primary_category": "label"}
    own[list(names)].rename(columns=names).to_csv(tmp_path / "own.csv", index=False)
    column = params("arxiv_snapshot_2025.json.gz", {"from": "column"},
                    fetch={"source": "csv", "path": str(tmp_path / "own.csv")})  # fmt: skip
    table = fetched(column, tmp_path)
    assert table.papers["label"].tolist() == own["primary_category"].tolist()
    assert split(table.papers, column)[0].label_set.names == tuple(sorted(SIX))


def test_all_of_arxiv(tmp_path: Path) -> None:
    settings = params("arxiv_149_categories.json.xz", {"classes": "all", "from": "listed"})
    result = fetched(settings, tmp_path)
    assert (len(result.papers), result.origin["lines"]) == (121_725, 121_725)
    papers = result.table()
    assert len(papers) == papers["id"].nunique() == 121_725
    assert tuple(papers.columns) == COLUMNS
    assert result.origin["first_unknown_category"] == "acmart in line 31,737"
    assert "1 unknown category ignored, the first acmart" in result.remark
    labelled = label_papers(papers, settings.labels, minimum=14)
    assert len(labelled.label_set) == 149
    assert labelled.outside < 200, "old papers that list only astro-ph, cond-mat or q-bio"
    names = {name for cell in papers["all_categories"] for name in parse_listing(cell)[0]}
    assert {"cs.NA", "math.NA"} <= names, "second names are kept"
