"""What word vectors learn from."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from arxiv_hybrid.data.identifiers import canonical, submitted
from arxiv_hybrid.vectors.texts import learnable_texts, more_texts

PAPERS = pd.DataFrame(
    {"id": ["2501.00001", "2501.00001", "2501.00002", "2501.00003"], "title": list("aabc"),
     "abstract": ["one", "one", "two", "three"]}
)  # fmt: skip
HELD_OUT = {"2501.00002", "2501.00009", "cs/9912001"}
EXTRA = [
    ("2501.00001", "again"),
    ("2501.00002v3", "held by id, whatever its version"),
    ("arXiv:2501.00009", "held by id, not among the papers"),
    ("https://arxiv.org/abs/cs/9912001v2", "held by its old id"),
    ("2501.00004", "more"),
    ("2501.00004", "more"),
    ("2501.00010", "B -"),  # with its abstract the text of paper 2501.00002
]
ABSTRACTS = {"2501.00010": "Two!"}


@pytest.mark.parametrize("name", ["dump.json", "archive.txt", "papers.csv"])
def test_each_paper_once_and_none_that_is_held_out(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    rows = [{"id": i, "title": t, "abstract": ABSTRACTS.get(i, "x")} for i, t in EXTRA]
    if path.suffix == ".csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    else:
        other = {"id": "2501.00005", "title": "o", "abstract": "x", "categories": "math.CO"}
        lines = [json.dumps({**row, "categories": "stat.ML cs.LG"}) for row in rows]
        # an escape hides that this one is of another field
        escaped = json.dumps({**other, "id": "2501.00006"}).replace("math.CO", "math\\u002eCO")
        path.write_text("\n".join([*lines, json.dumps(other), escaped]))
    assert list(learnable_texts(PAPERS, HELD_OUT)) == ["a one", "c three"]
    assert list(more_texts(PAPERS, HELD_OUT, path)) == ["more x"]


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("2501.00001", "2501.00001"),
        ("2501.00001v12", "2501.00001"),
        ("arXiv:2501.00001", "2501.00001"),
        ("http://arxiv.org/abs/2501.00001v1", "2501.00001"),
        ("https://arxiv.org/pdf/0704.0001", "0704.0001"),
        ("cs.LG/0101002v1", "cs.LG/0101002"),
        ("2513.00001v1", "2513.00001v1"),  # no such month
        ("my-paper-v1", "my-paper-v1"),
    ],
)
def test_one_form_of_an_identifier(written: str, form: str) -> None:
    assert canonical(written) == form


def test_identifiers_sort_by_submission() -> None:
    ids = ["cs/9912001", "cs.LG/0101002", "0704.0001", "1412.9999", "1501.00001", "2501.10000"]
    came = [submitted(i) for i in ids]
    assert None not in came
    assert came == sorted(came, key=lambda c: c or (0, 0, 0))
    assert came[0] == (1999, 12, 1)
    assert submitted("synthetic.000001") is None
