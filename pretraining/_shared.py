"""What both stages share: parameters, texts, and how a user's mistake is told."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

HERE = Path(__file__).resolve().parent
ROOT = Path(os.environ.get("DVC_ROOT", HERE.parent)).resolve()
sys.path.insert(0, str(HERE.parent / "src"))
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # fewer page faults in torch
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # same results on a GPU, too

import pandas as pd  # noqa: E402
from pydantic import Field, field_validator  # noqa: E402

from arxiv_hybrid.params import Strict, load_section  # noqa: E402
from arxiv_hybrid.sources.csv_source import read_texts  # noqa: E402
from arxiv_hybrid.system.errors import UserError, exit_on_user_error  # noqa: E402
from arxiv_hybrid.system.files import user_file  # noqa: E402
from arxiv_hybrid.vectors.corpus import new_papers  # noqa: E402

VECTORS, MODEL, METRICS = HERE / "vectors", HERE / "model", HERE / "metrics"
FEWEST = 32  # papers: fewer are no batch to tell a title apart in


class Params(Strict):
    """All of params.yaml."""

    texts: str
    leave_out: str | None
    seed: int = Field(ge=0, lt=2**32)
    vocabulary: int = Field(ge=10, le=200_000)
    min_freq: int = Field(ge=1)
    dim: int = Field(ge=2, le=1024)
    window: int = Field(ge=1, le=50)
    vector_epochs: int = Field(ge=1, le=1000)
    num_filters: int = Field(ge=1, le=4096)
    lstm_hidden: int = Field(ge=1, le=4096)
    title_length: int = Field(ge=1, le=512)
    abstract_length: int = Field(ge=5, le=4096)
    epochs: int = Field(ge=1, le=1000)
    batch_size: int = Field(ge=2, le=65536)
    learning_rate: float = Field(gt=0, le=10)
    word_dropout: float = Field(ge=0, lt=1)
    temperature: float = Field(gt=0, le=10)
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    device: str = Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")

    @field_validator("texts", mode="before")
    @classmethod
    def _named(cls, texts: object) -> object:
        if not texts:
            raise ValueError("name a file of papers, as -S pretraining/params.yaml:texts=dump.json")
        return texts


def papers(params: Params) -> pd.DataFrame:
    """Id, title and abstract of the papers to learn from."""
    none = pd.DataFrame({"id": [], "title": [], "abstract": []}, dtype=str)
    leave_out = none
    if params.leave_out:
        leave_out = read_texts(user_file(ROOT, params.leave_out), option="leave_out")
    found = new_papers(leave_out, user_file(ROOT, params.texts), option="texts")
    if len(found) < FEWEST:
        raise UserError(f"{params.texts}: {len(found)} papers to learn from, need {FEWEST} (texts)")
    return found


def run(main: Callable[[Params], None]) -> None:
    """Run a stage: 0 on success, 2 and one line on a user's mistake, 130 on Ctrl-C."""
    with exit_on_user_error("stopped; the same command starts this stage again"):
        main(load_section(HERE / "params.yaml", Params))
