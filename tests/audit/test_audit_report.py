"""The audit report: contradicting labels, the oracle, leakage between splits."""

from __future__ import annotations

import pandas as pd
from conftest import CLASSES
from random_papers import random_papers

from arxiv_hybrid.audit.report import contradicting_share, leakage, oracle_accuracy
from arxiv_hybrid.data.splits import split_documents
from arxiv_hybrid.params import Split


def test_contradicting_share_and_oracle() -> None:
    ids = pd.Series(["1", "1", "1", "2"])
    labels = pd.Series([0, 0, 1, 2])
    assert contradicting_share(ids, labels) == 0.75
    assert oracle_accuracy(ids, labels) == 0.75


def test_leakage_counts_papers_by_id_and_by_text() -> None:
    papers = random_papers(count=200)
    papers["title"], papers["abstract"] = "Title " + papers["id"], "Words"
    twice = pd.concat([papers, papers], ignore_index=True)
    parts = split_documents(twice, Split(by="row", val=0.15, test=0.15, seed=1), CLASSES)
    leaked = leakage(parts["train"], parts["test"])
    train = set(parts["train"]["id"])
    assert leaked["rows"] == sum(i in train for i in parts["test"]["id"])
    assert leaked["share"] == leaked["rows"] / len(parts["test"])
    assert leaked["rows_with_same_text"] == 0, "the same paper does not count as another one"
    renamed = parts["test"].assign(id="other", title=parts["test"]["title"].str.upper() + "!")
    hidden = leakage(parts["train"], renamed)
    assert hidden["rows"] == 0
    assert hidden["rows_with_same_text"] == leaked["rows"] > 0
