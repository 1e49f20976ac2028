"""Which runs start from the encoder that comes with the package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, merged

from arxiv_hybrid.system import shipped

REAL = {"fetch": {"source": "csv"}}


@pytest.fixture
def params(default_content: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(shipped, "is_shipped", lambda: True)
    return merged(default_content, REAL)


def test_the_folder_is_that_of_the_package() -> None:
    package = Path(str(files("arxiv_hybrid")))
    assert package.joinpath("shipped").resolve() == ROOT / shipped.FOLDER
    assert shipped.is_shipped() == (ROOT / shipped.FOLDER / "model.json").is_file()


@pytest.mark.parametrize("source", ["arxiv", "csv", "snapshot"])
def test_real_papers_start_from_it(params: dict[str, Any], source: str) -> None:
    assert shipped.encoder_of(merged(params, {"fetch": {"source": source}})) == shipped.FOLDER


@pytest.mark.parametrize(
    "changes",
    [
        {"fetch": {"source": "synthetic"}},
        {"fetch": None},
        {"model": "v1"},
        {"model": "v5"},
        {"recipe": "published"},
        {"embeddings": "random"},
        {"embeddings": "wide"},
        {"architecture": {"num_filters": 32}},
        {"architecture": {"attention": False}},
        {"glove": {"source": "glove.6B"}},
        {"glove": {"source": "none"}},
        {"glove": {"extra_text": "more.csv"}},
    ],
)
def test_what_excludes_it_is_respected(params: dict[str, Any], changes: dict[str, Any]) -> None:
    assert shipped.encoder_of(params) == shipped.FOLDER
    assert shipped.encoder_of(merged(params, changes)) is None
    assert shipped.encoder_of({**merged(params, changes), "pretrained": "mine"}) == "mine"


def test_without_the_folder_auto_is_nothing(
    params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "is_shipped", lambda: False)
    assert shipped.encoder_of(params) is None
    assert shipped.model_of(params, None) == "v1"
