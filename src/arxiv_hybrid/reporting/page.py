"""Rendering the HTML templates of this package, with filters that format numbers."""

from __future__ import annotations

import math
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from arxiv_hybrid.data.identifiers import submitted


def render(template: str, content: dict[str, Any]) -> str:
    """Render `templates/NAME`; text is escaped; a name missing from `content` is an error."""
    environment = Environment(
        loader=PackageLoader("arxiv_hybrid.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=_count, percent=_percent, share=_share)
    environment.tests["arxiv"] = lambda identifier: submitted(str(identifier)) is not None
    return environment.get_template(template).render(content)


def _count(number: float) -> str:
    return f"{number:,.0f}"


def _percent(share: float | None, places: int = 1) -> str:
    """A share as per cent; a dash if it is unknown."""
    if share is None or math.isnan(share):
        return "-"
    return f"{share * 100:.{places}f}\N{NO-BREAK SPACE}%"


def _share(part: float, whole: float) -> float:
    """A part in per cent of the whole, for the width of a bar."""
    return round(100 * part / whole, 2) if whole else 0.0
