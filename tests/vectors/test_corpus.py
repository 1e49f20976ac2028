"""The texts that word vectors are trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from arxiv_hybrid.taxonomy.label_sets import CATEGORIES
from arxiv_hybrid.vectors.corpus import extra_texts, learnable_texts

PAPERS = pd.DataFrame(
    {"id": ["2501.00001", "2501.00001", "2501.00002", "2501.00003"], "title": list("aabc"),
     "abstract": ["one", "one", "two", "three"]}
)  # fmt: skip
HELD_OUT = {"2501.00002", "2501.00009", "cs/9912001"}
EXTRA = [
    ("2501.00001", "again"),
    ("2501.00002v3", "held out by id, whatever its version"),
    ("arXiv:2501.00009", "held out by id, not among the papers"),
    ("https://arxiv.org/abs/cs/9912001v2", "held out by its old id"),
    ("2501.00004", "more"),
    ("2501.00004", "more"),
    ("2501.00010", "B -"),  # with its abstract: the text of paper 2501.00002
]
ABSTRACTS = {"2501.00010": "Two!"}


@pytest.mark.parametrize("name", ["dump.json", "archive.txt", "papers.csv"])
def test_each_paper_appears_once_and_held_out_ones_never(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    rows = [{"id": i, "title": t, "abstract": ABSTRACTS.get(i, "x")} for i, t in EXTRA]
    if path.suffix == ".csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    else:
        other = {"id": "2501.00005", "title": "o", "abstract": "x", "categories": "math.CO"}
        lines = [json.dumps({**row, "categories": "stat.ML cs.LG"}) for row in rows]
        # an escape hides that this paper is of another field
        escaped = json.dumps({**other, "id": "2501.00006"}).replace("math.CO", "math\\u002eCO")
        path.write_text("\n".join([*lines, json.dumps(other), escaped]))
    assert list(learnable_texts(PAPERS, HELD_OUT)) == ["a one", "c three"]
    assert list(extra_texts(PAPERS, HELD_OUT, path, categories=CATEGORIES)) == ["more x"]
    others = [] if path.suffix == ".csv" else ["o x"]
    assert list(extra_texts(PAPERS, HELD_OUT, path, categories=None)) == ["more x", *others]
    math = list(extra_texts(PAPERS, HELD_OUT, path, categories=("math.CO",)))
    assert math == (others or ["more x"])
