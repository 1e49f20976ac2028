"""Tables that other programs show."""

from __future__ import annotations

import pandas as pd

from arxiv_hybrid.system import cells


def test_plots_hold_no_tags_and_spreadsheets_no_formulas() -> None:
    frame = pd.DataFrame(
        {
            "<id>": ["</script><script>", "=1+1", "@SUM(A1)", "-cmd|calc", "-1.5", "plain"],
            "number": [-1.5, 0, 1, 2, 3, 4],
            "parts": ["<b>", None, "\t=1", "\r=1", "+1", "a=b"],
        }
    )
    plots = cells.plot_safe(frame)
    assert plots.columns.tolist() == ["\u2039id>", "number", "parts"]
    assert plots["\u2039id>"].tolist()[0] == "\u2039/script>\u2039script>"
    sheet = cells.spreadsheet_safe(frame)
    assert sheet["<id>"].tolist() == [
        "</script><script>", "'=1+1", "'@SUM(A1)", "'-cmd|calc", "-1.5", "plain",
    ]  # fmt: skip
    assert sheet["parts"].fillna("").tolist() == ["<b>", "", "'\t=1", "'\r=1", "+1", "a=b"]
    assert sheet["number"].equals(frame["number"])
    assert cells.spreadsheet_safe(pd.DataFrame({"=a": [1]})).columns.tolist() == ["'=a"]
