"""The notebook in examples/ runs on the outputs of a run, cell by cell, without Jupyter."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from clones import sh
from conftest import ROOT

pytestmark = pytest.mark.pipeline
STORY = ROOT / "examples/story.ipynb"
# Runs the code cells in one namespace, as a kernel does, and shows each cell's last expression.
RUN = """
import ast, json, sys
cells = [cell for cell in json.load(open(sys.argv[1]))["cells"] if cell["cell_type"] == "code"]
names = {"__name__": "__main__"}
for number, cell in enumerate(cells):
    tree = ast.parse("".join(cell["source"]))
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, f"cell {number}", "exec"), names)
    if last:
        value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
        getattr(value, "_repr_html_", value.__repr__)()
        print(value)
assert len(names["axes"].lines) == 2, "two learning curves"
"""


def outputs() -> list[list[dict[str, Any]]]:
    """The stored outputs of each code cell."""
    content = json.loads(STORY.read_text(encoding="utf-8"))
    return [cell["outputs"] for cell in content["cells"] if cell["cell_type"] == "code"]


def test_the_story_runs_on_a_run(repo: Path) -> None:
    before = {path for path in (repo / "reports").rglob("*") if path.is_file()}
    done = sh(repo / "examples", "env", "MPLBACKEND=agg", "python", "-c", RUN, "story.ipynb")
    assert "160 papers, 3 classes, 5 folds" in done.stdout
    accuracy = json.loads((repo / "metrics/evaluate.json").read_text())["accuracy"]
    shown = re.search(r"^this model +(\d\S*)", done.stdout, re.M)
    assert shown, done.stdout
    assert float(shown[1]) == pytest.approx(accuracy, abs=1e-4)
    written = {path for path in (repo / "reports").rglob("*") if path.is_file()} - before
    assert {path.name for path in written} == {"labels.csv"}
    for path in written:
        path.unlink()


def test_the_stored_outputs_are_of_a_whole_run_and_name_no_machine() -> None:
    assert all(outputs()), "a cell without output"
    kinds = {output["output_type"] for cell in outputs() for output in cell}
    assert kinds <= {"stream", "execute_result", "display_data"}, "no errors"
    text = json.dumps(outputs())
    assert "2,400 papers" in text
    assert not re.search(r"/(home|root|tmp|work|Users)/", text)
    assert len(STORY.read_bytes()) < 100_000
