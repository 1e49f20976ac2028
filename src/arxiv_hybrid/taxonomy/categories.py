"""arXiv's categories and archives: names, aliases, and what people write for them."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

_SEPARATOR = re.compile(r"[\s,;|]+")
_WRAPPING = re.compile(r"[\[\]()'\"]+")


def split_categories(text: str) -> list[str]:
    """The categories in a cell, as written: `cs.LG;cs.AI`, `['cs.LG', 'cs.AI']`, `cs.LG cs.AI`."""
    return [name for name in _SEPARATOR.split(_WRAPPING.sub(" ", text).strip()) if name]


def spelled(name: str) -> str | None:
    """A category as arXiv spells it (`CS.LG` -> `cs.LG`); None if arXiv has none of this name.

    Aliases and closed categories keep their names; see `unaliased`.
    """
    return _spellings().get(name.strip().lower())


def unaliased(category: str) -> str:
    """The category that an alias stands for (`cs.NA` -> `math.NA`); others are returned as is."""
    return aliases().get(category, category)


def archive_of(category: str) -> str:
    """The archive of a category: `cs` for `cs.LG`, `hep-th` for `hep-th`, `nlin` for `chao-dyn`."""
    category = unaliased(category)
    archive = category.split(".")[0]
    closed: str = _content()["closed"].get(archive, archive)
    return closed


@cache
def categories() -> dict[str, str]:
    """The name of every active category that is not an alias, in the order of the archives."""
    names: dict[str, str] = {}
    for archive, entry in _content()["archives"].items():
        names.update(entry.get("categories", {archive: entry["name"]}))
    return names


@cache
def archives() -> dict[str, str]:
    """The name of every active archive."""
    return {archive: entry["name"] for archive, entry in _content()["archives"].items()}


@cache
def aliases() -> dict[str, str]:
    """The category that each alias stands for."""
    table: dict[str, str] = _content()["aliases"]
    return table


def name_of(category: str) -> str:
    """The full name of a category or archive; empty if arXiv has none of this name."""
    category = unaliased(category)
    return categories().get(category) or archives().get(category, "")


@cache
def _spellings() -> dict[str, str]:
    known = [*categories(), *aliases(), *_content()["closed"]]
    return {name.lower(): name for name in known}


@cache
def _content() -> dict[str, Any]:
    text = files("arxiv_hybrid.taxonomy").joinpath("categories.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content
