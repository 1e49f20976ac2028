"""Nested mappings as one flat mapping."""

from __future__ import annotations

from arxiv_hybrid.system.nested import flatten


def test_flatten_dots_names() -> None:
    nested = {"a": {"b": 1, "c|d": 0.1234567891}, "list": [1, 2]}
    assert flatten(nested) == {"a.b": 1, "a.c|d": 0.123457, "list": [1, 2]}
