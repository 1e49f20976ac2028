"""arXiv's categories: spellings, aliases and archives."""

from __future__ import annotations

import pytest

from arxiv_hybrid.taxonomy.categories import (
    aliases,
    archive_of,
    archives,
    categories,
    name_of,
    names_of,
    old_archives,
    parse_listing,
    spelled,
    unaliased,
)


def test_the_taxonomy_is_complete_and_consistent() -> None:
    assert len(archives()) == 20
    assert len(categories()) == 149
    assert all(archive_of(name) in archives() for name in categories())
    assert not set(aliases()) & set(categories())
    assert set(aliases().values()) <= set(categories())
    assert {name for name, other in old_archives().items() if name == other} == {
        "astro-ph", "cond-mat", "q-bio"
    }  # fmt: skip
    assert all(name_of(name) for name in [*categories(), *archives(), *aliases()])
    assert name_of("cs.NA") == "Numerical Analysis"
    assert name_of("birds") == ""


@pytest.mark.parametrize(
    ("written", "category"),
    [
        ("cs.LG", "cs.LG"), (" CS.lg ", "cs.LG"), ("cs.na", "cs.NA"), ("Hep-Th", "hep-th"),
        ("cond-mat.Mes-Hall", "cond-mat.mes-hall"), ("alg-geom", "alg-geom"), ("cs", None),
        ("cs.XX", None), ("acmart", None), ("", None),
    ],
)  # fmt: skip
def test_spelling(written: str, category: str | None) -> None:
    assert spelled(written) == category


@pytest.mark.parametrize(
    ("name", "category", "archive"),
    [
        ("cs.NA", "math.NA", "math"), ("math.IT", "cs.IT", "cs"), ("math.MP", "math-ph", "math-ph"),
        ("alg-geom", "math.AG", "math"), ("cmp-lg", "cs.CL", "cs"), ("chao-dyn", "nlin.CD", "nlin"),
        ("astro-ph", "astro-ph", "astro-ph"), ("hep-th", "hep-th", "hep-th"),
    ],
)  # fmt: skip
def test_aliases_and_old_archives(name: str, category: str, archive: str) -> None:
    assert unaliased(name) == category
    assert archive_of(name) == archive
    assert name in names_of(category)


@pytest.mark.parametrize(
    ("cell", "known", "unknown"),
    [
        ("cs.LG stat.ML", ("cs.LG", "stat.ML"), ()),
        ("['cs.LG', 'stat.ML']", ("cs.LG", "stat.ML"), ()),
        ('["cs.LG","stat.ML"]', ("cs.LG", "stat.ML"), ()),
        ("  (cs.LG ;  stat.ML) ", ("cs.LG", "stat.ML"), ()),
        ("CS.LG;stat.ml|cs.LG", ("cs.LG", "stat.ML"), ()),
        ("cs.NA,math.NA", ("cs.NA", "math.NA"), ()),
        ("cs.CV I.2.7; 68T50 (Primary), 62-07, 68Txx, H.3.m", ("cs.CV",), ()),
        ("cs.CY acmart", ("cs.CY",), ("acmart",)),
        ("cs.LG x na", ("cs.LG",), ("x", "na")),
        ("", (), ()),
    ],
)
def test_listings(cell: str, known: tuple[str, ...], unknown: tuple[str, ...]) -> None:
    assert parse_listing(cell) == (known, unknown)
