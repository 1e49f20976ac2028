"""Pipelines that never ran, pretraining/ and examples/, do not disturb the main one."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from clones import sh
from conftest import ROOT

pytestmark = pytest.mark.pipeline
SIDE = ("pretraining", "examples/next_word", "examples/time_series")


def stages(pipeline: Path) -> dict[str, Any]:
    content = yaml.safe_load((pipeline / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return {name: stage.get("do", stage) for name, stage in content.items()}


@pytest.mark.parametrize("pipeline", SIDE)
def test_no_out_of_a_side_pipeline_is_cached(pipeline: str) -> None:
    """DVC's commands without a target want every cached out of the repository."""
    for name, stage in stages(ROOT / pipeline).items():
        for out in stage["outs"]:
            assert isinstance(out, dict), f"{name}: {out}"
            assert [settings["cache"] for settings in out.values()] == [False], f"{name}: {out}"


def test_the_main_pipeline_keeps_its_run_cache() -> None:
    """DVC has none for a stage with an uncached out that is neither metric nor plot."""
    for name, stage in stages(ROOT).items():
        uncached = [out for out in stage.get("outs", []) if isinstance(out, dict)]
        assert not uncached or name == "resolve", f"{name}: {uncached}"


def test_no_table_is_drawn_twice_or_without_settings() -> None:
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    drawn = [
        (file, str(column))
        for plot in pipeline["plots"]
        for settings in plot.values()
        for file, columns in settings["y"].items()
        for column in ([settings["x"]] if columns == "class" else columns)
    ]
    for name, stage in stages(ROOT).items():
        for plot in stage.get("plots", []):
            for file, settings in plot.items():
                assert {"x", "y", "title"} <= settings.keys(), f"{name}: {file}"
                drawn.append((file, settings["x"] if settings["y"] == "class" else settings["y"]))
    assert len(set(drawn)) == len(drawn) == 13


@pytest.fixture(scope="module")
def experiment(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run repository with the experiment `other`."""
    folder = tmp_path_factory.mktemp("side") / "project"
    shutil.copytree(repo, folder, symlinks=True)
    sh(folder, "dvc", "remote", "add", "--local", "-d", "shared", str(folder.parent / "remote"))
    done = sh(folder, "dvc", "exp", "run", "-S", "evaluate.bootstrap=140", "-n", "other")
    assert "Running stage 'evaluate'" in done.stdout
    assert "WARNING" not in done.stdout + done.stderr
    sh(folder, "git", "checkout", "-q", "--", ".")
    return folder


@pytest.mark.parametrize(
    "command",
    ["dvc checkout", "dvc exp apply other", "dvc exp save dvc.yaml -n as-it-is -f",
     "dvc exp branch other other-branch", "dvc push", "dvc pull"]
)  # fmt: skip
def test_commands_end_well(experiment: Path, command: str) -> None:
    done = sh(experiment, *command.split())
    output = done.stdout + done.stderr
    for word in ("WARNING", "ERROR", "failed"):
        assert word not in output


def test_an_experiment_is_compared_with_the_last_commit(experiment: Path) -> None:
    sh(experiment, "git", "checkout", "-q", "--", ".")
    table = sh(experiment, "python", "-m", "arxiv_hybrid", "experiments").stdout.splitlines()
    assert max(map(len, table)) <= 120
    line = next(line for line in table if line.startswith("other "))
    assert "evaluate.bootstrap 200 -> 140" in line
    assert line.split()[-2:] == ["+0.0", "1"], "the same predictions of the same papers"
    assert not any("no p" in line for line in table)


def test_the_plots_of_an_experiment_need_no_network(experiment: Path) -> None:
    sh(experiment, "python", "-m", "arxiv_hybrid", "plots", "HEAD", "other")
    page = (experiment / "reports/plots.html").read_text(encoding="utf-8")
    drawn = re.findall(r'<div id ?= ?"(\w+)"', page)
    assert drawn[:3] == ["loss", "accuracy", "F1_by_class"]
    assert len(drawn) == len(set(drawn)) == 11
    assert not [name for name in drawn if name.startswith(("next", "time", "pre"))]
    assert not re.findall(r"""<(?:script|link|img)[^>]*\b(?:src|href)=["'](?!data:|\$)""", page)
    assert "@import" not in page
    assert '"rev": "other"' in page


def test_plots_begin_with_the_curves_and_none_fails_without_the_outputs(experiment: Path) -> None:
    """As in a fresh clone: metrics/ is in git, reports/ is not."""
    (experiment / "reports").rename(experiment / "elsewhere")
    done = sh(experiment, "dvc", "plots", "diff", "--json")
    (experiment / "elsewhere").rename(experiment / "reports")
    shown = json.loads(done.stdout)
    assert list(shown["data"])[:3] == ["loss", "accuracy", "F1 by class"]
    failed = [error["name"] for error in shown.get("errors", [])]
    assert not [name for name in failed if not name.startswith(("next", "time", "pre-"))]
