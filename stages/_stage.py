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
    """Set up the process. A stage calls this before its imports: torch reads settings once."""
    sys.path.insert(0, str(Path.cwd() / "src"))
    from arxiv_hybrid.paths import repository_root
    from arxiv_hybrid.system.process import prepare_process

    prepare_process(beside_others=Path.cwd().resolve() != repository_root())


def run(main: Callable[[Params], None]) -> None:
    """Run a stage: exit status 0 on success, 2 and one line on a user error, 130 on Ctrl-C.

    It first prints what it does, the first line of the script's docstring, and removes temporary
    files of killed runs.
    """
    from arxiv_hybrid.params import load
    from arxiv_hybrid.paths import PARAMS, WRITTEN
    from arxiv_hybrid.system.errors import exit_on_user_error
    from arxiv_hybrid.system.identity import remove_leftovers
    from arxiv_hybrid.system.process import exit_past_stuck_threads

    try:
        with exit_on_user_error("stopped; `dvc repro` continues with this stage"):
            params = load(PARAMS)
            if "RANK" not in os.environ:  # torchrun's processes do not repeat it
                print((sys.modules["__main__"].__doc__ or "").split("\n")[0], flush=True)
                remove_leftovers(WRITTEN)
            main(params)
    finally:
        gc.freeze()  # no garbage collection at exit
        exit_past_stuck_threads(sys.exc_info()[1])
