"""What every stage shares: where things lie, and how a failure is told.

Stages run from the workspace's root. Under `dvc exp run --temp` and in the queue that is a
temporary copy, so the library is taken from there, not from what is installed.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

WORKSPACE = Path.cwd()
ROOT = Path(os.environ.get("DVC_ROOT", WORKSPACE)).resolve()

# stages are short processes that load large libraries: looking for garbage less often, and not
# at all at the end, takes 3 of 7.5 seconds off a stage with torch and mlflow
gc.set_threshold(100_000, 50, 100)
sys.path.insert(0, str(WORKSPACE / "src"))

from arxiv_hybrid.system.runtime import cores, queue_jobs  # noqa: E402

# read once, when torch is loaded: fewer page faults, and no busy waiting where another
# experiment may be running beside this one (it would cost both nine tenths of their speed)
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # same results on a GPU, too
if WORKSPACE.resolve() != ROOT:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if jobs := queue_jobs():
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // jobs)))

from arxiv_hybrid.params import Params  # noqa: E402
from arxiv_hybrid.params import load  # noqa: E402
from arxiv_hybrid.system.errors import UserError, exit_on_user_error  # noqa: E402

PARAMS = Path("params.yaml")
PAPERS = Path("data/raw/papers.csv")
ORIGIN = Path("data/raw/origin.json")
SPLITS = Path("data/splits")
SPLIT_NAMES = ("train", "val", "test")
AUGMENTED = Path("data/processed/train.parquet")
VECTORS = Path("data/processed/vectors")
VOCABULARY = Path("data/processed/vocab.txt")
EMBEDDINGS = Path("data/processed/embeddings.safetensors")
BASELINE = Path("models/baseline")
MODEL = Path("models/main")
MEMBERS = Path("models/members")
METRICS = Path("metrics")
PLOTS = Path("metrics/plots")
REPORTS = Path("reports")


def run(main: Callable[[Params], None], *, quiet: bool = False) -> None:
    """Run a stage: 0 on success, 2 and one line on a user's mistake, 130 on Ctrl-C.

    It begins with what it will do, the first line of the script's docstring, unless `quiet`.
    """
    try:
        with exit_on_user_error("stopped; `dvc repro` starts this stage again"):
            params = load(PARAMS)
            if not quiet and "RANK" not in os.environ:  # of several processes none repeats it
                print((sys.modules["__main__"].__doc__ or "").split("\n")[0], flush=True)
            main(params)
    finally:
        gc.freeze()


def cache() -> Path:
    """The folder for what is under way or large, one for all clones of a user."""
    name = os.environ.get("ARXIV_HYBRID_CACHE") or "~/.cache/arxiv-hybrid"
    try:
        folder = Path(name).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{name}: no folder for downloads: {reason} (ARXIV_HYBRID_CACHE)") from None
    return folder
