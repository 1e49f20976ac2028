"""`plots`: one page with Vega's scripts in it; tests/pipeline looks at that of a real run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from arxiv_hybrid.__main__ import main
from arxiv_hybrid.commands import plots

PIPELINE = """
stages:
  train: {plots: [{metrics/loss.csv: {}}, {metrics/more.csv: {}}]}
  member: {plots: [{"metrics/${item.name}/loss.csv": {}}]}
  evaluate: {}
plots: [{loss: {}}, {F1 by class: {}}]
"""
DRAWN = """<div id="loss"></div><script>
vegaEmbed("#loss", {"data": {"values": [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]},
  "mark": "line", "encoding": {"x": {"field": "epoch", "type": "quantitative"},
  "y": {"field": "loss", "type": "quantitative", "title": "the loss"}}});
</script>"""


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """DVC's commands, which draw `DRAWN` into the template."""
    given: list[list[str]] = []

    def dvc(*arguments: str) -> str:
        given.append(list(arguments))
        template = Path(arguments[arguments.index("--html-template") + 1])
        page = template.read_text(encoding="utf-8").replace("{plot_divs}", DRAWN)
        (Path(arguments[arguments.index("--out") + 1]) / "index.html").write_text(page)
        return ""

    monkeypatch.setattr(plots, "dvc", dvc)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    for member in ("a", "b"):
        (tmp_path / f"metrics/{member}").mkdir(parents=True)
        (tmp_path / f"metrics/{member}/loss.csv").touch()
    return given


@pytest.mark.parametrize(
    ("revisions", "title"),
    [
        ([], "Plots of the last commit and the workspace"),
        (["gentle"], "Plots of gentle and the workspace"),
        (["HEAD", "<b>"], "Plots of HEAD and &lt;b&gt;"),
    ],
)
def test_dvc_draws_the_plots_of_the_main_pipeline(
    revisions: list[str], title: str, commands: list[list[str]], tmp_path: Path
) -> None:
    assert main(["plots", *revisions]) == 0
    (command,) = commands
    assert command[: 2 + len(revisions)] == ["plots", "diff", *revisions]
    assert command[command.index("--targets") + 1 :] == [
        "loss", "F1 by class", "metrics/loss.csv", "metrics/more.csv", "metrics/a/loss.csv",
        "metrics/b/loss.csv",
    ]  # fmt: skip
    assert f"<title>{title}</title>" in (tmp_path / "reports/plots.html").read_text()


@pytest.mark.usefixtures("commands")
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_browser_without_network_draws_the_page(tmp_path: Path) -> None:
    assert main(["plots"]) == 0
    page = (tmp_path / "reports/plots.html").as_uri()
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
         f"--user-data-dir={tmp_path}/c", "--host-resolver-rules=MAP * ~NOTFOUND",
         "--virtual-time-budget=10000", page],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    drawn = done.stdout.split('<div id="loss"', 1)[1]
    assert 'aria-roledescription="line mark' in drawn or "<canvas" in drawn


@pytest.mark.usefixtures("commands")
def test_without_a_pipeline_the_missing_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dvc.yaml").unlink()
    assert main(["plots"]) == 2
    assert capsys.readouterr().err.startswith("error: dvc.yaml: not found")
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize("command", [["experiments"], ["plots"]])
def test_outside_a_repository_the_error_is_one_line(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: dvc ")
    assert "repositor" in line
    assert not (tmp_path / "reports").exists()
