"""The encoder that comes with the package, and which runs start from it by default.

Imports no large library: the stage that always runs uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

AUTO = "auto"
FOLDER = "src/arxiv_hybrid/shipped"  # from the root of the repository
REAL_SOURCES = ("arxiv", "csv", "snapshot")
DEFAULT_MODEL, PRETRAINABLE = "v1", "v6"  # without and with an encoder


def is_shipped() -> bool:
    """Whether the package has its encoder."""
    return files("arxiv_hybrid").joinpath("shipped", "model.json").is_file()


def encoder_of(params: Mapping[str, Any]) -> Any:
    """The value of `pretrained` in params as written, `auto` replaced by a folder or None.

    auto: the shipped encoder for papers from a real source, unless the params ask for what excludes
    it: another model, the published recipe, other word vectors, or an `architecture`.
    """
    pretrained = params.get("pretrained")
    if pretrained != AUTO:
        return pretrained
    fetch, glove, widths = (_section(params, name) for name in ("fetch", "glove", "architecture"))
    fits = (
        fetch.get("source") in REAL_SOURCES
        and params.get("model") in (AUTO, PRETRAINABLE)
        and params.get("recipe") != "published"
        and params.get("embeddings") in (AUTO, "pretrained")
        and glove.get("source") == "corpus"
        and not glove.get("extra_text")
        and all(width in (AUTO, None) for width in widths.values())
    )
    return FOLDER if fits and is_shipped() else None


def model_of(params: Mapping[str, Any], pretrained: Any) -> Any:
    """The value of `model`, `auto` replaced: v6 from an encoder, else v1."""
    model = params.get("model")
    if model != AUTO:
        return model
    return PRETRAINABLE if pretrained and params.get("recipe") != "published" else DEFAULT_MODEL


def _section(params: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = params.get(name)
    return section if isinstance(section, dict) else {}
