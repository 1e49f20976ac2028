"""`plots`: the plots of runs side by side, on one page that needs no network."""

from __future__ import annotations

import re
import tempfile
from argparse import Namespace
from html import escape
from pathlib import Path

from arxiv_hybrid.commands.runs import dvc
from arxiv_hybrid.paths import REPORTS
from arxiv_hybrid.system import fast_yaml
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import require, write_text

PAGE = REPORTS / "plots.html"
VEGA_LITE = "5.21"  # the newest that reads what DVC writes, Vega-Lite 5
_EMBED = """\
const actions = {export: true, source: false, compiled: false, editor: false};
window.vegaEmbed = (element, plot) => vegaEmbed(element, plot, {actions});
"""
_ITEM = re.compile(r"\$\{[^}]*\}")  # in the name of a table: each item of a stage has one
_PIPELINE = Path("dvc.yaml")
_TEMPLATE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>TITLE</title>
<style>
body { margin: 0 auto; max-width: 80rem; padding: 1.5rem 1rem 4rem; color: #1c2330;
  background: #f4f6f9; font: 1rem/1.55 system-ui, sans-serif; }
main { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
main > div { background: #fff; border-radius: .5rem; padding: 1rem; max-width: 100%;
  box-sizing: border-box; overflow-x: auto; }
</style>
<script>BUNDLE</script>
</head>
<body>
<h1>TITLE</h1>
<main>
{plot_divs}
</main>
</body>
</html>
"""


def run(options: Namespace) -> None:
    """Write the page; UserError if DVC cannot draw the plots."""
    write_text(PAGE, page(options.revisions))
    print(f"{PAGE}: open it in a browser")


def page(revisions: list[str]) -> str:
    """The page of `dvc plots diff` with Vega's scripts in it; of the main pipeline only."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        template = folder / "template.html"
        template.write_text(_template(revisions), encoding="utf-8")
        plots = ["plots", "diff", *revisions, "--html-template", str(template)]
        dvc(*plots, "--out", str(folder), "--targets", *_names())
        result = folder / "index.html"
        if not result.is_file():
            raise UserError("there is nothing to plot; run `dvc repro`")
        return result.read_text(encoding="utf-8")


def _template(revisions: list[str]) -> str:
    """DVC's template: it replaces {plot_divs}, and would add links to scripts at {scripts}."""
    from vl_convert import javascript_bundle

    bundle = javascript_bundle(_EMBED, vl_version=VEGA_LITE).replace("</script", "<\\/script")
    shown = revisions or ["the last commit"]
    title = f"Plots of {' and '.join(shown if len(shown) > 1 else [*shown, 'the workspace'])}"
    return _TEMPLATE.replace("TITLE", escape(title)).replace("BUNDLE", bundle)


def _names() -> list[str]:
    """The plots of the main pipeline by name, and its tables that have plots of their own."""
    require(_PIPELINE)
    pipeline = fast_yaml.parse(_PIPELINE.read_text(encoding="utf-8"))
    tables = [
        name
        for stage in pipeline["stages"].values()
        for plot in stage.get("plots", [])
        for name in plot
    ]
    found = (
        sorted(Path().glob(_ITEM.sub("*", name))) if "$" in name else [name] for name in tables
    )
    return [
        *(name for plot in pipeline["plots"] for name in plot),
        *(str(name) for names in found for name in names),
    ]
