"""When two rows are one paper: arXiv identifiers in one form, and the words of a text alone."""

from __future__ import annotations

import re
from typing import NamedTuple

_NEW = r"(?P<ny>\d\d)(?P<nm>0[1-9]|1[0-2])\.(?P<nn>\d{4,5})"
_ARCHIVES = (  # of the years before April 2007
    "acc-phys|adap-org|alg-geom|ao-sci|astro-ph|atom-ph|bayes-an|chao-dyn|chem-ph|cmp-lg|"
    "comp-gas|cond-mat|cs|dg-ga|funct-an|gr-qc|hep-ex|hep-lat|hep-ph|hep-th|math|math-ph|"
    "mtrl-th|nlin|nucl-ex|nucl-th|patt-sol|physics|plasm-ph|q-alg|q-bio|quant-ph|solv-int|"
    "supr-con"
)
_OLD = rf"(?:{_ARCHIVES})(?:\.[A-Z]{{2}})?/(?P<oy>\d\d)(?P<om>0[1-9]|1[0-2])(?P<on>\d{{3}})"
_ARXIV = re.compile(
    rf"^(?:https?://(?:www\.|export\.)?arxiv\.org/(?:abs|pdf)/|arxiv:)?(?P<id>{_NEW}|{_OLD})(?:v\d+)?$",
    re.IGNORECASE,
)
_NO_WORD = re.compile(r"[^a-z0-9]+")


class Submitted(NamedTuple):
    """When a paper came in, as far as its id tells; sorts by time of submission."""

    year: int
    month: int
    number: int


def canonical(identifier: str) -> str:
    """`2401.00001` for `arXiv:2401.00001v2` or its address; other ids stay as they are."""
    match = _ARXIV.match(identifier.strip())
    return match["id"] if match else identifier.strip()


def submitted(identifier: str) -> Submitted | None:
    """Year, month and number in that month of an arXiv id; None if it is none.

    Ids before April 2007 (`cs.LG/0101002`) count numbers for each archive.
    """
    match = _ARXIV.match(identifier)
    if match is None:
        return None
    if match["ny"]:
        return Submitted(2000 + int(match["ny"]), int(match["nm"]), int(match["nn"]))
    year = int(match["oy"])
    return Submitted((1900 if year > 90 else 2000) + year, int(match["om"]), int(match["on"]))


def text_key(text: str) -> str:
    """The words of a text alone: equal for the same text with other signs and spaces."""
    return _NO_WORD.sub(" ", text.lower()).strip()
