"""Shared by both stages: process settings, parameters, papers and error handling."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from arxiv_hybrid.params.pretraining import PretrainingParams

HERE = Path(__file__).resolve().parent
VECTORS, MODEL, METRICS = HERE / "vectors", HERE / "model", HERE / "metrics"
UNFINISHED = HERE.parent / "checkpoints/pretraining"  # not an output, which DVC would delete
MIN_PAPERS = 32  # with fewer, matching titles with abstracts teaches too little


def prepare() -> None:
    """Set up the process. A stage calls this before its imports: torch reads settings once."""
    sys.path.insert(0, str(HERE.parent / "src"))
    from arxiv_hybrid.system.process import prepare_process

    prepare_process()


def unlabelled_papers(params: PretrainingParams) -> pd.DataFrame:
    """Id, title and abstract of the papers to learn from; papers in `leave_out` are excluded.

    Raises UserError if too few are left.
    """
    import pandas as pd

    from arxiv_hybrid.sources.csv_source import read_texts
    from arxiv_hybrid.system.errors import UserError
    from arxiv_hybrid.system.files import user_file
    from arxiv_hybrid.vectors.corpus import new_papers

    root = Path(os.environ.get("DVC_ROOT", HERE.parent)).resolve()
    leave_out = pd.DataFrame({"id": [], "title": [], "abstract": []}, dtype=str)
    if params.leave_out:
        leave_out = read_texts(user_file(root, params.leave_out), option="leave_out")
    papers = new_papers(leave_out, user_file(root, params.texts), option="texts")
    if len(papers) < MIN_PAPERS:
        raise UserError(
            f"{params.texts}: {len(papers)} papers to learn from, need {MIN_PAPERS} (texts)"
        )
    return papers


def run(main: Callable[[PretrainingParams], None]) -> None:
    """Run a stage: exit status 0 on success, 2 and one line on a user error, 130 on Ctrl-C."""
    from arxiv_hybrid.params import load_section
    from arxiv_hybrid.params.pretraining import PretrainingParams
    from arxiv_hybrid.system.errors import exit_on_user_error

    with exit_on_user_error("stopped; the same command continues with this stage"):
        main(load_section(HERE / "params.yaml", PretrainingParams))
