"""arXiv's categories as people write them, and sets of classes."""

from __future__ import annotations

import pytest

from arxiv_hybrid.taxonomy.categories import (
    aliases,
    archive_of,
    archives,
    categories,
    name_of,
    spelled,
    split_categories,
    unaliased,
)
from arxiv_hybrid.taxonomy.label_sets import definitions, expand


@pytest.mark.parametrize(
    "cell",
    ["cs.LG stat.ML", "cs.LG, stat.ML", "cs.LG;stat.ML", "cs.LG|stat.ML", "['cs.LG', 'stat.ML']",
     '["cs.LG","stat.ML"]', "(cs.LG stat.ML)", "  cs.LG ;  stat.ML "],
)  # fmt: skip
def test_categories_in_a_cell(cell: str) -> None:
    assert split_categories(cell) == ["cs.LG", "stat.ML"]


def test_spelling_ignores_case_and_knows_aliases_and_closed_archives() -> None:
    assert spelled(" CS.lg ") == "cs.LG"
    assert spelled("Math.mp") == "math.MP"
    assert spelled("alg-geom") == "alg-geom"
    assert spelled("cs.XX") is None
    assert spelled("") is None


def test_the_taxonomy_is_whole() -> None:
    assert len(categories()) == 149
    assert len(archives()) == 20
    assert not set(aliases()) & set(categories())
    assert set(aliases().values()) <= set(categories())
    assert {archive_of(category) for category in categories()} == set(archives())


def test_archives_and_names() -> None:
    assert archive_of("cs.LG") == "cs"
    assert archive_of("stat.TH") == "math"
    assert archive_of("chao-dyn") == "nlin"
    assert unaliased("q-fin.EC") == "econ.GN"
    assert name_of("math.NA") == name_of("cs.NA") == "Numerical Analysis"
    assert name_of("hep-th") == "High Energy Physics - Theory"
    assert name_of("birds") == ""


def test_definitions_of_every_kind() -> None:
    assert definitions(4)["cs.AI"] == ("cs.AI",)
    assert len(definitions("all")) == 149
    assert definitions("archives")["hep-th"] == ("hep-th",)
    assert definitions(["math.*", "cs.SY"]) == {
        "math": expand(["math"]),
        "cs.SY": ("eess.SY",),
    }
    assert "astro-ph" in expand(["astro-ph"])  # its papers before 2009 list no subcategory


def test_every_archive_has_all_its_papers() -> None:
    sets = definitions("archives")
    assert {category for members in sets.values() for category in members} >= set(categories())
