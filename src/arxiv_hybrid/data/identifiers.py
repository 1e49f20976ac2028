"""Canonical forms of arXiv ids and texts, to find rows that are the same paper."""

from __future__ import annotations

import re
from typing import NamedTuple

_NEW_ID = r"(?P<ny>\d\d)(?P<nm>0[1-9]|1[0-2])\.(?P<nn>\d{4,5})"
_ARCHIVES = (  # in ids before April 2007
    "acc-phys|adap-org|alg-geom|ao-sci|astro-ph|atom-ph|bayes-an|chao-dyn|chem-ph|cmp-lg|"
    "comp-gas|cond-mat|cs|dg-ga|funct-an|gr-qc|hep-ex|hep-lat|hep-ph|hep-th|math|math-ph|"
    "mtrl-th|nlin|nucl-ex|nucl-th|patt-sol|physics|plasm-ph|q-alg|q-bio|quant-ph|solv-int|"
    "supr-con"
)
_OLD_ID = rf"(?:{_ARCHIVES})(?:\.[A-Z]{{2}})?/(?P<oy>\d\d)(?P<om>0[1-9]|1[0-2])(?P<on>\d{{3}})"
_ARXIV = re.compile(
    rf"^(?:https?://(?:www\.|export\.)?arxiv\.org/(?:abs|pdf)/|arxiv:)?(?P<id>{_NEW_ID}|{_OLD_ID})(?:v\d+)?$",
    re.IGNORECASE,
)
UNKNOWN_MONTH = "unknown"
_NON_WORD = re.compile(r"[^a-z0-9]+")


class Submitted(NamedTuple):
    """Year, month and running number from an arXiv id; sorts by time of submission."""

    year: int
    month: int
    number: int


def canonical(identifier: str) -> str:
    """Return `2401.00001` for `arXiv:2401.00001v2` or its URL; other ids are only stripped."""
    match = _ARXIV.match(identifier.strip())
    return match["id"] if match else identifier.strip()


def submitted(identifier: str) -> Submitted | None:
    """Parse the submission from an arXiv id; None if the id is not one.

    In ids before April 2007 (`cs.LG/0101002`) the number counts per archive.
    """
    match = _ARXIV.match(identifier)
    if match is None:
        return None
    if match["ny"]:
        return Submitted(2000 + int(match["ny"]), int(match["nm"]), int(match["nn"]))
    year = int(match["oy"])
    return Submitted((1900 if year > 90 else 2000) + year, int(match["om"]), int(match["on"]))


def month_of(identifier: str, published: str) -> str:
    """YYYY-MM of the date, else of the arXiv id, else `UNKNOWN_MONTH`."""
    if published:
        return published[:7]
    order = submitted(identifier)
    return f"{order.year}-{order.month:02}" if order else UNKNOWN_MONTH


def text_key(text: str) -> str:
    """Lower-case words only: equal for texts that differ in punctuation, case or spaces."""
    return _NON_WORD.sub(" ", text.lower()).strip()
