"""Shared by the stages: process settings, paths, parameters and error handling."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arxiv_hybrid.params.pretraining import PretrainingParams

HERE = Path(__file__).resolve().parent
PAPERS, MODEL, METRICS = HERE / "papers", HERE / "model", HERE / "metrics"
VECTORS = HERE / "vectors.safetensors"
UNFINISHED = HERE.parent / "checkpoints/pretraining"  # not an output, which DVC would delete


def prepare() -> None:
    """Set up the process and print what the stage does; see `stages/_stage.py`."""
    sys.path.insert(0, str(HERE.parent / "src"))
    from arxiv_hybrid.system.process import prepare_process, print_heading

    prepare_process()
    print_heading()


def root() -> Path:
    """The repository, at which relative paths of params.yaml start."""
    return Path(os.environ.get("DVC_ROOT", HERE.parent)).resolve()


def run(main: Callable[[PretrainingParams], None]) -> None:
    """Run a stage: exit status 0 on success, 2 and one line on a user error, 130 on Ctrl-C."""
    from arxiv_hybrid.params import load_section
    from arxiv_hybrid.params.pretraining import PretrainingParams
    from arxiv_hybrid.system.errors import exit_on_user_error
    from arxiv_hybrid.system.process import exit_past_stuck_threads

    try:
        with exit_on_user_error("stopped; the same command continues with this stage"):
            main(load_section(HERE / "params.yaml", PretrainingParams))
    finally:
        exit_past_stuck_threads(sys.exc_info()[1])
