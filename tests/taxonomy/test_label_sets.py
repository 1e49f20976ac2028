"""Sets of classes that users define."""

from __future__ import annotations

import re
from typing import Any

import pytest

from arxiv_hybrid.taxonomy.categories import archives, categories
from arxiv_hybrid.taxonomy.label_sets import CATEGORIES, definitions, expand


def test_numbers_are_the_published_sets() -> None:
    assert tuple(definitions(4)) == CATEGORIES == ("cs.AI", "cs.CL", "cs.CV", "cs.LG")
    assert definitions(3)["cs.AI-LG"] == ("cs.AI", "cs.LG")


def test_presets_cover_all_of_arxiv() -> None:
    assert tuple(definitions("all")) == tuple(categories())
    by_archive = definitions("archives")
    assert tuple(by_archive) == tuple(archives())
    assert {name for members in by_archive.values() for name in members} > set(categories())
    assert "cs.NA" not in by_archive["cs"]
    assert by_archive["hep-th"] == ("hep-th",)
    assert "astro-ph" in by_archive["astro-ph"], "papers of before 2009"


def test_lists_and_mappings() -> None:
    assert definitions(["cs.RO", "math.*"])["math"] == expand(["math"])
    assert definitions(["CS.SY", "q-fin.ec"]) == {"CS.SY": ("eess.SY",), "q-fin.ec": ("econ.GN",)}
    sets = definitions({"vision": ["cs.CV", "eess.IV"], "language": ["cmp-lg"]})
    assert sets == {"vision": ("cs.CV", "eess.IV"), "language": ("cs.CL",)}
    assert "math" not in expand(["math"]), "an archive with categories is none itself"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (5, "5 is not a published set"),
        ("some", "expected 3, 4, archives, all"),
        (["cs.RO"], "at least two classes"),
        (["cs.RO", "robots"], "'robots' is not a category or archive"),
        (["math.*", "math.AG"], "math.AG is in two classes, math and math.AG"),
        (["cs.NA", "math.NA"], "math.NA is in two classes, cs.NA and math.NA"),
        ({"other": ["cs.RO"], "x": ["cs.CR"]}, "other is reserved"),
    ],
)
def test_impossible_sets(spec: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        definitions(spec)
