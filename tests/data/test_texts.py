"""What word vectors learn from."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from arxiv_hybrid.data.texts import learnable_texts

PAPERS = pd.DataFrame(
    {"id": ["2501.00001", "2501.00001", "2501.00002", "2501.00003"], "title": list("aabc"),
     "abstract": ["one", "one", "two", "three"]}
)  # fmt: skip
HELD_OUT = {"2501.00002", "2501.00009"}
EXTRA = [
    ("2501.00001", "again"),
    ("2501.00002", "held"),
    ("2501.00009", "held"),
    ("2501.00004", "m"),
]


@pytest.mark.parametrize("kind", ["dump.json", "papers.csv", None])
def test_each_paper_once_and_none_that_is_held_out(tmp_path: Path, kind: str | None) -> None:
    path = tmp_path / kind if kind else None
    if path and kind == "dump.json":
        lines = [
            json.dumps({"id": i, "title": t, "abstract": "x", "categories": "stat.ML cs.LG"})
            for i, t in EXTRA
        ]
        other = {"id": "2501.00005", "title": "o", "abstract": "x", "categories": "math.CO"}
        path.write_text("\n".join([*lines, json.dumps(other)]))
    elif path:
        frame = pd.DataFrame(EXTRA, columns=["id", "title"]).assign(abstract="x", category="cs.LG")
        frame.to_csv(path, index=False)
    texts = list(learnable_texts(PAPERS, HELD_OUT, path))
    assert texts == ["a one", "c three", *(["m x"] if kind else [])]
