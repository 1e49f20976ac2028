"""The pages with the most commands: in a module of their own, for another process to run."""

from __future__ import annotations

from pathlib import Path

import pytest
from clones import set_params, sh
from test_docs import LONG, project, run_commands

pytestmark = pytest.mark.pipeline
__all__ = ["project"]  # a fixture


@pytest.mark.parametrize("page", LONG)
def test_the_commands_of_a_long_page(project: Path, page: str) -> None:
    """Without MLflow, of which these pages do not speak: it costs each run a second or two."""
    set_params(project, {"tracking": {"enabled": False}})
    sh(project, "git", "commit", "--quiet", "--all", "--allow-empty", "--message", "no MLflow")
    run_commands(project, page)
