"""arXiv's categories and archives: names, aliases, and what people write for them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

from arxiv_hybrid.system import fast_yaml

_SEPARATOR = re.compile(r"[\s,;|]+")
_WRAPPING = re.compile(r"[\[\]()'\"]+")
# classes of the ACM (I.2.7, H.3.m) and of mathematics (68T50, 62-07, 68Txx (Primary))
_OTHER_SCHEME = re.compile(
    r"[A-K]\.[0-9m](\.[0-9m]+)?|\d\d([A-Z-](\d\d|xx)?|-[A-Z]{2})?|primary|secondary", re.IGNORECASE
)
_LISTINGS_KEPT = 1 << 17  # all of arXiv has some 80,000 different ones
_LONGEST_KEPT = 2000  # characters


def split_categories(text: str) -> list[str]:
    """The categories in a cell, as written: `cs.LG;cs.AI`, `['cs.LG', 'cs.AI']`, `cs.LG cs.AI`."""
    return [name for name in _SEPARATOR.split(_WRAPPING.sub(" ", text).strip()) if name]


class Listing(NamedTuple):
    """The categories of a cell, each once, in its order, and the names that are none.

    Categories are spelled as arXiv does; aliases keep their names.
    """

    categories: tuple[str, ...]
    unknown: tuple[str, ...]


def parse_listing(text: str) -> Listing:
    """Parse a cell; see `split_categories`. Classes of the ACM and of mathematics are skipped."""
    return _parsed(text) if len(text) <= _LONGEST_KEPT else _parsed.__wrapped__(text)


@lru_cache(_LISTINGS_KEPT)
def _parsed(text: str) -> Listing:
    known: dict[str, None] = {}
    unknown: dict[str, None] = {}
    for name in split_categories(text):
        if category := spelled(name):
            known[category] = None
        elif not _OTHER_SCHEME.fullmatch(name):
            unknown[name] = None
    return Listing(tuple(known), tuple(unknown))


def spelled(name: str) -> str | None:
    """A category as arXiv spells it (`CS.LG` -> `cs.LG`); None if arXiv has none of this name.

    Aliases and closed categories keep their names; see `unaliased`.
    """
    return _spellings().get(name.strip().lower())


def unaliased(category: str) -> str:
    """The category that an alias stands for (`cs.NA` -> `math.NA`); others are returned as is."""
    return aliases().get(category, category)


def without_aliases(names: Iterable[str]) -> tuple[str, ...]:
    """Categories in their order, each once, aliases replaced."""
    return tuple(dict.fromkeys(map(unaliased, names)))


def names_of(category: str) -> tuple[str, ...]:
    """A category and its aliases: `math.NA`, `cs.NA`."""
    return (category, *(alias for alias, other in aliases().items() if other == category))


def archive_of(category: str) -> str:
    """The archive of a category: `cs` for `cs.LG`, `hep-th` for `hep-th`, `nlin` for `chao-dyn`."""
    return unaliased(category).split(".")[0]


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
    """The category that each alias stands for; an old archive is one if one category continues it.

    `cs.NA` stands for `math.NA`, and `alg-geom` for `math.AG`.
    """
    continued = {name: other for name, other in old_archives().items() if name != other}
    return {**_content()["aliases"], **continued}


@cache
def old_archives() -> dict[str, str]:
    """Archives that take no new papers, with the category that continues each.

    If several do, as for `astro-ph`, it is the archive itself: a category of old papers.
    """
    table: dict[str, str] = _content()["closed"]
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
    content: dict[str, Any] = fast_yaml.parse(text)
    return content
