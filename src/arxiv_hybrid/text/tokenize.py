"""Tokens as every arXiv system in this project sees them."""

from __future__ import annotations

import re
from collections.abc import Iterable

# every byte as it stays in a text of lower case
_KEPT = b"abcdefghijklmnopqrstuvwxyz0123456789-"
_BYTES = bytes(byte if byte in _KEPT else ord(" ") for byte in range(256))
_TOKEN = re.compile(r"[a-z0-9-]+")


def tokenize(text: str) -> list[str]:
    """Split a text into lower-case tokens.

    Every character outside `a-z`, `0-9`, white space and `-` counts as a space
    (the published text rules). A dash alone is a token like any other.
    """
    kept = text.lower().encode("ascii", "replace").translate(_BYTES)
    return kept.decode("ascii").split()


def token_spans(text: str) -> list[tuple[int, int]]:
    """Where the tokens of `tokenize` begin and end in the text in lower case."""
    return [match.span() for match in _TOKEN.finditer(text.lower())]


def tokenize_all(texts: Iterable[str]) -> list[list[str]]:
    """Tokenize many texts; equal tokens are one object, a tenth of the memory of a large corpus."""
    one: dict[str, str] = {}
    return [[one.setdefault(token, token) for token in tokenize(text)] for text in texts]
