"""Files are written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from arxiv_hybrid.system import files
from arxiv_hybrid.system.errors import UserError


def test_json_is_sorted_rounded_and_without_nan(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "m.json"
    files.write_json(path, {"b": np.float64(1 / 3), "a": [np.int64(2), float("nan")]})
    assert path.read_text() == '{\n  "a": [\n    2,\n    null\n  ],\n  "b": 0.333333\n}\n'
    assert json.loads(path.read_text()) == files.read_json(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    files.write_json(path, {"a": 1})
    before = path.read_bytes()

    def interrupted() -> None:
        with files.atomic(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.json"]


def test_a_missing_stage_output_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.parquet: not found; run `dvc repro`"):
        files.read_parquet(tmp_path / "none.parquet")


def test_plots_hold_no_tags_and_spreadsheets_no_formulas() -> None:
    frame = pd.DataFrame(
        {
            "<id>": ["</script><script>", "=1+1", "@SUM(A1)", "-cmd|calc", "-1.5", "plain"],
            "number": [-1.5, 0, 1, 2, 3, 4],
            "parts": ["<b>", None, "\t=1", "\r=1", "+1", "a=b"],
        }
    )
    plots = files.plot_safe(frame)
    assert plots.columns.tolist() == ["\u2039id>", "number", "parts"]
    assert plots["\u2039id>"].tolist()[0] == "\u2039/script>\u2039script>"
    sheet = files.spreadsheet_safe(frame)
    assert sheet["<id>"].tolist() == [
        "</script><script>", "'=1+1", "'@SUM(A1)", "'-cmd|calc", "-1.5", "plain",
    ]  # fmt: skip
    assert sheet["parts"].tolist() == ["<b>", None, "'\t=1", "'\r=1", "+1", "a=b"]
    assert sheet["number"].equals(frame["number"])
    assert files.spreadsheet_safe(pd.DataFrame({"=a": [1]})).columns.tolist() == ["'=a"]
