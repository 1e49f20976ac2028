"""Canonical forms of arXiv ids and texts, to find rows that are the same paper."""

from __future__ import annotations

import hashlib
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
_CANONICAL = re.compile(r"\d\d(?:0[1-9]|1[0-2])\.\d{4,5}\Z", re.ASCII)  # nearly all are
UNKNOWN_MONTH = "unknown"
_NON_WORD = re.compile(r"[^a-z0-9]+")
_NON_WORD_OF_ANY_SCRIPT = re.compile(r"[\W_]+")


class Submitted(NamedTuple):
    """Year, month and running number from an arXiv id; sorts by time of submission."""

    year: int
    month: int
    number: int


def canonical(identifier: str) -> str:
    """Return `2401.00001` for `arXiv:2401.00001v2` or its URL; of others only collapse spaces."""
    if _CANONICAL.match(identifier):
        return identifier
    identifier = " ".join(identifier.split())
    match = _ARXIV.match(identifier)
    return match["id"] if match else identifier


def made_of(title: str, abstract: str) -> str:
    """An id for a paper that has none; equal texts have equal ids."""
    digest = hashlib.blake2b(f"{title}\n{abstract}".encode(), digest_size=8)
    return f"text-{digest.hexdigest()}"


def is_arxiv_id(identifier: str) -> bool:
    """Whether an id is one of arXiv's, in any form."""
    return bool(_CANONICAL.match(identifier) or _ARXIV.match(identifier))


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


def submission_order(identifier: str) -> str:
    """A string that sorts canonical arXiv ids by time of submission, equal times by id."""
    if _CANONICAL.match(identifier):  # numbers have had five digits since 2015
        return identifier if len(identifier) == 10 else f"{identifier[:5]}0{identifier[5:]}"
    order = submitted(identifier)
    if order is None:
        raise ValueError(f"{identifier!r} is not an arXiv id")
    return f"-{order.year}{order.month:02}{order.number:03} {identifier}"  # "-" sorts before digits


def month_of(identifier: str, published: str) -> str:
    """YYYY-MM of the date, else of the arXiv id, else `UNKNOWN_MONTH`."""
    if published:
        return published[:7]
    order = submitted(identifier)
    return f"{order.year}-{order.month:02}" if order else UNKNOWN_MONTH


def text_key(text: str) -> str:
    """Lower-case words only: equal for texts that differ in punctuation, case or spaces.

    Words of other scripts count only if there are no Latin letters or digits.
    """
    lower = text.lower()
    key = _NON_WORD.sub(" ", lower).strip()
    return key or _NON_WORD_OF_ANY_SCRIPT.sub(" ", lower).strip()
