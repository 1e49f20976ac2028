"""Files are written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from arxiv_hybrid.system import files
from arxiv_hybrid.system.errors import UserError


def test_json_is_sorted_rounded_and_without_nan(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "m.json"
    files.write_json(path, {"b": np.float64(1 / 3), "a": [np.int64(2), float("nan")]})
    assert path.read_text() == '{\n  "a": [\n    2,\n    null\n  ],\n  "b": 0.333333\n}\n'
    assert json.loads(path.read_text()) == files.read_json(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    files.write_json(path, {"a": 1})
    before = path.read_bytes()

    def interrupted() -> None:
        with files.atomic(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.json"]


def test_a_missing_stage_output_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.parquet: not found; run `dvc repro`"):
        files.read_parquet(tmp_path / "none.parquet")


@pytest.mark.parametrize("name", ["~nosuchuser/papers.csv", "~no such/x", "~nosuchuser"])
def test_the_home_of_nobody_is_a_user_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such user"):
        files.user_file(tmp_path, name)
    assert files.user_file(tmp_path, "a~b") == tmp_path / "a~b"
