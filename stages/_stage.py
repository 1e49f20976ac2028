"""Shared by all stage scripts: process settings, parameters and error handling.

Stages run in the workspace. Under `dvc exp run --temp` and in the queue that is a temporary copy,
so the library is imported from there, not from where it is installed.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arxiv_hybrid.params import Params


def prepare() -> None:
    """Set up the process and print what the stage does.

    A stage calls this before its imports, which take seconds; torch reads settings once.
    """
    sys.path.insert(0, str(Path.cwd() / "src"))
    from arxiv_hybrid.paths import repository_root
    from arxiv_hybrid.system.process import prepare_process, print_heading

    prepare_process(beside_others=Path.cwd().resolve() != repository_root())
    print_heading()


def run(main: Callable[[Params], None]) -> None:
    """Run a stage: exit status 0 on success, 2 and one line on a user error, 130 on Ctrl-C.

    It removes temporary files of killed runs first. In a log file, a line says now and then that a
    long stage still runs, unless its parts say how far they are.
    """
    from arxiv_hybrid.params import load
    from arxiv_hybrid.paths import PARAMS, WRITTEN
    from arxiv_hybrid.system.agreement import failing_together
    from arxiv_hybrid.system.errors import exit_on_user_error
    from arxiv_hybrid.system.identity import remove_leftovers
    from arxiv_hybrid.system.process import exit_past_stuck_threads
    from arxiv_hybrid.system.ticker import pulse

    try:
        with exit_on_user_error("stopped; `dvc repro` continues with this stage"):
            is_child = "RANK" in os.environ  # of torchrun
            with failing_together():
                params = load(PARAMS)
            if not is_child:
                remove_leftovers(WRITTEN)
            with pulse("still running", first=10, quiet=is_child or sys.stderr.isatty()):
                main(params)
    finally:
        gc.freeze()  # no garbage collection at exit
        exit_past_stuck_threads(sys.exc_info()[1])
