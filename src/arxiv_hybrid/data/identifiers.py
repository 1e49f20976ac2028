"""Canonical forms of arXiv ids and texts, to find rows that are the same paper."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

_NEW_ID = r"(?P<ny>\d\d)(?P<nm>0[1-9]|1[0-2])\.(?P<nn>\d{4,5})"
_ARCHIVES = (  # in ids before April 2007
    "acc-phys|adap-org|alg-geom|ao-sci|astro-ph|atom-ph|bayes-an|chao-dyn|chem-ph|cmp-lg|"
    "comp-gas|cond-mat|cs|dg-ga|funct-an|gr-qc|hep-ex|hep-lat|hep-ph|hep-th|math|math-ph|"
    "mtrl-th|nlin|nucl-ex|nucl-th|patt-sol|physics|plasm-ph|q-alg|q-bio|quant-ph|solv-int|"
    "supr-con"
)
_OLD_NUMBER = r"(?P<oy>\d\d)(?P<om>0[1-9]|1[0-2])(?P<on>\d{3})"
_OLD_ID = rf"(?P<archive>{_ARCHIVES})(?:\.[A-Z-]{{2,8}})?/{_OLD_NUMBER}"
# pages that show a paper of arXiv under its id, each with what stands before the id
_SITES = "|".join(
    [
        r"(?:[\w-]+\.)*arxiv\.org",
        r"xxx\.[\w.-]+",  # mirrors, such as xxx.lanl.gov
        r"lanl\.arxiv\.org",
        r"(?:www\.)?ar5iv(?:\.labs\.arxiv)?\.org",
        r"(?:www\.)?alphaxiv\.org",
        r"(?:www\.)?arxiv-vanity\.com",
        r"(?:www\.)?scirate\.com",
        r"(?:www\.|api\.)?semanticscholar\.org",
        r"(?:www\.)?(?:huggingface|hf)\.co",
    ]
)
_PAGES = r"(?:[a-z][a-z0-9_-]*/)?"  # abs/, pdf/, html/, ps/, format/, e-print/, papers/, arxiv/
_PREFIX = (
    rf"(?:(?:https?:)?//)?(?:{_SITES})(?::\d+)?/{_PAGES}"
    r"|(?:(?:https?://)?(?:dx\.|www\.)?doi\.org/|doi:? ?)?10\.48550/"
    r"|oai:arxiv\.org:|info:arxiv/|urn:arxiv:|abs/|pdf/"
)
_SUFFIX = r"(?:v\d+)?(?:\.pdf|\.ps|\.html|\.tar)?(?:\.gz)?/*(?:[?#].*| ?\[[\w.-]+(?:\].*)?)?"
_ARXIV = re.compile(
    rf"(?:{_PREFIX})?(?:arxiv(?:[:.]|\.org:)? ?)?(?P<id>{_NEW_ID}|{_OLD_ID}){_SUFFIX}",
    re.IGNORECASE | re.ASCII,
)
_FEWEST = 9  # characters of an id since 2007
_LONGEST = 300  # characters of a URL
_BRACKETS = " <>()[]{}\"'\u200b\ufeff"
_CANONICAL = re.compile(  # nearly all are; five digits since 2015, four before
    r"(?:0[7-9]|1[0-4])(?:0[1-9]|1[0-2])\.\d{4}\Z|(?:1[5-9]|[2-9]\d)(?:0[1-9]|1[0-2])\.\d{5}\Z",
    re.ASCII,
)
_NUMBER = re.compile(r"(?P<month>\d{3,4})\.(?P<digits>\d{1,5})\Z", re.ASCII)
UNKNOWN_MONTH = "unknown"
_NON_WORD = re.compile(r"[^a-z0-9]+")
_NON_WORD_OF_ANY_SCRIPT = re.compile(r"[\W_]+")


class Submitted(NamedTuple):
    """Year, month and running number from an arXiv id; sorts by time of submission."""

    year: int
    month: int
    number: int


def canonical(identifier: str) -> str:
    """The one form of an arXiv id: `2401.00001`, or `math/0309136` before April 2007.

    All that arXiv, DOIs, OAI, other sites and people write becomes this form: URLs, `arXiv:`,
    `10.48550/arXiv.`, versions, endings such as `.pdf`, brackets, the subject class of
    `math.GT/0309136`. Of other ids only spaces are collapsed.
    """
    if _CANONICAL.match(identifier):
        return identifier
    identifier = " ".join(identifier.split())
    match = _match(identifier)
    if match is None:
        return identifier
    if match["archive"]:
        return f"{match['archive'].lower()}/{match['oy']}{match['om']}{match['on']}"
    return match["id"]


def _match(identifier: str) -> re.Match[str] | None:
    """The parts of an id of arXiv in any form; None if it is none."""
    if len(identifier) > _LONGEST:
        return None
    stripped = identifier.strip(_BRACKETS).rstrip(".,;")
    if "%" in stripped:
        stripped = unquote(stripped)
    match = _ARXIV.fullmatch(stripped)
    if match and match["nn"] and not _CANONICAL.match(match["id"]):
        return None
    return match


def made_of(title: str, abstract: str) -> str:
    """An id for a paper that has none; equal texts have equal ids."""
    digest = hashlib.blake2b(f"{title}\n{abstract}".encode(), digest_size=8)
    return f"text-{digest.hexdigest()}"


def is_arxiv_id(identifier: str) -> bool:
    """Whether an id is one of arXiv's, in any form."""
    return bool(_CANONICAL.match(identifier) or _match(identifier))


def with_zeros(identifier: str) -> str:
    """An arXiv id with the zeros that it lost as a number: `2511.00010` for `2511.0001`.

    All others are returned as they are.
    """
    match = _NUMBER.match(identifier)
    if match is None:
        return identifier
    month = match["month"].zfill(4)
    whole = f"{month}.{match['digits'].ljust(4 if month < '1501' else 5, '0')}"
    return whole if _CANONICAL.match(whole) else identifier


class LostZeros(NamedTuple):
    """Ids of arXiv that became numbers. first: the first one, in `row`, from 0. rows: how many."""

    first: str
    row: int
    rows: int

    def __str__(self) -> str:
        several = f"{self.rows:,} ids of arXiv lack" if self.rows > 1 else "1 id of arXiv lacks"
        return (
            f"{several} zeros, the first {self.first} in row {self.row + 1:,}: a program read the "
            "ids as numbers; export them as text"
        )


def lost_zeros(identifiers: Sequence[str]) -> LostZeros | None:
    """Ids such as `2511.0001` and `704.0001` in a column whose other ids are arXiv's; else None.

    As a number, `2511.00010` loses its last zero and may become the id of another paper. A column
    of which less than half are whole ids of arXiv is taken for another numbering.
    """
    damaged = [row for row, name in enumerate(identifiers) if with_zeros(name) != name]
    if not damaged or sum(map(is_arxiv_id, identifiers)) < len(damaged):
        return None
    return LostZeros(identifiers[damaged[0]], damaged[0], len(damaged))


def submitted(identifier: str) -> Submitted | None:
    """Parse the submission from an arXiv id; None if the id is not one.

    In ids before April 2007 (`cs/0101002`) the number counts per archive. An id that lost its last
    zero, such as `2511.0001`, is taken for the whole one.
    """
    match = _match(with_zeros(identifier) if len(identifier) == _FEWEST else identifier)
    if match is None:
        return None
    if match["ny"]:
        return Submitted(2000 + int(match["ny"]), int(match["nm"]), int(match["nn"]))
    year = int(match["oy"])
    return Submitted((1900 if year > 90 else 2000) + year, int(match["om"]), int(match["on"]))


def submission_order(identifier: str) -> str:
    """A string that sorts canonical arXiv ids by time of submission, equal times by id.

    Ids that lost their last zero are sorted like whole ones.
    """
    if len(identifier) == _FEWEST:
        identifier = with_zeros(identifier)
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
