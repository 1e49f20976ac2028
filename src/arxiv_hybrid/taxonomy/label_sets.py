"""Sets of classes: published ones, presets, and those that users define by arXiv categories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from arxiv_hybrid.system.errors import shown
from arxiv_hybrid.taxonomy.categories import (
    archive_of,
    archives,
    categories,
    old_archives,
    spelled,
    unaliased,
)

Definitions = dict[str, tuple[str, ...]]  # class name: its categories, aliases replaced
Spec = int | str | Sequence[str] | Mapping[str, Sequence[str]]

PUBLISHED: dict[int, Definitions] = {
    3: {"cs.AI-LG": ("cs.AI", "cs.LG"), "cs.CL": ("cs.CL",), "cs.CV": ("cs.CV",)},
    4: {name: (name,) for name in ("cs.AI", "cs.CL", "cs.CV", "cs.LG")},
}
CATEGORIES = tuple(PUBLISHED[4])
MERGED = {  # in the published set of three classes
    category: name
    for name, members in PUBLISHED[3].items()
    for category in members
    if len(members) > 1
}
PRESETS = ("archives", "all")
OTHER = "other"  # the class of papers outside the set, if labels.outside asks for it


def definitions(spec: Spec) -> Definitions:
    """The classes that a value of `labels.classes` stands for, in the order of the model's outputs.

    A number is a published set; `archives` has a class for each archive and `all` one for each
    active category. A list names categories, archives or patterns like `math.*`; a mapping names
    the categories of each class. Raises ValueError on unknown names, or if a category is in two
    classes.
    """
    if isinstance(spec, int):
        if spec not in PUBLISHED:
            raise ValueError(f"{spec} is not a published set; they have 3 or 4 classes")
        return PUBLISHED[spec]
    if spec == "all":
        return {name: (name,) for name in categories()}
    if spec == "archives":
        spec = list(archives())
    if isinstance(spec, str):
        raise ValueError(f"expected 3, 4, {', '.join(PRESETS)}, a list or a mapping")
    named: Mapping[str, Any] = spec if isinstance(spec, Mapping) else {n: [n] for n in spec}
    found = {name.removesuffix(".*"): expand(parts) for name, parts in named.items()}
    return _checked(found)


def expand(names: Iterable[str]) -> tuple[str, ...]:
    """Categories, archives and patterns as categories, each once, aliases replaced.

    `math` and `math.*` are every category of that archive. Raises ValueError on unknown names.
    """
    result: dict[str, None] = {}
    for name in names:
        result.update(dict.fromkeys(_categories_of(name)))
    return tuple(result)


def _categories_of(name: str) -> list[str]:
    archive = name.strip().lower().removesuffix(".*")
    if archive in archives():
        members = [category for category in categories() if archive_of(category) == archive]
        # before 2009, papers listed plain astro-ph
        old = [archive] if old_archives().get(archive) == archive else []
        return [*members, *old]
    category = spelled(name)
    if category is None:
        raise ValueError(f"{shown(name)} is not a category or archive of arXiv")
    return [unaliased(category)]


def _checked(found: Definitions) -> Definitions:
    if len(found) < 2:
        raise ValueError(f"a classifier needs at least two classes, got {len(found)}")
    owner: dict[str, str] = {}
    for name, members in found.items():
        if name == OTHER:
            raise ValueError(f"the class name {OTHER} is reserved for papers outside the set")
        for category in members:
            if owner.setdefault(category, name) != name:
                raise ValueError(f"{category} is in two classes, {owner[category]} and {name}")
    return found
